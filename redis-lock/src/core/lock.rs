//! The state machine: one session and one lock.
//!
//! Each input changes the state; then `go_on` orders whatever follows from the state. So an order never depends on which input
//! came last. `views.rs` says what a reply changes, `turns.rs` whose turn it is, `orders.rs` what is sent and when.

use std::time::Duration;

use crate::{
    core::{
        calls::{Call, Calls, Kind, Mark, Release, call_limit},
        grant::{Grant, Queued},
        io::{
            CallError, CallErrorKind, CallId, Effect, Granted, Input, Outcome, Push, Queue,
            Refusal, Terms, View, WaiterId,
        },
        waiters::{Stage, Waiter, Waiters},
    },
    values::{
        loss::Loss,
        mode::Mode,
        ticket::Ticket,
        time::{ServerTime, Time},
    },
};

/// How long a place in the queue lasts without a heartbeat.
pub(crate) const WAITER_LEASE: Duration = Duration::from_secs(3);
/// How often a session that waits sends a heartbeat.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// A task that is offered the lock and is not polled for this long is passed over.
pub(crate) const UNPOLLED: Duration = Duration::from_secs(1);
/// When a task has been offered the lock for this long and was not polled, all tasks behind it in the grant are woken. The tasks
/// that are not polled then are passed over together, not one a second.
pub(crate) const ROLL_CALL: Duration = Duration::from_millis(500);
/// How long a heartbeat may take: short enough for another one before the waiter lease ends.
pub(crate) const LONGEST_BEAT: Duration = Duration::from_millis(1500);
/// The store may execute an `acquire` for this much longer than the session waits for the reply.
pub(crate) const LATE_MARGIN: Duration = Duration::from_millis(250);
/// How long a command may be on its way where the server's clock does not say. TCP may take longer: this covers a slow link, not
/// a dead link.
pub(crate) const LATEST_ARRIVAL: Duration = Duration::from_secs(30);
/// A release that no task waits for is sent once more if no reply has come for this long.
pub(crate) const IMPATIENCE: Duration = Duration::from_millis(100);
/// At least so many tries are made, also if the task's time is over: a link that broke is often back at the next try, and there are two
/// links, one of the task's runtime and one of the engine.
pub(crate) const TRIES: u32 = 3;
/// For this long a refused login is tried again, since the server's users may be being loaded.
pub(crate) const LOGIN_PATIENCE: Duration = Duration::from_secs(2);
/// Ranges in one `acquire`.
pub(crate) const MOST_WANTS: usize = 100;

/// A reading of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// What the server's clock showed at some time after `sent`.
    pub(crate) server: ServerTime,
    pub(crate) sent: Time,
}

impl Estimate {
    /// The latest that the server's clock may show now.
    pub(crate) fn latest(&self, now: Time) -> ServerTime {
        self.server + now.since(self.sent)
    }
}

/// Commands that failed one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) since: Option<Time>,
    /// The next `acquire` goes out no earlier.
    pub(crate) again: Option<Time>,
}

#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) waiters: Waiters,
    pub(crate) grant: Option<Grant>,
    /// The latest grant that is over here. In the store the same grant may have grown before that.
    pub(crate) former: Option<Grant>,
    /// In the order of their tickets.
    pub(crate) queued: Vec<Queued>,
    pub(crate) calls: Calls,
    /// Of the server's clock.
    pub(crate) clock: Option<Estimate>,
    /// The waiter lease is counted from the sending of the latest answered command that found the session in the queue.
    pub(crate) alive_since: Option<Time>,
    /// When the next heartbeat is due, if one is needed.
    pub(crate) beat_at: Option<Time>,
    /// The next heartbeat is due at once: a push, an ended wait or a reply that was cut short needs its answer.
    pub(crate) must_ask: bool,
    pub(crate) listening: bool,
    /// A push of a grant that came before the reply to the grant's `acquire`.
    pub(crate) early: Option<Granted>,
    pub(crate) failures: Failures,
    /// How many replies in a row said "too late".
    pub(crate) lates: u32,
    /// The state of the random numbers that make pauses differ from lock to lock.
    pub(crate) spread: u64,
}

