//! Tickets: one number for each request of a task, counted for each session and lock.

use std::fmt;

/// One request of one task. A task that has to queue again gets a new ticket, higher than all earlier tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    pub(crate) fn next(self) -> Ticket {
        Ticket(self.0.saturating_add(1))
    }

    pub(crate) fn before(self) -> Option<Ticket> {
        self.0.checked_sub(1).map(Ticket)
    }
}

/// Tickets that follow one another: `from..=to`, never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tickets {
    pub(crate) from: Ticket,
    pub(crate) to: Ticket,
}

impl Tickets {
    pub(crate) fn one(ticket: Ticket) -> Self {
        Tickets {
            from: ticket,
            to: ticket,
        }
    }

    pub(crate) fn contains(self, ticket: Ticket) -> bool {
        self.from <= ticket && ticket <= self.to
    }

    pub(crate) fn covers(self, other: Tickets) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    pub(crate) fn overlaps(self, other: Tickets) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

impl fmt::Display for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.0, self.to.0)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
