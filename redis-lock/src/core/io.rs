//! The whole interface of the core: what it is told, and what it orders. Read this file first.
//!
//! The core has no clock, socket, task or random number. The shell tells it facts ([`Input`]), each with the time, and does
//! what the core orders ([`Effect`]). An input that is early, late or repeated does no harm.

use std::{fmt, time::Duration};

use crate::values::{
    loss::Loss,
    mode::Mode,
    ticket::{Ticket, Tickets},
    time::{ServerTime, Time},
};

/// A task that waits for a lock or holds it. The handle stays the same for as long as the request lives, while its ticket
/// changes when the task has to queue again.
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
    /// A task asks for the lock. Later than all that asked before.
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
    /// Comes once for each [`Effect::Call`], unless the core has given up the call before.
    Replied {
        call: CallId,
        reply: Result<View, CallError>,
    },
    /// A push has come in.
    Pushed(Push),
    /// Whether grants are pushed to this session. `true` also after a gap in which pushes may have been missed.
    Listening(bool),
    /// A time that [`next_timeout`](super::lock::Lock::next_timeout) named has come, or any other.
    TimeReached,
    /// A holder is to lose its lock; what it holds is given back.
    Interrupted { waiter: WaiterId, why: Loss },
}

/// An order. The shell does releases first, then other calls, and wakes tasks last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send the command; tell the reply by [`Input::Replied`].
    Call {
        call: CallId,
        command: Command,
        within: Duration,
    },
    /// Have the task polled: it is its turn.
    Wake { waiter: WaiterId },
    /// The task holds the lock until `until`, unless that is extended. Only ever in answer to [`Input::Polled`].
    Grant {
        waiter: WaiterId,
        token: u64,
        until: Time,
    },
    /// The lease of a holder lasts until `until`.
    Extend { waiter: WaiterId, until: Time },
    /// The task does not get the lock.
    Refuse { waiter: WaiterId, why: Refusal },
    /// The holder has lost the lock.
    Revoke { waiter: WaiterId, why: Loss },
    /// The outcome of [`Input::Unlocked`].
    Finish { waiter: WaiterId, outcome: Outcome },
    /// A release was not confirmed before its lease had ended anyway. `was_held`: a task had held the lock.
    GiveUp { tickets: Tickets, was_held: bool },
}

/// Why a task does not get the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Others held the lock, or came before, for as long as the task was ready to wait.
    Contended,
    /// The latest command has failed.
    Failed,
}

/// How giving back has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Released,
    /// The store did not know the grant any more.
    Lost(Loss),
    /// The command has failed; the release goes on in the background.
    Failed,
}

/// A command to the store, for one session and one lock. Each may be executed late and more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The only command that brings a new ticket to the store.
    Acquire {
        /// In the order of their tickets.
        wants: Vec<Want>,
        /// All tickets below this one are done.
        done_below: Ticket,
        /// The lease of a grant that is made now.
        ttl: Duration,
        /// The store does nothing after this time. `None`: the server's time is not known yet.
        not_after: Option<ServerTime>,
    },
    /// The session is alive: its places in the queue, and a grant that it has not renewed yet, last for one waiter lease.
    Heartbeat {
        /// All tickets below this one are done.
        done_below: Ticket,
        /// The grant is to last for a waiter lease as well: nobody has renewed it yet.
        keeps_grant: bool,
    },
    /// Sets the lease of the grant that has this ticket. Of two renewals that the store gets out of order, the one with the
    /// higher `epoch` counts; within one epoch a renewal never shortens the lease.
    Renew {
        ticket: Ticket,
        ttl: Duration,
        epoch: u64,
    },
    /// These tickets are done.
    Release {
        tickets: Tickets,
        /// Others are kept out for this long, although nobody holds the lock (`min_hold`).
        keep_out: Duration,
        /// What the store has if no command of anybody has changed it since the grant was made.
        untouched: Option<Untouched>,
    },
}

/// Tickets of one mode that want the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) mode: Mode,
    pub(crate) tickets: Tickets,
    /// Never queues.
    pub(crate) is_try: bool,
}

/// A grant of a lock that was free, as it was made.
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
    /// The token of a ticket is this plus the ticket. Of two grants of a session, the later has the greater origin; a
    /// grant that grows is a new one in this respect.
    pub(crate) fn origin(&self) -> u64 {
        self.token.saturating_sub(self.tickets.from.0)
    }
}

/// What the store tells a session that has not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// The session has been granted these tickets.
    Granted(Granted),
    /// The lock will be free sooner than the session has been told.
    Sooner,
}

/// What a session has, as the store saw it when it executed a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// What the store's clock showed. `None`: the store has not looked at its clock, since that takes time.
    pub(crate) now: Option<ServerTime>,
    /// An `Acquire` that came after its not-after: nothing was done, and nothing else is said.
    pub(crate) is_late: bool,
    /// A `Release` has found what it named.
    pub(crate) found: bool,
    pub(crate) grant: Option<GrantView>,
    /// In the order of their tickets.
    pub(crate) queued: Vec<(Mode, Tickets)>,
    /// How many ranges are in front of the session's first one.
    pub(crate) place: u64,
    /// When the leases of the other sessions end, if nobody renews them.
    pub(crate) others_left: Duration,
    /// What is done for others in one command is bounded, and there was more to do.
    pub(crate) more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrantView {
    pub(crate) granted: Granted,
    /// What is left of the lease.
    pub(crate) left: Duration,
    /// That of the renewal that has set the lease; 0 before the first.
    pub(crate) epoch: u64,
}

/// What a failed command means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallError {
    pub(crate) kind: CallErrorKind,
    /// The command has certainly not been executed, and will not be.
    pub(crate) did_nothing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallErrorKind {
    /// It may be over in a moment.
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
