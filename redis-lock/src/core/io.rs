//! The whole interface of the core: inputs and effects. Read this file first.
//!
//! The core has no clock, socket, task or random number. The shell tells the core facts ([`Input`]), each with the time, and
//! executes the core's orders ([`Effect`]).
//!
//! A reply, a push or a timer that is early, late or repeated does no harm. For each waiter the shell keeps an order:
//!
//! 1. `Requested`, once.
//! 2. `Polled`, as often as the task likes while it waits.
//! 3. At the end `Unlocked` (only after [`Effect::Grant`]) or `Abandoned`, once.
//!
//! `Interrupted` may come at any time. An input about a waiter that was refused, or has lost or given back the lock, changes
//! nothing.

use std::{fmt, time::Duration};

use crate::values::{
    loss::Loss,
    mode::Mode,
    ticket::{Ticket, Tickets},
    time::{ServerTime, Time},
};

/// A task that waits for a lock or holds the lock. The handle stays the same for as long as the request lives; the ticket changes
/// when the task has to queue again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(pub(crate) u64);

/// One command on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId(pub(crate) u64);

/// For how long a task is ready to queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// One try, which never queues.
    Never,
    Until(Time),
    Forever,
}

/// What a holder is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    pub(crate) auto_extend: bool,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) min_hold: Option<Duration>,
    /// How long one command may take.
    pub(crate) command_timeout: Duration,
}

/// A fact.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A task asks for the lock, and comes after all tasks that asked before.
    Requested {
        waiter: WaiterId,
        mode: Mode,
        terms: Terms,
        queue: Queue,
    },
    /// The task's future is polled: if it is the task's turn, the task takes the lock now.
    Polled { waiter: WaiterId },
    /// The task has gone: its future or its guard was dropped.
    Abandoned { waiter: WaiterId },
    /// The holder gives the lock back, and waits for the outcome.
    Unlocked { waiter: WaiterId },
    /// The reply to an [`Effect::Call`], one for each. After the call's time limit the core ignores the reply.
    Replied {
        call: CallId,
        reply: Result<View, CallError>,
    },
    /// A push has come in.
    Pushed(Push),
    /// Whether grants are pushed to this session. `true` is told again after a gap in which pushes may have been missed.
    Listening(bool),
    /// The time of [`next_timeout`](super::lock::Lock::next_timeout) has come. Does no harm at any other time.
    TimeReached,
    /// The holder is to lose the lock, which is given back.
    Interrupted { waiter: WaiterId, why: Loss },
}

/// An order. The shell sends the calls in their order, and wakes tasks last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send the command; tell the reply by [`Input::Replied`].
    Call {
        call: CallId,
        command: Command,
        within: Duration,
    },
    /// Wake the task, so that it is polled: its turn has come, or the core calls the roll.
    Wake { waiter: WaiterId },
    /// The task holds the lock until `until`, or until a later [`Effect::LeaseEnds`] says. Only in answer to [`Input::Polled`].
    Grant {
        waiter: WaiterId,
        token: u64,
        until: Time,
    },
    /// The holder may now rely on the lock until `until`, which may be later or earlier than before.
    LeaseEnds { waiter: WaiterId, until: Time },
    /// The task does not get the lock.
    Refuse { waiter: WaiterId, why: Refusal },
    /// The holder has lost the lock.
    Revoke { waiter: WaiterId, why: Loss },
    /// The outcome of [`Input::Unlocked`].
    Finish { waiter: WaiterId, outcome: Outcome },
    /// A release is not sent again: the error is fatal, or the lease has ended by now. `was_held`: a task had held the lock.
    GiveUp { was_held: bool },
}

/// Why a task does not get the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The lock was held, or other waiters were before the task, for as long as the task was ready to wait.
    Contended,
    /// The latest command failed.
    Failed,
}

/// How an unlock has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Released,
    /// The store did not know the grant any more.
    Lost,
    /// No command was answered in time, or the store refused the command. A release that may still succeed goes on in the
    /// background.
    Failed,
}

