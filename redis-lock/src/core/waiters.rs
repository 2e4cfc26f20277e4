//! The tasks of one session that wait for one lock or hold the lock, in the order of tickets.

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
    /// How many `acquire`s with the ticket have failed in a row.
    pub(crate) failures: u32,
    /// When the first `acquire` with the ticket was sent.
    pub(crate) asked: Option<Time>,
    /// The task was woken by a roll call, and has not been polled since.
    pub(crate) in_roll_call: bool,
    /// The task's time is over: the reply to this call, or to a later call, decides.
    pub(crate) decides: Option<CallId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No turn yet. The stage does not say whether the ticket is queued or granted: see `grant.rs`.
    Waiting,
    /// The ticket has its turn since `since`, and its task has not been polled yet.
    Offered {
        since: Time,
        /// Does not change when the grant grows: by then a later ticket may have the token that this one would get.
        token: u64,
        /// The tasks behind this ticket were woken, since its task was not polled.
        has_called_roll: bool,
    },
    /// The task holds the lock.
    Active(Active),
    /// The task has given the lock back, and `min_hold` keeps others out until `until`.
    Cooling { until: Time },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) since: Time,
    /// When and why this turn ends, also if the lease lasts longer.
    pub(crate) end: Option<(Time, Loss)>,
    /// Until when the task may rely on the lock, as the shell was told last.
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

    /// How long to wait for the reply to one command. A reply after the end of the lease is of no use, and where a link hangs
    /// there must be time for a second try.
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
        // A lease that was made for this turn began a little earlier than the turn: both end together.
        let ttl = self.terms.ttl;
        let ttl_end = if lease.store_end() + ttl / 10 >= now + ttl {
            lease.store_end().min(now + ttl)
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
    /// The length of the lease that an `acquire` asks for.
    pub(crate) fn first_ttl(&self) -> std::time::Duration {
        let ttl = self.max_hold.map_or(self.ttl, |max| max.min(self.ttl));
        self.min_hold.map_or(ttl, |min| min.max(ttl))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Waiters {
    /// Sorted: a new ticket is higher than all tickets before.
    by_ticket: Vec<(Ticket, Box<Waiter>)>,
    tickets: BTreeMap<WaiterId, Ticket>,
    /// The waiters that were passed over. A parked waiter has no ticket.
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

    /// The highest ticket that is not done.
    pub(crate) fn last(&self) -> Option<Ticket> {
        self.by_ticket.last().map(|(ticket, _)| *ticket)
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

    /// The index of the ticket, or the index to insert it at.
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
            waiter.in_roll_call = false;
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

    /// In the order of tickets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &Waiter)> {
        each(&self.by_ticket)
    }

    pub(crate) fn within(&self, tickets: Tickets) -> impl Iterator<Item = (Ticket, &Waiter)> {
        each(&self.by_ticket[self.places(tickets)])
    }

    /// All these tickets are done.
    pub(crate) fn none_within(&self, tickets: Tickets) -> bool {
        self.places(tickets).is_empty()
    }

    pub(crate) fn within_mut(
        &mut self,
        tickets: Tickets,
    ) -> impl Iterator<Item = (Ticket, &mut Waiter)> {
        let places = self.places(tickets);
        let range = self.by_ticket[places].iter_mut();
        range.map(|(ticket, waiter)| (*ticket, &mut **waiter))
    }

    /// Gives the waiters of these tickets new tickets, in the same order.
    pub(crate) fn requeue(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            if let Some(mut waiter) = self.remove(ticket) {
                waiter.stage = Stage::Waiting;
                waiter.asked = None;
                waiter.failures = 0;
                waiter.in_roll_call = false;
                self.insert(waiter);
            }
        }
    }
}

fn each(waiters: &[(Ticket, Box<Waiter>)]) -> impl Iterator<Item = (Ticket, &Waiter)> {
    waiters.iter().map(|(ticket, waiter)| (*ticket, &**waiter))
}
