//! Commands and views as the scripts write and read them.

use std::time::Duration;

use crate::{
    core::{
        io::{Command, GrantView, Granted, Push, Untouched, View},
        lock::WAITER_LEASE,
    },
    values::{
        mode::Mode,
        session::{Pushes, SessionId},
        ticket::{Ticket, Tickets},
        time::{ServerTime, millis},
    },
};

/// The reply of a script.
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
    mut add: impl FnMut(&str),
) {
    /// A lock word with numbers of the usual length.
    const LONGEST: usize = 128;
    let pushes = match pushes {
        Pushes::None => "-",
        Pushes::Counted => "p",
        Pushes::Uncounted => "c",
    };
    let session = session.digits();
    let session = session.as_str();
    let mut text = Text {
        written: String::with_capacity(LONGEST),
        digits: itoa::Buffer::new(),
    };
    add(session);
    add(pushes);
    match command {
        Command::Acquire {
            wants,
            done_below,
            ttl,
            not_after,
        } => {
            add(text.anew().number(not_after.map_or(0, |at| at.0)).get());
            add(text.anew().number(done_below.0).get());
            add(text.anew().number(millis(*ttl)).get());
            add(text.anew().number(millis(WAITER_LEASE)).get());
            for want in wants {
                let tries = if want.is_try { "?" } else { "" };
                add(text.anew().range(want.mode, want.tickets).text(tries).get());
            }
        }
        Command::Heartbeat {
            done_below,
            keeps_grant,
        } => {
            add(text.anew().number(done_below.0).get());
            add(text.anew().number(millis(WAITER_LEASE)).get());
            add(text.anew().number(u64::from(*keeps_grant)).get());
        }
        Command::Renew { ticket, ttl, epoch } => {
            add(text.anew().number(ticket.0).get());
            add(text.anew().number(millis(*ttl)).get());
            add(text.anew().number(*epoch).get());
            add(text.anew().number(millis(WAITER_LEASE)).get());
        }
        Command::Release {
            tickets,
            keep_out,
            untouched,
        } => {
            add(text.anew().number(tickets.from.0).get());
            add(text.anew().number(tickets.to.0).get());
            add(text.anew().number(millis(*keep_out)).get());
            add(text.anew().number(millis(WAITER_LEASE)).get());
            if let Some(Untouched { granted, ttl }) = untouched {
                let last = granted.last_token();
                let word = text.anew().text(session).text(" ");
                let word = word.range(granted.mode, granted.tickets).text("@");
                let word = word.number(granted.token).text("~0 ");
                add(word.number(millis(*ttl)).text(" ").text(pushes).get());
                add(text.anew().text("free ").number(last).get());
                add(text.anew().number(last / 1000).get());
            }
        }
    }
}

/// Writes about ten arguments into one `String`.
struct Text {
    written: String,
    digits: itoa::Buffer,
}

impl Text {
    fn anew(&mut self) -> &mut Self {
        self.written.clear();
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.written.push_str(text);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.written.push_str(self.digits.format(number));
        self
    }

    fn range(&mut self, mode: Mode, tickets: Tickets) -> &mut Self {
        self.written.push_str(mode.letter());
        self.number(tickets.from.0).text("-").number(tickets.to.0)
    }

    fn get(&self) -> &str {
        &self.written
    }
}

/// The view in a reply to a command. `None`: no script of ours replies so.
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
        // All wants were granted, and the clock is the token.
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
                        token: number(token)?,
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
    let (from, to) = (Ticket(number(from)?), Ticket(number(to)?));
    (from <= to).then_some((mode, Tickets { from, to }))
}

/// Reads a message on a session's channel: the name of the lock's word in Redis, and the push. `None`: not a message of ours.
pub(crate) fn push(message: &str) -> Option<(&str, Push)> {
    let (lock, text) = message.rsplit_once(' ')?;
    if text == "sooner" {
        return Some((lock, Push::Sooner));
    }
    let (tickets, rest) = text.split_once('@')?;
    let (token, _) = rest.split_once('~')?;
    let (mode, tickets) = range(tickets)?;
    let granted = Granted {
        mode,
        tickets,
        token: number(token)?,
    };
    Some((lock, Push::Granted(granted)))
}

/// A ticket or a token. Redis counts in doubles, so all numbers are below 2^53.
fn number(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (number < 1 << 53).then_some(number)
}
