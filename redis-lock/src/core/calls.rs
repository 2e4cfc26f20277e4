//! Commands on their way, releases that are not confirmed, and `acquire`s that were not answered.

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

/// When a call that is sent now counts as failed. The shell gives up a call after `within`, a little before.
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
        /// The length of the lease that was asked for.
        ttl: Duration,
    },
    Heartbeat,
    Renew {
        ttl: Duration,
    },
    /// The number of the release.
    Release(u64),
}

/// Tickets that are done. The release is sent again and again until the store has confirmed it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) number: u64,
    pub(crate) tickets: Tickets,
    /// The store lets in other sessions no earlier (`min_hold`).
    pub(crate) keep_out_until: Option<Time>,
    /// The call whose reply showed, or whose missing reply suggests, that there is something to give back.
    pub(crate) brought_by: Option<CallId>,
    pub(crate) tries: u32,
    /// An earlier try, or another command, may have told the store that the tickets are done.
    pub(crate) may_be_done: bool,
    pub(crate) state: ReleaseState,
    /// When the release is sent once more although the first try is under way.
    pub(crate) twice_at: Option<Time>,
    /// A task had held the lock.
    pub(crate) was_held: bool,
    /// By this time the store has ended the lease by itself.
    pub(crate) expires: Time,
    /// The task that waits for the outcome, and until when.
    pub(crate) finishes: Option<(WaiterId, Time)>,
    /// How long one try may take.
    pub(crate) limit: Duration,
}

impl Release {
    /// `length`: for how long the store may keep the tickets' grant or place.
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
    /// To be sent at `until`, for the first time or again.
    Waiting {
        until: Time,
    },
    /// `at`: the number of the next call at that time. Only calls with a lower number may have been executed before the release.
    Confirmed {
        at: CallId,
    },
}

/// One or several `acquire`s that were not answered. None can be executed once the store's time is past `not_after`.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// The earliest of the calls.
    pub(crate) first: CallId,
    pub(crate) tickets: Tickets,
    /// The longest lease that was asked for.
    pub(crate) ttl: Duration,
    pub(crate) not_after: ServerTime,
    /// When to look whether the store's time is past `not_after`. It is, unless the store's clock was set back.
    pub(crate) check_at: Time,
    /// How long to wait between this look and the next; doubled by each look.
    pub(crate) pause: Duration,
    /// By this time no command of the doubt is on its way any more, whatever the store's clock shows.
    pub(crate) until: Time,
}

/// A point in the order of releases and calls: what is to be given back up to this point.
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
        let call = self.in_flight.swap_remove(place);
        if self.in_flight.is_empty() {
            // A process may hold thousands of locks, and sends a command for each only now and then.
            self.in_flight = Vec::new();
        }
        Some(call)
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

    fn acquires(&self) -> impl Iterator<Item = Tickets> {
        self.in_flight.iter().filter_map(|call| match call.kind {
            Kind::Acquire { tickets, .. } => Some(tickets),
            _ => None,
        })
    }

    /// The tickets of the `acquire`s in flight.
    pub(crate) fn acquiring(&self) -> Option<Tickets> {
        self.acquires().reduce(|one, other| Tickets {
            from: one.from.min(other.from),
            to: one.to.max(other.to),
        })
    }

    pub(crate) fn acquires_twice(&self) -> bool {
        self.acquires().count() > 1
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

    /// Whether a release that belongs before the mark is not confirmed yet.
    pub(crate) fn has_release_up_to(&self, mark: Mark) -> bool {
        self.releases.iter().any(|release| {
            let is_before = release.number <= mark.release
                || release.brought_by.is_some_and(|call| call < mark.call);
            is_before && !matches!(release.state, ReleaseState::Confirmed { .. })
        })
    }

    /// The tickets of each `acquire` that was sent before the mark and is in flight or in doubt.
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

    /// Whether an `acquire` or a heartbeat with the number `first` or a later number is under way.
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
        // Two tasks on two threads may send their releases in the other order; then the earlier one finds nothing. So the later one
        // keeps others out for the `min_hold` of the earlier one, too.
        for earlier in &mut self.releases {
            if release.tickets.overlaps(earlier.tickets) {
                earlier.may_be_done = true;
                release.keep_out_until = release.keep_out_until.max(earlier.keep_out_until);
            }
        }
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

    /// A command that says that all tickets below `first` are done is sent now.
    pub(crate) fn tells_done(&mut self, first: Ticket) {
        for release in &mut self.releases {
            release.may_be_done |= release.tickets.to < first;
        }
    }

    /// When to look whether the doubt is over.
    pub(crate) fn doubt_due(&self) -> Option<Time> {
        self.doubt.as_ref().map(|doubt| doubt.check_at)
    }

    /// If a look at the doubt is due, plans the next look.
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

    /// Whether tickets that the reply to `call` showed have been released since, or are being released. `None`: a push showed
    /// the tickets.
    pub(crate) fn releases_cover(&self, tickets: Tickets, call: Option<CallId>) -> bool {
        self.releases.iter().any(|release| {
            let is_later = match release.state {
                ReleaseState::Confirmed { at } => call.is_some_and(|call| call < at),
                ReleaseState::InFlight | ReleaseState::Waiting { .. } => true,
            };
            is_later && release.tickets.covers(tickets)
        })
    }

    /// Forgets the confirmed releases that were executed before all calls in flight.
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
