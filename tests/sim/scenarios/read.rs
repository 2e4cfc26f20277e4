//! The words of a scenario, as what they mean to the core.
//!
//! | event | |
//! | --- | --- |
//! | `task 1 asks to write, ttl 5 s` | further terms: `waits 2 s`, `never queues`, `min_hold 1 s`, `max_hold 1 s`, `no auto_extend`, `command_timeout 4 s` |
//! | `task 1 is polled` | or `is dropped`, `unlocks`, `is shut down`; also `tasks 1 to 9 are polled` |
//! | `call 2 is answered: queued w1-3` | further: `has w1-3 token 1000 for 10 s`, with `in epoch 2` behind it; `place 2`, `others for 5 s`, `released`, `more`, `too late`, `nothing`, `server at 60 s` |
//! | `call 2 fails` | the command may have been executed; `: not sent`, `: login`, `: foreign value`, `: fatal` |
//! | `a push says w1 with token 1000` | or `a push says sooner` |
//! | `pushes are heard` | or `pushes are not heard` |
//! | `what is next` | shows the next timer |

use std::time::Duration;

use crate::{
    core::io::{
        CallError, CallErrorKind, CallId, GrantView, Granted, Input, Push, Queue, View, WaiterId,
    },
    tests::TERMS,
    values::{
        mode::Mode,
        ticket::{Ticket, Tickets},
        time::{ServerTime, Time},
    },
};

pub(super) fn request(
    waiter: WaiterId,
    mode: &str,
    items: &[Vec<&str>],
    now: Time,
) -> Result<Input, String> {
    let mode = match mode {
        "read" => Mode::Read,
        "write" => Mode::Write,
        other => return Err(unknown(&["to", other])),
    };
    let mut terms = TERMS;
    let mut queue = Queue::Forever;
    for item in items {
        match item.as_slice() {
            ["ttl", n, unit] => terms.ttl = time(n, unit)?,
            ["waits", n, unit] => queue = Queue::Until(now + time(n, unit)?),
            ["never", "queues"] => queue = Queue::Never,
            ["min_hold", n, unit] => terms.min_hold = Some(time(n, unit)?),
            ["max_hold", n, unit] => terms.max_hold = Some(time(n, unit)?),
            ["command_timeout", n, unit] => terms.command_timeout = time(n, unit)?,
            ["no", "auto_extend"] => terms.auto_extend = false,
            _ => return Err(unknown(item)),
        }
    }
    Ok(Input::Requested {
        waiter,
        mode,
        terms,
        queue,
    })
}

/// What is not done by a task.
pub(super) fn input(
    event: &[&str],
    items: &[Vec<&str>],
    now: Time,
    calls: u64,
) -> Result<Input, String> {
    let call = |n: &str| match number(n)? {
        n if (1..=calls).contains(&n) => Ok(CallId(n - 1)),
        n => Err(format!("call {n} was not made yet")),
    };
    Ok(match (event, items) {
        (["call", n, "is", "answered"], items) if !items.is_empty() => Input::Replied {
            call: call(n)?,
            reply: Ok(view(items, now)?),
        },
        (["call", n, "fails"], items) => {
            let (kind, did_nothing) = match items.concat().as_slice() {
                [] => (CallErrorKind::Transient, false),
                ["not", "sent"] => (CallErrorKind::Transient, true),
                ["login"] => (CallErrorKind::Login, true),
                ["foreign", "value"] => (CallErrorKind::Foreign, true),
                ["fatal"] => (CallErrorKind::Fatal, true),
                other => return Err(unknown(other)),
            };
            let reply = Err(CallError { kind, did_nothing });
            let call = call(n)?;
            Input::Replied { call, reply }
        }
        (["a", "push", "says", "sooner"], []) => Input::Pushed(Push::Sooner),
        (["a", "push", "says", tickets, "with", "token", token], []) => {
            Input::Pushed(Push::Granted(granted(tickets, token)?))
        }
        (["pushes", "are", "heard"], []) => Input::Listening(true),
        (["pushes", "are", "not", "heard"], []) => Input::Listening(false),
        _ => return Err(unknown(event)),
    })
}

fn view(items: &[Vec<&str>], now: Time) -> Result<View, String> {
    let mut view = View {
        now: Some(ServerTime(now.0)),
        is_late: false,
        found: false,
        grant: None,
        queued: Vec::new(),
        place: 0,
        others_left: Duration::ZERO,
        more: false,
    };
    for item in items {
        match item.as_slice() {
            ["nothing"] => {}
            ["too", "late"] => view.is_late = true,
            ["released"] => view.found = true,
            ["more"] => view.more = true,
            ["has", tickets, "token", token, "for", n, unit, epoch @ ..] => {
                view.grant = Some(GrantView {
                    granted: granted(tickets, token)?,
                    left: time(n, unit)?,
                    epoch: match epoch {
                        [] => 0,
                        ["in", "epoch", epoch] => number(epoch)?,
                        _ => return Err(unknown(item)),
                    },
                });
            }
            ["queued", tickets] => view.queued.push(range(tickets)?),
            ["place", place] => view.place = number(place)?,
            ["others", "for", n, unit] => view.others_left = time(n, unit)?,
            ["server", "at", n, unit] => view.now = Some(ServerTime(0) + time(n, unit)?),
            _ => return Err(unknown(item)),
        }
    }
    Ok(view)
}

fn granted(tickets: &str, token: &str) -> Result<Granted, String> {
    let (mode, tickets) = range(tickets)?;
    let token = number(token)?;
    Ok(Granted {
        mode,
        tickets,
        token,
    })
}

/// `w1`, or `r2-5`.
fn range(text: &str) -> Result<(Mode, Tickets), String> {
    let (mode, numbers) = match (text.strip_prefix('r'), text.strip_prefix('w')) {
        (Some(numbers), _) => (Mode::Read, numbers),
        (_, Some(numbers)) => (Mode::Write, numbers),
        _ => return Err(format!("no tickets: `{text}`")),
    };
    let (from, to) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (from, to) = (Ticket(number(from)?), Ticket(number(to)?));
    Ok((mode, Tickets { from, to }))
}

pub(super) fn number(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| format!("no number: `{text}`"))
}

pub(super) fn time(number: &str, unit: &str) -> Result<Duration, String> {
    let per_second = match unit {
        "ms" => Some(1000.0),
        "s" => Some(1.0),
        _ => None,
    };
    let parts = number.parse::<f64>().ok().zip(per_second);
    let time = parts.and_then(|(n, per)| Duration::try_from_secs_f64(n / per).ok());
    time.ok_or_else(|| format!("no time: `{number} {unit}`"))
}

pub(super) fn unknown(words: &[&str]) -> String {
    format!("unknown: `{}`", words.join(" "))
}
