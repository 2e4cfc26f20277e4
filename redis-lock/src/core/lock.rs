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
/// A task whose turn it is, and that is not polled for this long, is passed over. After half of that all behind it in the
/// grant are woken, so that those who are not polled either are passed over with it.
pub(crate) const UNPOLLED: Duration = Duration::from_secs(1);
pub(crate) const ROLL_CALL: Duration = Duration::from_millis(500);
/// How long a heartbeat may take: short enough for another one before the waiter lease ends.
pub(crate) const LONGEST_BEAT: Duration = Duration::from_millis(1500);
/// An `acquire` may be executed for this much longer than its reply is waited for.
pub(crate) const LATE_MARGIN: Duration = Duration::from_millis(250);
/// How long a command may be on its way where the server's clock does not say. TCP may take longer; this covers links that
/// were slow, not those that were dead.
pub(crate) const LATEST_ARRIVAL: Duration = Duration::from_secs(30);
/// How long the reply to a release may take that no task waits for, before the release is sent once more.
pub(crate) const IMPATIENCE: Duration = Duration::from_millis(100);
/// A link that broke is often back at the next try, and there are two links: that of the task's runtime and the engine's. So
/// many tries are made, also if the task's time is over.
pub(crate) const TRIES: u32 = 3;
/// How long a login that is refused is taken for one that will be granted in a moment.
pub(crate) const LOGIN_PATIENCE: Duration = Duration::from_secs(2);
/// Ranges in one `acquire`.
pub(crate) const MOST_WANTS: usize = 100;

/// What is known of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// What the server's clock showed between `sent` and `received`.
    pub(crate) server: ServerTime,
    pub(crate) sent: Time,
    pub(crate) received: Time,
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
    /// In the order of their tickets.
    pub(crate) queued: Vec<Queued>,
    pub(crate) calls: Calls,
    /// Of the server's clock.
    pub(crate) clock: Option<Estimate>,
    /// The waiter lease is counted from the sending of the latest answered command that found the session in the queue.
    pub(crate) alive_since: Option<Time>,
    /// When the next heartbeat is due, if one is needed.
    pub(crate) beat_at: Option<Time>,
    /// A push has told of something that the reply to a heartbeat will tell more about.
    pub(crate) asks: bool,
    pub(crate) listening: bool,
    /// A push that came before the reply to its `acquire`.
    pub(crate) early: Option<Granted>,
    pub(crate) failures: Failures,
    /// Replies one after another that said "too late".
    pub(crate) lates: u32,
    /// Pauses are spread by a number that differs from lock to lock.
    pub(crate) spread: u64,
}

impl Lock {
    /// `first`: above every ticket that this session ever had for this lock. `clock`: the latest that is known of the
    /// server's clock. `spread`: any number, different for each session and lock.
    pub(crate) fn new(
        first: Ticket,
        clock: Option<Estimate>,
        listening: bool,
        spread: u64,
    ) -> Self {
        Lock {
            waiters: Waiters::new(first),
            grant: None,
            queued: Vec::new(),
            calls: Calls::default(),
            clock,
            alive_since: None,
            beat_at: None,
            asks: false,
            listening,
            early: None,
            failures: Failures::default(),
            lates: 0,
            spread,
        }
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        let before = effects.len();
        // Before all else: what comes in after a lease has ended does not explain why it has ended.
        self.end_grant_in_time(now, effects);
        match input {
            Input::Requested {
                waiter,
                mode,
                terms,
                queue,
            } => self.requested(waiter, mode, terms, queue, now),
            Input::Polled { waiter } => {
                // Most polls are no news.
                if !self.polled(waiter, now, effects) && effects.len() == before {
                    return;
                }
            }
            Input::Abandoned { waiter } => self.leaves(waiter, false, now, effects),
            Input::Unlocked { waiter } => self.leaves(waiter, true, now, effects),
            Input::Interrupted { waiter, why } => self.interrupted(waiter, why, now, effects),
            Input::Replied { call, reply } => self.replied(call, reply, now, effects),
            Input::Pushed(Push::Granted(granted)) => self.pushed(granted, now),
            Input::Pushed(Push::Sooner) => self.asks |= !self.queued.is_empty(),
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

    /// Whether to be polled is news: the task is called for, or has been passed over.
    pub(crate) fn awaits_poll(&self, id: WaiterId) -> bool {
        let waiter = self
            .waiters
            .ticket(id)
            .and_then(|ticket| self.waiters.get(ticket));
        waiter
            .is_none_or(|waiter| waiter.is_called || matches!(waiter.stage, Stage::Offered { .. }))
    }

    /// Nothing is left to do, here or in the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiters.is_empty()
            && self.grant.is_none()
            && self.queued.is_empty()
            && self.calls.is_empty()
            && !self.asks
    }

    /// When the lease of the grant ends.
    pub(crate) fn lease_end(&self) -> Option<Time> {
        self.grant.as_ref().map(|grant| grant.lease.until())
    }

    /// What is to be given back so far. `None`: nothing.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let mark = self.calls.mark();
        self.owes(mark).then_some(mark)
    }

