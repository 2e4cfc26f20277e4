//! The tasks of one session that wait for one lock or hold it, in the order of their tickets.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    core::{
        io::{CallId, Queue, Terms, WaiterId},
        lease::Lease,
    },
    values::{
        loss::Loss,
        mode::Mode,
        ticket::{Ticket, Tickets},
        time::Time,
    },
};

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    pub(crate) mode: Mode,
    pub(crate) terms: Terms,
    pub(crate) queue: Queue,
    pub(crate) requested: Time,
    pub(crate) stage: Stage,
    /// How many `acquire` with its ticket have failed, one after another.
    pub(crate) failures: u32,
    /// When the first `acquire` with its ticket was sent.
    pub(crate) asked: Option<Time>,
    /// It was woken to see whether it is there, and has not been polled since.
    pub(crate) is_called: bool,
    /// Its time is over: the reply to this call, or to a later one, decides.
    pub(crate) decides: Option<CallId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No turn yet. Whether the store knows the ticket is not said here, but by the grant and the queued ranges.
    Waiting,
    /// It is the ticket's turn since then, and its task has not been polled yet. `called`: nor has it been after a while, so
    /// that all behind it were woken as well, to see who is there.
    Offered { since: Time, called: bool },
    /// The task holds the lock.
    Active(Active),
    /// The task has given the lock back, and `min_hold` is not over before `until`.
    Cooling { until: Time },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) since: Time,
    /// When this turn ends, whatever the lease says; and why.
    pub(crate) end: Option<(Time, Loss)>,
    /// What the shell has been told last.
    pub(crate) until: Time,
}

impl Waiter {
    /// When the task stops waiting.
    pub(crate) fn wait_end(&self) -> Option<Time> {
        match self.queue {
            Queue::Never => Some(self.requested),
            Queue::Until(end) => Some(end),
            Queue::Forever => None,
        }
    }

    pub(crate) fn is_try(&self) -> bool {
        self.queue == Queue::Never
    }

    /// How long to wait for the reply to one command. A reply that comes after the lease's end is of no use, and on a link
    /// that hangs there must be time to try again.
    pub(crate) fn patience(&self) -> std::time::Duration {
        (self.terms.first_ttl() / 2).min(self.terms.command_timeout)
    }

    /// Until when `min_hold` keeps others out if the task gives the lock back now.
    pub(crate) fn cools_until(&self, now: Time) -> Option<Time> {
        let Stage::Active(active) = self.stage else {
            return None;
        };
        let until = active.since + self.terms.min_hold?;
        (until > now).then_some(until)
    }

    /// The turn that begins now.
    pub(crate) fn active(&self, now: Time, lease: &Lease) -> Active {
        // Where the lease is fresh, the turn lasts for as long as the lease.
        let ttl = self.terms.ttl;
        let ttl_end = if lease.end() + ttl / 10 >= now + ttl {
            lease.end().min(now + ttl)
        } else {
            now + ttl
        };
        let lease = lease.until();
        let end = match (self.terms.max_hold, self.terms.auto_extend) {
            (Some(max), true) => Some((now + max, Loss::MaxHold)),
            (Some(max), false) if max < self.terms.ttl => Some((now + max, Loss::MaxHold)),
            (_, false) => Some((ttl_end, Loss::TtlEnded)),
            (None, true) => None,
        };
        Active {
            since: now,
            end,
            until: end.map_or(lease, |(end, _)| end.min(lease)),
        }
    }
}