/// A command to the store, for one session and one lock. A command may be executed late and more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The only command that brings a new ticket to the store.
    Acquire {
        /// In the order of their tickets.
        wants: Vec<Want>,
        /// All tickets below this one are done.
        done_below: Ticket,
        /// The length of the lease, if the store makes a grant.
        ttl: Duration,
        /// The store does nothing after this time. `None`: the server's time is not known yet.
        not_after: Option<ServerTime>,
    },
    /// The session is alive: its places in the queue last for one waiter lease from now.
    Heartbeat {
        /// All tickets below this one are done.
        done_below: Ticket,
        /// No task holds the grant at present, so no task renews it: the grant is to last for a waiter lease from now, at least.
        keeps_grant: bool,
    },
    /// Sets the lease of the grant that has this ticket. Of renewals that come out of order, the one with the higher `epoch` counts;
    /// within one epoch a renewal never shortens the lease.
    Renew {
        ticket: Ticket,
        ttl: Duration,
        epoch: u64,
    },
    /// These tickets are done.
    Release {
        tickets: Tickets,
        /// Other sessions are kept out for this long, although no session holds the lock (`min_hold`).
        keep_out: Duration,
        /// The state of the lock in the store, if no command has changed it since the grant was made.
        untouched: Option<Untouched>,
    },
}

/// Tickets of one mode that want the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) mode: Mode,
    pub(crate) tickets: Tickets,
    /// The ticket never queues.
    pub(crate) is_try: bool,
}

/// A grant of a lock that was free, as the store made the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untouched {
    pub(crate) granted: Granted,
    pub(crate) ttl: Duration,
}

/// Tickets that a session has been granted, and the token of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) mode: Mode,
    pub(crate) tickets: Tickets,
    pub(crate) token: u64,
}

impl Granted {
    /// The token of a ticket is the origin plus the ticket.
    pub(crate) fn origin(&self) -> u64 {
        self.token.saturating_sub(self.tickets.from.0)
    }

    pub(crate) fn last_token(&self) -> u64 {
        self.origin().saturating_add(self.tickets.to.0)
    }

    /// Whether the session was granted this after `other`, or this is `other` after it has grown. A later grant has higher tickets.
    /// While a grant grows, the token of a ticket may become greater, never smaller.
    pub(crate) fn is_after(&self, other: &Granted) -> bool {
        if self.tickets.overlaps(other.tickets) {
            (self.origin(), self.tickets.to) > (other.origin(), other.tickets.to)
        } else {
            self.tickets.from > other.tickets.to
        }
    }
}

/// A message from the store that is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// The session has been granted these tickets.
    Granted(Granted),
    /// The lock will be free sooner than the latest view said.
    Sooner,
}

/// What a session had in the store when a command was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The store's time. `None`: the command did not read the store's clock, which takes time.
    pub(crate) now: Option<ServerTime>,
    /// An `Acquire` came after its `not_after`: the store did nothing, and the rest of the view is empty.
    pub(crate) is_late: bool,
    /// A `Release` has found the tickets that it names.
    pub(crate) found: bool,
    pub(crate) grant: Option<GrantView>,
    /// In the order of their tickets.
    pub(crate) queued: Vec<(Mode, Tickets)>,
    /// How many ranges are in front of the session's first one.
    pub(crate) place: u64,
    /// For how long the leases of the other sessions last, if no session renews its lease.
    pub(crate) others_left: Duration,
    /// The command has left work for other sessions undone, since one command does a bounded amount.
    pub(crate) more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrantView {
    pub(crate) granted: Granted,
    /// What is left of the lease.
    pub(crate) left: Duration,
    /// The epoch of the renewal that has set the lease; 0 before the first renewal.
    pub(crate) epoch: u64,
}

/// What a failed command means to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallError {
    pub(crate) kind: CallErrorKind,
    /// The command has certainly not been executed, and will not be.
    pub(crate) did_nothing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallErrorKind {
    /// The next try may succeed.
    Transient,
    /// The login was refused: the server's users may be being loaded, or the password is wrong.
    Login,
    /// A foreign value is at one of the lock's names.
    Foreign,
    /// Trying again is of no use.
    Fatal,
}

impl CallError {
    /// No reply came in time.
    pub(crate) const NO_REPLY: CallError = CallError {
        kind: CallErrorKind::Transient,
        did_nothing: false,
    };
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries = if self.is_try { "?" } else { "" };
        write!(f, "{}{}{tries}", self.mode.letter(), self.tickets)
    }
}

impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Push::Granted(granted) => fmt::Display::fmt(granted, f),
            Push::Sooner => f.write_str("sooner"),
        }
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}@{}", self.mode.letter(), self.tickets, self.token)
    }
}
