//! Which task holds a lock, and which task is next: the state of one session and one lock. Pure: no clock, socket, task or random
//! number.
//!
//! ```text
//!                     a reply          a reply, a push           its turn         polled            given back
//! Requested ──▶ Waiting ───▶ Waiting, ────────────────▶ Waiting, ────────▶ Offered ──────▶ Active ────────────▶ Cooling
//!                  ▲         queued                     granted             │  │             │ lost, given back    │ min_hold
//!                  │            │ unknown to the store     │ lease lost     │  │             ▼ after min_hold      ▼ is over
//!                  ├ new ticket ◀──────────────────────────┴────────────────┘  │            done                  done
//!                  └ new ticket ◀── polled ── parked ◀── not polled for 1 s ───┘
//! ```
//!
//! `Waiting`, `Offered`, `Active` and `Cooling` are the stages of a waiter (`waiters.rs`). Queued and granted are not stages: a
//! ticket is queued or granted if `grant.rs` has it in a queued range or in the grant.
//!
//! The files in `scenarios/` show each rule as a short story: events, and below each event the core's orders. The package
//! `redis-lock-sim` plays them; `REWRITE=1 cargo test -p redis-lock-sim scenarios` writes the orders anew.
//!
//! # Glossary
//!
//! | word | meaning |
//! | --- | --- |
//! | session | one runtime of one process, as the store sees it; locks are granted to sessions |
//! | waiter | one task that asks for the lock, from its request until it has given the lock back |
//! | ticket | the number of a waiter's request; a waiter that queues again gets a new, higher ticket |
//! | range | tickets that follow one another, of one mode; the store's queue consists of ranges |
//! | grant | the range that the session holds, with one lease and the token of its first ticket |
//! | turn | the ticket may take the lock (offered), or its task holds the lock (active) |
//! | offered | the ticket has its turn, and its task has been woken and not been polled yet |
//! | cooling | the task has given the lock back, and `min_hold` keeps others out a while longer |
//! | parked | a waiter that was not polled in its turn: it has no ticket until it is polled again |
//! | roll call | waking all tasks behind an offered task that is not polled; all tasks that are not polled then are parked together |
//! | done | a ticket whose task has left, or has given the lock back and whose `min_hold` is over |
//! | lease | until when the store keeps other sessions out |
//! | waiter lease | for how long the store keeps a session's places without a command of the session |
//! | claim | the lease of a grant that came by push: the rest of the waiter lease |
//! | epoch | counts the renewals that may shorten the lease; the store obeys the highest epoch |
//! | view | what the store says that the session has |
//! | place | how many ranges are in front of the session's first range |
//! | learnt | the number of the next call when a fact became known; only the reply to that call or to a later call may take the fact away |
//! | origin | the token of a grant less its first ticket: the token of a ticket is the origin plus the ticket |
//! | untouched | the store's state of a lock that was free before this grant; while the state lasts, one comparison is enough to release |
//! | early | a pushed grant that came before the reply to its `acquire` |
//! | want | a range that one `acquire` asks for |
//! | try | a request that never queues |
//! | doubt | an `acquire` that was not answered may have been executed, or be executed later |
//! | mark | a point in the order of releases and calls; `shutdown` waits for all that is to be given back up to a mark |
//! | spread | makes pauses differ from lock to lock |
//!
//! # Invariants
//!
//! [`Lock::check`](lock::Lock::check) looks at 1, 2 and 4 after each input, in debug builds and in the simulator. The simulator
//! sees the others from outside: tokens rise (3), no task waits for ever (5), each task gets one outcome (6), and neither the
//! store nor the core has anything that no task has a use for (7, 8).
//!
//! 1. Active tickets are one writer, or readers.
//! 2. A ticket only moves forward: waiting, queued, granted, active, done.
//! 3. The token of a ticket is the grant's token and the ticket's distance from the grant's first ticket, when its turn begins.
//! 4. A holder relies on a lease from before the command was sent until a margin before the lease's end, and no longer.
//! 5. Every call in flight has a limit.
//! 6. A waiter that has not left gets one `Grant` or `Refuse`, and after a `Grant` one `Finish` or `Revoke`.
//! 7. Only `acquire` brings a new ticket to the store.
//! 8. A lock is idle when it has no waiter, grant, range, call, release or doubt, and no question that must be asked.

pub(crate) mod calls;
pub(crate) mod check;
pub(crate) mod grant;
pub(crate) mod io;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod orders;
pub(crate) mod timers;
pub(crate) mod turns;
pub(crate) mod views;
pub(crate) mod waiters;