impl Lock {
    /// `first`: above every ticket that this session ever had for this lock. `clock`: the latest reading of the server's clock.
    /// `spread`: any number, different for each session and lock.
    pub(crate) fn new(
        first: Ticket,
        clock: Option<Estimate>,
        listening: bool,
        spread: u64,
    ) -> Self {
        Lock {
            waiters: Waiters::new(first),
            grant: None,
            former: None,
            queued: Vec::new(),
            calls: Calls::default(),
            clock,
            alive_since: None,
            beat_at: None,
            must_ask: false,
            listening,
            early: None,
            failures: Failures::default(),
            lates: 0,
            spread,
        }
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        let before = effects.len();
        // Before all else: an input that comes in after the lease has ended does not explain why the lease has ended.
        self.end_grant_in_time(now, effects);
        match input {
            Input::Requested {
                waiter,
                mode,
                terms,
                queue,
            } => self.requested(waiter, mode, terms, queue, now),
            Input::Polled { waiter } => {
                // Most polls change nothing.
                if !self.polled(waiter, now, effects) && effects.len() == before {
                    return;
                }
            }
            Input::Abandoned { waiter } => self.leaves(waiter, false, now, effects),
            Input::Unlocked { waiter } => self.leaves(waiter, true, now, effects),
            Input::Interrupted { waiter, why } => self.interrupted(waiter, why, now, effects),
            Input::Replied { call, reply } => self.replied(call, reply, now, effects),
            Input::Pushed(Push::Granted(granted)) => self.pushed(granted, now, effects),
            Input::Pushed(Push::Sooner) => {
                // The push may come before the reply to the `acquire` that has queued.
                self.must_ask |= !self.queued.is_empty() || self.calls.acquiring().is_some();
            }
            Input::Listening(listening) => {
                if listening && (!self.queued.is_empty() || self.calls.acquiring().is_some()) {
                    self.beat_at = Some(now);
                }
                self.listening = listening;
            }
            Input::TimeReached => {}
        }
        self.go_on(now, effects);
    }

    /// Whether a poll of the task is news: the task was woken, or was passed over.
    pub(crate) fn awaits_poll(&self, id: WaiterId) -> bool {
        let waiter = self
            .waiters
            .ticket(id)
            .and_then(|ticket| self.waiters.get(ticket));
        waiter.is_none_or(|waiter| {
            waiter.in_roll_call || matches!(waiter.stage, Stage::Offered { .. })
        })
    }