impl Terms {
    /// The lease to begin with.
    pub(crate) fn first_ttl(&self) -> std::time::Duration {
        let ttl = self.max_hold.map_or(self.ttl, |max| max.min(self.ttl));
        self.min_hold.map_or(ttl, |min| min.max(ttl))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Waiters {
    /// In the order of their tickets: a new ticket is higher than all before.
    by_ticket: Vec<(Ticket, Box<Waiter>)>,
    tickets: BTreeMap<WaiterId, Ticket>,
    /// Passed over, since they were not polled when their turn came. A parked waiter has no ticket.
    parked: BTreeMap<WaiterId, Waiter>,
    next: Ticket,
}

impl Waiters {
    pub(crate) fn new(first: Ticket) -> Self {
        Waiters {
            by_ticket: Vec::new(),
            tickets: BTreeMap::new(),
            parked: BTreeMap::new(),
            next: first,
        }
    }

    /// The ticket that the next request will get: higher than all tickets so far.
    pub(crate) fn next_ticket(&self) -> Ticket {
        self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_ticket.is_empty() && self.parked.is_empty()
    }

    /// The lowest ticket that is not done.
    pub(crate) fn first(&self) -> Option<Ticket> {
        self.by_ticket.first().map(|(ticket, _)| *ticket)
    }

    pub(crate) fn insert(&mut self, waiter: Waiter) -> Ticket {
        let ticket = self.next;
        self.next = ticket.next();
        self.tickets.insert(waiter.id, ticket);
        self.by_ticket.push((ticket, Box::new(waiter)));
        ticket
    }

    pub(crate) fn ticket(&self, id: WaiterId) -> Option<Ticket> {
        self.tickets.get(&id).copied()
    }

    /// Where the ticket is, or would be.
    fn place(&self, ticket: Ticket) -> usize {
        self.by_ticket.partition_point(|(other, _)| *other < ticket)
    }

    fn places(&self, tickets: Tickets) -> Range<usize> {
        let end = self
            .by_ticket
            .partition_point(|(other, _)| *other <= tickets.to);
        self.place(tickets.from)..end
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        let (found, waiter) = self.by_ticket.get(self.place(ticket))?;
        (*found == ticket).then_some(waiter)
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let place = self.place(ticket);
        let (found, waiter) = self.by_ticket.get_mut(place)?;
        (*found == ticket).then_some(waiter)
    }

    /// The ticket is done.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let place = self.place(ticket);
        self.get(ticket)?;
        let (_, waiter) = self.by_ticket.remove(place);
        self.tickets.remove(&waiter.id);
        Some(*waiter)
    }

    /// Takes the waiter out, whether it has a ticket or is parked.
    pub(crate) fn remove_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        match self.ticket(id) {
            Some(ticket) => self.remove(ticket),
            None => self.parked.remove(&id),
        }
    }

    pub(crate) fn park(&mut self, ticket: Ticket) {
        if let Some(mut waiter) = self.remove(ticket) {
            waiter.stage = Stage::Waiting;
            waiter.asked = None;
            waiter.failures = 0;
            waiter.is_called = false;
            self.parked.insert(waiter.id, waiter);
        }
    }

    pub(crate) fn unpark(&mut self, id: WaiterId) -> bool {
        let waiter = self.parked.remove(&id);
        waiter.map(|waiter| self.insert(waiter)).is_some()
    }

    pub(crate) fn parked(&self) -> impl Iterator<Item = &Waiter> {
        self.parked.values()
    }

    /// In the order of their tickets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &Waiter)> {
        each(&self.by_ticket)
    }

    pub(crate) fn within(&self, tickets: Tickets) -> impl Iterator<Item = (Ticket, &Waiter)> {
        each(&self.by_ticket[self.places(tickets)])
    }

    pub(crate) fn within_mut(
        &mut self,
        tickets: Tickets,
    ) -> impl Iterator<Item = (Ticket, &mut Waiter)> {
        let places = self.places(tickets);
        let range = self.by_ticket[places].iter_mut();
        range.map(|(ticket, waiter)| (*ticket, &mut **waiter))
    }

    /// Gives these tickets' waiters new ones, in the order of the old.
    pub(crate) fn requeue(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            if let Some(mut waiter) = self.remove(ticket) {
                waiter.stage = Stage::Waiting;
                waiter.asked = None;
                waiter.failures = 0;
                self.insert(waiter);
            }
        }
    }
}

fn each(waiters: &[(Ticket, Box<Waiter>)]) -> impl Iterator<Item = (Ticket, &Waiter)> {
    waiters.iter().map(|(ticket, waiter)| (*ticket, &**waiter))
}
