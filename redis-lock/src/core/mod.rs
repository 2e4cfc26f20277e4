//! Who holds a lock, and who is next: the state of one session and one lock. Pure: no clock, socket, task or random number.
//!
//! ```text
//!            Requested            in a reply: queued        in a reply or a push: granted       its turn, polled
//! (task) ────────────▶ waiting ──────────────────▶ queued ───────────────────────────▶ granted ─────────────────▶ active
//!                         ▲                           │ unknown to the store               │ lease lost              │
//!                         └──────── a new ticket ◀────┴────────── not polled for 1 s ◀─────┘         unlocked, lost ▼
//!                                                                                                                 done
//! ```
//!
//! The files in `scenarios/` show each rule as a short story: events, and below each of them what the core orders. The package
//! `redis-lock-sim` plays them; `REWRITE=1 cargo test -p redis-lock-sim scenarios` writes anew what the core orders.
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
//! | turn | a ticket of the grant is active: its task holds the lock |
//! | lease | until when the store keeps others out |
//! | claim | the lease of a grant that came by push: what is left of the waiter lease |
//! | view | what the store says that the session has |
//! | done | a ticket whose task has left or has given the lock back |
//! | doubt | an `acquire` that was not answered may yet be executed |
//!
//! # Invariants
//!
//! [`Lock::check`](lock::Lock::check) checks them after each input, in tests and in the simulator.
//!
//! 1. Active tickets are one writer, or readers.
//! 2. A ticket only moves forward: waiting, queued, granted, active, done.
//! 3. The token of a ticket is the grant's token and the ticket's distance from the grant's first ticket.
//! 4. A holder relies on its lease for no longer than from before the command was sent to the lease's end, less a margin.
//! 5. Every call in flight has a limit.
//! 6. A waiter that has not left gets one `Grant` or `Refuse`, and after a `Grant` one `Finish` or `Revoke`.
//! 7. Only `acquire` brings a new ticket to the store.
//! 8. A lock is idle when it has no waiter, grant, range, call, release or doubt.

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
