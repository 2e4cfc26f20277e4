//! Commands on their way; releases until they are confirmed; and `acquire`s that were not answered.

use std::time::Duration;

use crate::{
    core::{
        io::{CallId, WaiterId},
        lock::{HEARTBEAT, WAITER_LEASE},
    },
    values::{
        ticket::{Ticket, Tickets},
        time::{ServerTime, Time},
    },
};

/// When a call that is sent now counts as failed. Whoever sends it gives it up a little before.
pub(crate) fn call_limit(now: Time, within: Duration) -> Time {
    now + within + Duration::from_millis(10)
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) kind: Kind,
    pub(crate) sent: Time,
    /// After this time the call counts as failed.
    pub(crate) limit: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Acquire {
        tickets: Tickets,
        not_after: Option<ServerTime>,
        /// The lease that was asked for.
        ttl: Duration,
    },
    Heartbeat,
    Renew {
        ttl: Duration,
    },
    /// The number of the release.
    Release(u64),
}

/// Tickets that are done, which the store is told again and again until it has confirmed it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) number: u64,
    pub(crate) tickets: Tickets,
    /// When others are let in at the earliest (`min_hold`).
    pub(crate) keep_out_until: Option<Time>,
    /// The call whose reply, or whose want of a reply, showed that there is something to give back.
    pub(crate) brought_by: Option<CallId>,
    pub(crate) tries: u32,
    /// An earlier try, or another command, may have told the store that the tickets are done.
    pub(crate) may_be_done: bool,
    pub(crate) state: ReleaseState,
    /// When it is sent once more, although it may be under way.
    pub(crate) twice_at: Option<Time>,
    /// A task had held the lock.
    pub(crate) was_held: bool,
    /// Later than this the store has ended the lease by itself.
    pub(crate) expires: Time,
    /// Who waits for the outcome, and until when.
    pub(crate) finishes: Option<(WaiterId, Time)>,
    pub(crate) limit: Duration,
}

impl Release {
    /// `length`: for how long the store may keep what the tickets have.
    pub(crate) fn of(tickets: Tickets, length: Duration, now: Time) -> Self {
        Release {
            number: 0,
            tickets,
            brought_by: None,
            keep_out_until: None,
            tries: 0,
            may_be_done: false,
            state: ReleaseState::InFlight,
            twice_at: None,
            was_held: false,
            expires: now + length.max(WAITER_LEASE),
            finishes: None,
            limit: HEARTBEAT,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseState {
    InFlight,
    /// To be sent then, for the first time or again.
    Waiting {
        until: Time,
    },
    /// Calls with a lower number may have been executed before the release.
    Confirmed {
        at: CallId,
    },
}

/// An `acquire` that was not answered. Once the store's time is past `not_after` it cannot be executed any more.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// The first of these calls.
    pub(crate) first: CallId,
    pub(crate) tickets: Tickets,
    /// The longest lease that was asked for.
    pub(crate) ttl: Duration,
    pub(crate) not_after: ServerTime,
    /// When the store's time must be past `not_after`, if nobody has set the store's clock back.
    pub(crate) check_at: Time,
    /// If somebody has: how long to wait before looking again, and until when.
    pub(crate) pause: Duration,
    pub(crate) until: Time,
}

/// A point in the order of what this session has given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    release: u64,
    call: CallId,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    in_flight: Vec<Call>,
    issued: u64,
    pub(crate) releases: Vec<Release>,
    numbers: u64,
    pub(crate) doubt: Option<Doubt>,
}

impl Calls {
    /// The number that the next call will have.
    pub(crate) fn next_id(&self) -> CallId {
        CallId(self.issued)
    }

    pub(crate) fn send(&mut self, kind: Kind, now: Time, within: Duration) -> CallId {
        let id = self.next_id();
        self.issued += 1;
        self.in_flight.push(Call {
            id,
            kind,
            sent: now,
            limit: call_limit(now, within),
        });
        id
    }

    pub(crate) fn end(&mut self, id: CallId) -> Option<Call> {
        let place = self.in_flight.iter().position(|call| call.id == id)?;
        Some(self.in_flight.swap_remove(place))
    }

    /// A call whose limit has passed.
    pub(crate) fn overdue(&self, now: Time) -> Option<CallId> {
        let mut calls = self.in_flight.iter();
        calls.find(|call| call.limit <= now).map(|call| call.id)
    }

    pub(crate) fn limit(&self) -> Option<Time> {
        self.in_flight.iter().map(|call| call.limit).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.releases.is_empty() && self.doubt.is_none()
    }

    #[allow(dead_code, reason = "for the simulator")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.in_flight.iter()
    }

