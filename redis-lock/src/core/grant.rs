//! What the session has been granted, and what it has in the store's queue.

use crate::{
    core::{
        io::{CallId, Granted, Untouched},
        lease::Lease,
    },
    values::{
        mode::Mode,
        ticket::{Ticket, Tickets},
    },
};

/// The session holds these tickets.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) granted: Granted,
    pub(crate) lease: Lease,
    /// Calls with a lower number were sent before the grant, as it is now, was known.
    pub(crate) learnt: CallId,
    /// What the store has, if nothing has changed it since the grant was made.
    pub(crate) untouched: Option<Untouched>,
}

impl Grant {
    pub(crate) fn mode(&self) -> Mode {
        self.granted.mode
    }

    pub(crate) fn tickets(&self) -> Tickets {
        self.granted.tickets
    }

    pub(crate) fn token(&self, ticket: Ticket) -> u64 {
        self.granted.origin() + ticket.0
    }
}

/// The session waits with these tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) mode: Mode,
    pub(crate) tickets: Tickets,
    /// As in [`Grant`].
    pub(crate) learnt: CallId,
}
