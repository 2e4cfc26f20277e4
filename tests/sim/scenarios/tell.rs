//! What the core orders, in words.

use std::time::Duration;

use crate::{
    core::io::{Command, Effect, Untouched, Want},
    values::{
        ticket::{Ticket, Tickets},
        time::micros,
    },
};

/// As people write a time.
pub(super) fn shown(micros: u64) -> String {
    let (unit, whole, digits) = match micros {
        0..1_000_000 => ("ms", 1000, 3),
        _ => ("s", 1_000_000, 6),
    };
    let text = format!("{}.{:0digits$}", micros / whole, micros % whole);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} {unit}")
}

fn long(duration: Duration) -> String {
    shown(micros(duration))
}

fn tickets(tickets: Tickets) -> String {
    let Tickets { from, to } = tickets;
    if from == to {
        from.0.to_string()
    } else {
        tickets.to_string()
    }
}

fn want(want: &Want) -> String {
    let tries = if want.is_try { " once" } else { "" };
    format!("{}{}{tries}", want.mode.letter(), tickets(want.tickets))
}

/// One line for each effect, or for one order to several tasks with numbers that follow one another.
pub(super) fn told(effects: &[Effect]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut order: Option<((&str, String), u64, u64)> = None;
    for effect in effects {
        let (next, task) = match effect {
            Effect::Wake { waiter } => (("wake", String::new()), waiter.0),
            Effect::Refuse { waiter, why } => (("refuse", format!(": {why:?}")), waiter.0),
            _ => {
                order = None;
                lines.push(tell(effect));
                continue;
            }
        };
        let first = match &order {
            Some((same, first, last)) if *same == next && last + 1 == task => {
                lines.pop();
                *first
            }
            _ => task,
        };
        let (verb, more) = &next;
        lines.push(if first == task {
            format!("{verb} task {task}{more}")
        } else {
            format!("{verb} tasks {first} to {task}{more}")
        });
        order = Some((next, first, task));
    }
    lines
}

fn tell(effect: &Effect) -> String {
    match effect {
        Effect::Call {
            call,
            command,
            within,
        } => {
            let (number, within) = (call.0 + 1, long(*within));
            format!("call {number}, within {within}: {}", order(command))
        }
        Effect::Grant {
            waiter,
            token,
            until,
        } => {
            let until = shown(until.0);
            format!("task {} holds with token {token} until {until}", waiter.0)
        }
        Effect::LeaseEnds { waiter, until } => {
            format!("task {} holds until {}", waiter.0, shown(until.0))
        }
        Effect::Revoke { waiter, why } => format!("task {} loses the lock: {why:?}", waiter.0),
        Effect::Finish { waiter, outcome } => {
            format!("task {} has given back: {outcome:?}", waiter.0)
        }
        Effect::GiveUp { .. } => "a release is given up".to_owned(),
        Effect::Wake { .. } | Effect::Refuse { .. } => unreachable!("told by `told`"),
    }
}

fn order(command: &Command) -> String {
    let done = |first: &Ticket| match first {
        Ticket(1) => String::new(),
        Ticket(first) => format!(", done below {first}"),
    };
    match command {
        Command::Acquire {
            wants,
            done_below,
            ttl,
            not_after,
        } => {
            let wants: Vec<_> = wants.iter().map(want).collect();
            let not_after = not_after.map(|at| format!(", not after {}", shown(at.0)));
            let not_after = not_after.unwrap_or_default();
            let (wants, ttl) = (wants.join(" "), long(*ttl));
            format!("acquire {wants} for {ttl}{not_after}{}", done(done_below))
        }
        Command::Heartbeat {
            done_below,
            keeps_grant,
        } => {
            let keeps = if *keeps_grant {
                ", for a grant as well"
            } else {
                ""
            };
            format!("heartbeat{keeps}{}", done(done_below))
        }
        Command::Renew { ticket, ttl, epoch } => {
            format!("renew {} for {}, epoch {epoch}", ticket.0, long(*ttl))
        }
        Command::Release {
            tickets: of,
            keep_out,
            untouched,
        } => {
            let keeps = if keep_out.is_zero() {
                String::new()
            } else {
                format!(", keep others out for {}", long(*keep_out))
            };
            let quick = untouched.map(|Untouched { granted, .. }| {
                let (mode, of) = (granted.mode.letter(), tickets(granted.tickets));
                format!(
                    ", quick if it is still {mode}{of} of token {}",
                    granted.token
                )
            });
            format!(
                "release {}{keeps}{}",
                tickets(*of),
                quick.unwrap_or_default()
            )
        }
    }
}