    /// The tickets of the `acquire` in flight.
    pub(crate) fn acquiring(&self) -> Option<Tickets> {
        self.in_flight.iter().find_map(|call| match call.kind {
            Kind::Acquire { tickets, .. } => Some(tickets),
            _ => None,
        })
    }

    pub(crate) fn kind(&self, id: CallId) -> Option<&Kind> {
        let call = self.in_flight.iter().find(|call| call.id == id);
        call.map(|call| &call.kind)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            release: self.numbers,
            call: self.next_id(),
        }
    }

    /// Whether a release up to the mark is not confirmed yet.
    pub(crate) fn has_release_up_to(&self, mark: Mark) -> bool {
        self.releases.iter().any(|release| {
            let is_before = release.number <= mark.release
                || release.brought_by.is_some_and(|call| call < mark.call);
            is_before && !matches!(release.state, ReleaseState::Confirmed { .. })
        })
    }

    /// The tickets of each `acquire` that was sent before the mark, and is in flight or was not answered.
    pub(crate) fn acquires_up_to(&self, mark: Mark) -> impl Iterator<Item = Tickets> {
        let in_flight = self.in_flight.iter();
        let in_flight = in_flight.filter_map(|call| match call.kind {
            Kind::Acquire { tickets, .. } => Some((call.id, tickets)),
            _ => None,
        });
        let doubt = self.doubt.iter().map(|doubt| (doubt.first, doubt.tickets));
        in_flight
            .chain(doubt)
            .filter(move |(call, _)| *call < mark.call)
            .map(|(_, tickets)| tickets)
    }

    /// Whether a question to the store, of that number or a later one, is under way.
    pub(crate) fn asks_since(&self, first: Option<CallId>) -> bool {
        let mut questions = self.in_flight.iter();
        questions.any(|call| {
            let is_question = matches!(call.kind, Kind::Acquire { .. } | Kind::Heartbeat);
            is_question && Some(call.id) >= first
        })
    }

    pub(crate) fn has_heartbeat(&self) -> bool {
        let mut calls = self.in_flight.iter();
        calls.any(|call| call.kind == Kind::Heartbeat)
    }

    pub(crate) fn new_release(&mut self, mut release: Release) -> u64 {
        self.numbers += 1;
        release.number = self.numbers;
        self.releases.push(release);
        self.numbers
    }

    /// Whether a command for the release is under way.
    pub(crate) fn is_releasing(&self, number: u64) -> bool {
        let mut calls = self.in_flight.iter();
        calls.any(|call| call.kind == Kind::Release(number))
    }

    pub(crate) fn release(&mut self, number: u64) -> Option<&mut Release> {
        let mut releases = self.releases.iter_mut();
        releases.find(|release| release.number == number)
    }

    /// A command is sent that says that all tickets below `first` are done.
    pub(crate) fn tells_done(&mut self, first: Ticket) {
        for release in &mut self.releases {
            release.may_be_done |= release.tickets.to < first;
        }
    }

    /// When to look whether the doubt is over.
    pub(crate) fn doubt_due(&self) -> Option<Time> {
        self.doubt.as_ref().map(|doubt| doubt.check_at)
    }

    /// The doubt is looked at now. It ends by itself when no command can be on its way for that long.
    pub(crate) fn look_at_doubt(&mut self, now: Time) {
        if let Some(doubt) = &mut self.doubt
            && doubt.check_at <= now
        {
            doubt.check_at = now + doubt.pause;
            doubt.pause *= 2;
        }
    }

    pub(crate) fn end_doubt(&mut self, now: Time) {
        self.doubt.take_if(|doubt| doubt.until <= now);
    }

    /// Whether tickets that the store showed in the reply to `call` have been, or are being, released since. `None`: they
    /// were shown by a push.
    pub(crate) fn releases_cover(&self, tickets: Tickets, call: Option<CallId>) -> bool {
        self.releases.iter().any(|release| {
            let is_later = match release.state {
                ReleaseState::Confirmed { at } => call.is_some_and(|call| call < at),
                ReleaseState::InFlight | ReleaseState::Waiting { .. } => true,
            };
            is_later && release.tickets.covers(tickets)
        })
    }

    /// Forgets confirmed releases that no call in flight can have overtaken.
    pub(crate) fn prune(&mut self) {
        let oldest = self.in_flight.iter().map(|call| call.id).min();
        self.releases.retain(|release| match release.state {
            ReleaseState::Confirmed { at } => oldest.is_some_and(|oldest| oldest < at),
            _ => true,
        });
    }

    /// The first ticket of a release that keeps others out and is not confirmed yet.
    pub(crate) fn first_kept_out(&self) -> Option<Ticket> {
        let keeping = self.releases.iter().filter(|release| {
            release.keep_out_until.is_some()
                && !matches!(release.state, ReleaseState::Confirmed { .. })
        });
        keeping.map(|release| release.tickets.from).min()
    }
}