    /// Whether something of that is still to be given back.
    pub(crate) fn owes(&self, mark: Mark) -> bool {
        let deserted = |tickets| self.waiters.within(tickets).next().is_none();
        self.calls.has_release_up_to(mark) || self.calls.acquires_up_to(mark).any(deserted)
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
            is_called: false,
        });
    }

    /// Returns whether that changes anything.
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
        waiter.is_called = false;
        let (Stage::Offered { .. }, Some(grant)) = (waiter.stage, &self.grant) else {
            return false;
        };
        let active = waiter.active(now, &grant.lease);
        waiter.stage = Stage::Active(active);
        effects.push(Effect::Grant {
            waiter: id,
            token: grant.token(ticket),
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

    /// The task has no more use for the lock. `waits`: it waits for the outcome.
    fn leaves(&mut self, id: WaiterId, waits: bool, now: Time, effects: &mut Vec<Effect>) {
        let Some(ticket) = self.waiters.ticket(id) else {
            self.waiters.remove_waiter(id);
            return;
        };
        let finish = |effects: &mut Vec<Effect>, outcome| {
            if waits {
                effects.push(Effect::Finish {
                    waiter: id,
                    outcome,
                });
            }
        };
        let Some(waiter) = self.waiters.get(ticket) else {
            return;
        };
        if let Stage::Cooling { .. } = waiter.stage {
            return; // its turn was over before
        }
        let (stage, terms, cools) = (waiter.stage, waiter.terms, waiter.cools_until(now));
        let is_last = self.is_last(ticket);
        match cools {
            // Others of this session are next, or may be.
            Some(until) if !is_last || self.calls.acquiring().is_some() => {
                if let Some(waiter) = self.waiters.get_mut(ticket) {
                    waiter.stage = Stage::Cooling { until };
                }
                return finish(effects, Outcome::Released);
            }
            _ => {}
        }
        self.waiters.remove(ticket);
        let is_active = matches!(stage, Stage::Active(_));
        match self.grant.take_if(|_| is_last) {
            Some(grant) => {
                let finishes = waits.then_some((id, call_limit(now, terms.command_timeout)));
                let length = grant.lease.longest(now);
                let length = cools.map_or(length, |until| until.since(now).max(length));
                let release = Release {
                    keep_out_until: cools,
                    was_held: is_active,
                    finishes,
                    limit: terms.command_timeout,
                    ..Release::of(grant.tickets(), length, now)
                };
                self.begin_release(release, grant.untouched, now, effects);
            }
            None if is_active => finish(effects, Outcome::Released),
            None => {}
        }
    }

    /// Whether no other ticket of the grant has a task, and this one is of the grant.
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
                // A view that says nothing decides nothing.
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

    /// The store knows the ticket, as far as is known here.
    pub(crate) fn is_known(&self, ticket: Ticket) -> bool {
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
