//! What the store is known to have of a session: a grant, and ranges in the queue. A waiting ticket is queued or granted if it is
//! in one of these, and not at the store if it is in neither.

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
    /// The number of the next call when these tickets and this token became known. Only the reply to that call or to a later one
    /// may take the grant away.
    pub(crate) learnt: CallId,
    /// What the store has if no command has changed the lock since the grant was made.
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
    /// The same for the range.
    pub(crate) learnt: CallId,
}
