//! Commands and views as the scripts write and read them.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use crate::{
    core::{
        io::{Command, GrantView, Granted, Push, View},
        lock::WAITER_LEASE,
    },
    mode::Mode,
    values::{
        session::{Pushes, SessionId},
        ticket::{Ticket, Tickets},
        time::{ServerTime, millis},
    },
};

/// What a script replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Number(i64),
    Text(String),
}

/// Hands out the arguments of the script for a command.
pub(crate) fn arguments(
    session: SessionId,
    pushes: Pushes,
    command: &Command,
    add: &mut dyn FnMut(&str),
) {
    let pushes = match pushes {
        Pushes::None => "-",
        Pushes::Counted => "p",
        Pushes::Uncounted => "c",
    };
    let mut buffer = String::with_capacity(128);
    let mut write = |value: fmt::Arguments<'_>| {
        buffer.clear();
        // Writing to a string does not fail.
        let _ = buffer.write_fmt(value);
        add(&buffer);
    };
    let lease = millis(WAITER_LEASE);
    write(format_args!("{session}"));
    write(format_args!("{pushes}"));
    match command {
        Command::Acquire {
            wants,
            done_below,
            ttl,
            not_after,
        } => {
            write(format_args!("{}", not_after.map_or(0, |at| at.0)));
            write(format_args!("{}", done_below.0));
            write(format_args!("{}", millis(*ttl)));
            write(format_args!("{lease}"));
            for want in wants {
                write(format_args!("{want}"));
            }
        }
        Command::Heartbeat {
            done_below,
            keeps_grant,
        } => {
            write(format_args!("{}", done_below.0));
            write(format_args!("{lease}"));
            write(format_args!("{}", u8::from(*keeps_grant)));
        }
        Command::Renew { ticket, ttl, epoch } => {
            write(format_args!("{}", ticket.0));
            write(format_args!("{}", millis(*ttl)));
            write(format_args!("{epoch}"));
            write(format_args!("{lease}"));
        }
        Command::Release {
            tickets,
            keep_out,
            untouched,
        } => {
            write(format_args!("{}", tickets.from.0));
            write(format_args!("{}", tickets.to.0));
            write(format_args!("{}", millis(*keep_out)));
            write(format_args!("{lease}"));
            if let Some(untouched) = untouched {
                let granted = untouched.granted;
                let last = granted.token + granted.tickets.behind_first();
                let ttl = millis(untouched.ttl);
                write(format_args!("{session} {granted}~0 {ttl} {pushes}"));
                write(format_args!("free {last}"));
                write(format_args!("{}", last / 1000));
            }
        }
    }
}

/// The view in a reply to a command. `None`: the reply is not one of ours.
pub(crate) fn view(command: &Command, reply: &Reply) -> Option<View> {
    match (command, reply) {
        (Command::Release { .. }, Reply::Number(1)) => Some(View {
            found: true,
            ..empty(None)
        }),
        (_, Reply::Text(text)) => read(command, text),
        _ => None,
    }
}

fn empty(now: Option<ServerTime>) -> View {
    View {
        now,
        is_late: false,
        found: false,
        grant: None,
        queued: Vec::new(),
        place: 0,
        others_left: Duration::ZERO,
        more: false,
    }
}

fn read(command: &Command, text: &str) -> Option<View> {
    let mut words = text.split(' ');
    let token = words.next()?.parse().ok()?;
    let mut view = empty(Some(ServerTime(token)));
    let Some(place) = words.next() else {
        // All was granted, with the clock for a token.
        let Command::Acquire { wants, ttl, .. } = command else {
            return None;
        };
        let [want] = wants[..] else {
            return None;
        };
        view.grant = Some(GrantView {
            granted: Granted {
                mode: want.mode,
                tickets: want.tickets,
                token,
            },
            left: Duration::from_millis(millis(*ttl)),
            epoch: 0,
        });
        return Some(view);
    };
    if place == "late" {
        view.is_late = true;
        return Some(view);
    }
    view.place = place.parse().ok()?;
    view.others_left = Duration::from_millis(words.next()?.parse().ok()?);
    let flags = words.next()?;
    view.found = flags.contains('f');
    view.more = flags.contains('m');
    for word in words {
        match word.split_once('@') {
            None => view.queued.push(range(word)?),
            Some((tickets, rest)) => {
                let (mode, tickets) = range(tickets)?;
                let (token, rest) = rest.split_once('~')?;
                let (epoch, left) = rest.split_once('+')?;
                view.grant = Some(GrantView {
                    granted: Granted {
                        mode,
                        tickets,
                        token: token.parse().ok()?,
                    },
                    left: Duration::from_millis(left.parse().ok()?),
                    epoch: epoch.parse().ok()?,
                });
            }
        }
    }
    Some(view)
}

fn range(text: &str) -> Option<(Mode, Tickets)> {
    let mode = match text.get(..1)? {
        "r" => Mode::Read,
        "w" => Mode::Write,
        _ => return None,
    };
    let (from, to) = text.get(1..)?.split_once('-')?;
    let (from, to) = (Ticket(from.parse().ok()?), Ticket(to.parse().ok()?));
    (from <= to).then_some((mode, Tickets { from, to }))
}

/// Reads a message on a session's channel: the lock's word in Redis, and what the push says. `None`: it is not one of ours.
pub(crate) fn push(message: &str) -> Option<(&str, Push)> {
    let (lock, text) = message.rsplit_once(' ')?;
    if text == "sooner" {
        return Some((lock, Push::Sooner));
    }
    let (tickets, rest) = text.split_once('@')?;
    let (token, _) = rest.split_once('~')?;
    let (mode, tickets) = range(tickets)?;
    let token = token.parse().ok()?;
    // Redis makes tokens as doubles, so all of them are below this.
    let granted = Granted {
        mode,
        tickets,
        token,
    };
    (token < 1 << 53).then_some((lock, Push::Granted(granted)))
}
