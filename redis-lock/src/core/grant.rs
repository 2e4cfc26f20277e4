//! The session's grant and queued ranges, as far as the session knows. A waiting ticket in the grant is granted, a waiting ticket
//! in a range is queued; the store does not know any further waiting ticket.

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
    /// The number of the next call when the tickets and the token became known. Only the reply to that call or to a later call may
    /// take the grant away.
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
    /// As in [`Grant`], for this range.
    pub(crate) learnt: CallId,
}