    /// Nothing is left to do, here or in the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiters.is_empty()
            && self.grant.is_none()
            && self.queued.is_empty()
            && self.calls.is_empty()
            && !self.must_ask
    }

    /// When the lease of the grant ends.
    pub(crate) fn lease_end(&self) -> Option<Time> {
        self.grant.as_ref().map(|grant| grant.lease.until())
    }

    /// The present point in the order of what is given back. `None`: nothing is to be given back.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let mark = self.calls.mark();
        self.owes(mark).then_some(mark)
    }

    /// Whether something that was to be given back at `mark` still is: a release that is not confirmed, or an `acquire` without a
    /// reply for tickets of which no task is left.
    pub(crate) fn owes(&self, mark: Mark) -> bool {
        let mut acquires = self.calls.acquires_up_to(mark);
        self.calls.has_release_up_to(mark)
            || acquires.any(|tickets| self.waiters.none_within(tickets))
    }

    /// Above every ticket so far.
    pub(crate) fn next_ticket(&self) -> Ticket {
        self.waiters.next_ticket()
    }

    fn requested(&mut self, id: WaiterId, mode: Mode, terms: Terms, queue: Queue, now: Time) {
        self.waiters.insert(Waiter {
            id,
            mode,
            terms,
            queue,
            requested: now,
            stage: Stage::Waiting,
            failures: 0,
            asked: None,
            decides: None,
            in_roll_call: false,
        });
    }

    /// Returns whether the poll changes anything.
    fn polled(&mut self, id: WaiterId, now: Time, effects: &mut Vec<Effect>) -> bool {
        if self.waiters.unpark(id) {
            return true;
        }
        let Some(ticket) = self.waiters.ticket(id) else {
            return false;
        };
        let Some(waiter) = self.waiters.get_mut(ticket) else {
            return false;
        };
        waiter.in_roll_call = false;
        let (Stage::Offered { token, .. }, Some(grant)) = (waiter.stage, &self.grant) else {
            return false;
        };
        let active = waiter.active(now, &grant.lease);
        waiter.stage = Stage::Active(active);
        effects.push(Effect::Grant {
            waiter: id,
            token,
            until: active.until,
        });
        true
    }

    fn interrupted(&mut self, id: WaiterId, why: Loss, now: Time, effects: &mut Vec<Effect>) {
        if let Some(ticket) = self.waiters.ticket(id)
            && let Some(waiter) = self.waiters.get(ticket)
            && let Stage::Active(_) = waiter.stage
        {
            effects.push(Effect::Revoke { waiter: id, why });
            self.end_turn(ticket, now);
        }
    }

    /// The task has no more use for the lock. `waits`: the task waits for the outcome.
    fn leaves(&mut self, id: WaiterId, waits: bool, now: Time, effects: &mut Vec<Effect>) {
        let Some(ticket) = self.waiters.ticket(id) else {
            self.waiters.remove_waiter(id); // parked, or gone
            return;
        };
        let is_last = self.is_last(ticket);
        let Some(waiter) = self.waiters.get(ticket) else {
            return;
        };
        if let Stage::Cooling { .. } = waiter.stage {
            return; // the turn was over before
        }
        let is_active = matches!(waiter.stage, Stage::Active(_));
        let limit = waiter.terms.command_timeout;
        let cools_until = waiter.cools_until(now);
        if is_last && cools_until.is_none() {
            self.send_acquire_ahead(now, effects);
        }
        // While others of this session may be next, the grant stays here until `min_hold` is over.
        let others_may_follow = !is_last || self.calls.acquiring().is_some();
        let given_back = match cools_until {
            Some(_) if others_may_follow => {
                self.end_turn(ticket, now);
                None
            }
            _ => {
                self.waiters.remove(ticket);
                self.grant.take_if(|_| is_last)
            }
        };
        if let Some(grant) = given_back {
            let lasts = grant.lease.longest(now);
            let lasts = cools_until.map_or(lasts, |until| until.since(now).max(lasts));
            let release = Release {
                keep_out_until: cools_until,
                was_held: is_active,
                finishes: waits.then_some((id, call_limit(now, limit))),
                limit,
                ..Release::of(grant.tickets(), lasts, now)
            };
            let untouched = grant.untouched;
            self.former = Some(grant);
            return self.begin_release(release, untouched, now, effects);
        }
        if waits && is_active {
            let outcome = Outcome::Released;
            effects.push(Effect::Finish {
                waiter: id,
                outcome,
            });
        }
    }

    /// Whether the ticket is of the grant, and all other tickets of the grant are done.
    fn is_last(&self, ticket: Ticket) -> bool {
        self.grant.as_ref().is_some_and(|grant| {
            let tickets = grant.tickets();
            let mut others = self.waiters.within(tickets);
            tickets.contains(ticket) && others.all(|(other, _)| other == ticket)
        })
    }

    fn replied(
        &mut self,
        id: CallId,
        reply: Result<View, CallError>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let Some(call) = self.calls.end(id) else {
            return; // given up before
        };
        match reply {
            Ok(view) => {
                self.answered(&call, &view, now, effects);
                // A view that is late says nothing, so it decides nothing.
                if !view.is_late {
                    self.decide(call.id, Refusal::Contended, effects);
                }
            }
            Err(error) => {
                self.failed(&call, error, now, effects);
                self.decide(call.id, Refusal::Failed, effects);
            }
        }
        self.calls.prune();
    }

    fn failed(&mut self, call: &Call, error: CallError, now: Time, effects: &mut Vec<Effect>) {
        match &call.kind {
            Kind::Acquire {
                tickets,
                not_after,
                ttl,
            } => {
                // Without a not-after the store does nothing.
                if let (Some(not_after), false) = (*not_after, error.did_nothing) {
                    self.doubts(call, *tickets, not_after, *ttl);
                }
                self.pause(error, now);
                self.refuse_failed(*tickets, error, now, effects);
            }
            Kind::Heartbeat => {
                self.pause(error, now);
                self.beat_at = self.failures.again;
                if matches!(error.kind, CallErrorKind::Foreign | CallErrorKind::Fatal) {
                    self.refuse_all(effects);
                }
            }
            Kind::Renew { ttl } => {
                if error.kind == CallErrorKind::Foreign {
                    self.lose_grant(Loss::Replaced, effects);
                } else if let Some(grant) = &mut self.grant {
                    grant.lease.renewal_failed(call.id, *ttl, now);
                }
            }
            Kind::Release(number) => self.release_failed(*number, error, now, effects),
        }
    }

    /// The ticket is granted or queued, as far as this session knows.
    pub(crate) fn is_at_store(&self, ticket: Ticket) -> bool {
        let is_granted = |grant: &Grant| grant.tickets().contains(ticket);
        let place = self
            .queued
            .partition_point(|queued| queued.tickets.to < ticket);
        let is_queued = |queued: &Queued| queued.tickets.contains(ticket);
        self.grant.as_ref().is_some_and(is_granted) || self.queued.get(place).is_some_and(is_queued)
    }

    /// Orders whatever follows from the state.
    fn go_on(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while let Some(call) = self.calls.overdue(now) {
            self.replied(call, Err(CallError::NO_REPLY), now, effects);
        }
        self.end_unlocks(now, effects);
        self.calls.end_doubt(now);
        if self.is_idle() {
            return;
        }
        self.end_grant_in_time(now, effects);
        self.pass_over(now, effects);
        self.give_turns(now, effects);
        self.end_waits(now, effects);
        self.refuse_tries(effects);
        self.give_back(now, effects);
        self.send_releases(now, effects);
        self.send_acquire(now, effects);
        self.send_renewal(now, effects);
        self.send_heartbeat(now, effects);
    }

    /// A command has succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = Failures::default();
    }
}
