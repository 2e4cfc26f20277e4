//! The state machine: one session and one lock.
//!
//! Each input changes the state; then [`Lock::go_on`] orders whatever follows from the state. So an order never depends on
//! which input came last.

use std::time::Duration;

use crate::{
    core::{
        calls::{Call, Calls, Doubt, Kind, Mark, Release, ReleaseState},
        grant::{Grant, Queued},
        io::{
            CallError, CallErrorKind, CallId, Command, Effect, Granted, Input, Outcome, Push,
            Queue, Refusal, Terms, Untouched, View, WaiterId, Want,
        },
        lease::Wanted,
        waiters::{Stage, Waiter, Waiters},
    },
    mode::Mode,
    values::{
        loss::Loss,
        ticket::{Ticket, Tickets},
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
const LONGEST_BEAT: Duration = Duration::from_millis(1500);
/// An `acquire` may be executed for this much longer than its reply is waited for.
pub(crate) const LATE_MARGIN: Duration = Duration::from_millis(250);
/// How long a command may be on its way where the server's clock does not say. TCP may take longer; this covers links that
/// were slow, not those that were dead.
const LATEST_ARRIVAL: Duration = Duration::from_secs(30);
/// How long the reply to a release may take that no task waits for, before the release is sent once more.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// A link that broke is often back at the next try, and there are two links: that of the task's runtime and the engine's. So
/// many tries are made, also if the task's time is over.
const TRIES: u32 = 3;
/// How long a login that is refused is taken for one that will be granted in a moment.
const LOGIN_PATIENCE: Duration = Duration::from_secs(2);
/// Ranges in one `acquire`.
const MOST_WANTS: usize = 100;

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
    fn latest(&self, now: Time) -> ServerTime {
        self.server + now.since(self.sent)
    }
}

/// Commands that failed one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    count: u32,
    since: Option<Time>,
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
    spread: u64,
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
                if !self.polled(waiter, now, effects) {
                    return;
                }
            }
            Input::Abandoned { waiter } => self.leaves(waiter, false, now, effects),
            Input::Unlocked { waiter } => self.leaves(waiter, true, now, effects),
            Input::Interrupted { waiter, why } => {
                if let Some(ticket) = self.waiters.ticket(waiter) {
                    effects.push(Effect::Revoke { waiter, why });
                    let cools = self.waiters.get(ticket).and_then(|waiter| {
                        let min_hold = waiter.terms.min_hold?;
                        match waiter.stage {
                            Stage::Active(active) => Some(active.since + min_hold),
                            _ => None,
                        }
                    });
                    match (cools, self.waiters.get_mut(ticket)) {
                        (Some(until), Some(waiter)) if until > now => {
                            waiter.stage = Stage::Cooling { until };
                        }
                        _ => {
                            self.waiters.remove(ticket);
                        }
                    }
                }
            }
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
        self.calls.has_release_up_to(mark) || self.calls.acquires_up_to(mark).is_some_and(deserted)
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
        let ticket = self.waiters.ticket(id);
        let waiter = ticket.and_then(|ticket| self.waiters.get_mut(ticket));
        let Some(waiter) = waiter else {
            return false;
        };
        waiter.is_called = false;
        if !matches!(waiter.stage, Stage::Offered { .. }) {
            return false;
        }
        // What has ended by now must not be taken.
        self.end_grant_in_time(now, effects);
        if let Some(ticket) = self.waiters.ticket(id)
            && let Some(grant) = &self.grant
            && let Some(waiter) = self.waiters.get_mut(ticket)
            && let Stage::Offered { .. } = waiter.stage
        {
            let active = waiter.active(now, &grant.lease);
            waiter.stage = Stage::Active(active);
            effects.push(Effect::Grant {
                waiter: id,
                token: grant.token(ticket),
                until: active.until,
            });
        }
        true
    }

    /// The task has no more use for the lock. `waits`: it waits for the outcome.
    fn leaves(&mut self, id: WaiterId, waits: bool, now: Time, effects: &mut Vec<Effect>) {
        self.end_grant_in_time(now, effects);
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
        let (stage, terms) = match self.waiters.get(ticket) {
            Some(waiter) => (waiter.stage, waiter.terms),
            None => return,
        };
        let cools = match stage {
            Stage::Active(active) => terms.min_hold.map(|min| active.since + min),
            _ => None,
        };
        let cools = cools.filter(|until| *until > now);
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
                let finishes = waits.then_some((id, now + terms.command_timeout));
                self.release_grant(&grant, cools, finishes, terms.command_timeout, now, effects);
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
        let why = match reply {
            Ok(view) => {
                self.answered(&call, &view, now, effects);
                Refusal::Contended
            }
            Err(error) => {
                self.failed(&call, error, now, effects);
                Refusal::Failed
            }
        };
        self.decide(call.id, why, effects);
        self.calls.prune();
    }

    /// Tasks whose time is over have waited for this reply, or an earlier one.
    fn decide(&mut self, call: CallId, why: Refusal, effects: &mut Vec<Effect>) {
        let decided: Vec<_> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.decides.is_some_and(|decides| decides <= call))
            .map(|(ticket, _)| ticket)
            .collect();
        for ticket in decided {
            // It may be its turn by now.
            let is_next = self.grant.as_ref().is_some_and(|grant| {
                let mut within = self.waiters.within(grant.tickets());
                let first = within.next().map(|(first, _)| first);
                grant.mode() == Mode::Read && grant.tickets().contains(ticket)
                    || first == Some(ticket)
            });
            if let Some(waiter) = self.waiters.get(ticket)
                && waiter.stage == Stage::Waiting
                && !is_next
            {
                self.refuse(ticket, why, effects);
            }
        }
    }

    fn failed(&mut self, call: &Call, error: CallError, now: Time, effects: &mut Vec<Effect>) {
        match &call.kind {
            Kind::Acquire {
                tickets,
                not_after,
                ttl: _,
            } => {
                if let (Some(not_after), false) = (*not_after, error.did_nothing) {
                    self.doubts(call, *tickets, not_after);
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

    /// This `acquire` may have been executed, or be executed later.
    fn doubts(&mut self, call: &Call, tickets: Tickets, not_after: ServerTime) {
        let clock = self.clock;
        let uncertain = clock.map(|clock| clock.received.since(clock.sent));
        let uncertain = uncertain.unwrap_or_default() + Duration::from_millis(2);
        let check_at = call.limit + LATE_MARGIN + uncertain;
        let sent = call.sent;
        self.calls.doubt = Some(match self.calls.doubt.take() {
            None => Doubt {
                tickets,
                not_after,
                check_at,
                pause: HEARTBEAT,
                until: sent + LATEST_ARRIVAL,
            },
            Some(doubt) => Doubt {
                tickets: Tickets {
                    from: doubt.tickets.from.min(tickets.from),
                    to: doubt.tickets.to.max(tickets.to),
                },
                not_after: doubt.not_after.max(not_after),
                check_at: doubt.check_at.max(check_at),
                pause: HEARTBEAT,
                until: sent + LATEST_ARRIVAL,
            },
        });
    }

    /// Pauses between attempts grow, and differ from lock to lock.
    fn pause(&mut self, error: CallError, now: Time) {
        const FIRST: Duration = Duration::from_millis(25);
        const LONGEST: Duration = Duration::from_millis(500);
        let pause = FIRST
            .saturating_mul(1 << self.failures.count.min(10))
            .min(LONGEST);
        self.failures.count += 1;
        self.failures.again = Some(now + self.spread_out(pause));
        if error.kind == CallErrorKind::Login {
            self.failures.since.get_or_insert(now);
        } else {
            self.failures.since = None;
        }
    }

    /// Half of the pause to the whole of it.
    pub(crate) fn spread_out(&mut self, pause: Duration) -> Duration {
        // SplitMix64.
        self.spread = self.spread.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.spread;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let eighths = u32::try_from(z % 5).unwrap_or_default() + 4;
        pause * eighths / 8
    }

    /// The `acquire` for these tickets has failed: some of their tasks do not try again.
    fn refuse_failed(
        &mut self,
        tickets: Tickets,
        error: CallError,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let is_hopeless = match error.kind {
            CallErrorKind::Foreign | CallErrorKind::Fatal => true,
            CallErrorKind::Login => {
                let since = self.failures.since;
                since.is_some_and(|since| now.since(since) >= LOGIN_PATIENCE)
            }
            CallErrorKind::Transient => false,
        };
        for (_, waiter) in self.waiters.within_mut(tickets) {
            waiter.failures += 1;
        }
        let refused: Vec<_> = self
            .waiters
            .within(tickets)
            .filter(|(ticket, waiter)| waiter.stage == Stage::Waiting && !self.is_known(*ticket))
            .filter(|(_, waiter)| {
                let is_over = waiter.wait_end().is_some_and(|end| end <= now);
                is_hopeless || (is_over && waiter.failures >= TRIES)
            })
            .map(|(ticket, _)| ticket)
            .collect();
        for ticket in refused {
            self.refuse(ticket, Refusal::Failed, effects);
        }
    }

    fn refuse_all(&mut self, effects: &mut Vec<Effect>) {
        let all: Vec<_> = self.waiters.iter().collect();
        let waiting = all
            .iter()
            .filter(|(_, waiter)| waiter.stage == Stage::Waiting);
        let waiting: Vec<_> = waiting.map(|(ticket, _)| *ticket).collect();
        for ticket in waiting {
            self.refuse(ticket, Refusal::Failed, effects);
        }
    }

    pub(crate) fn refuse(&mut self, ticket: Ticket, why: Refusal, effects: &mut Vec<Effect>) {
        if let Some(waiter) = self.waiters.remove(ticket) {
            let waiter = waiter.id;
            effects.push(Effect::Refuse { waiter, why });
        }
    }

    fn release_failed(
        &mut self,
        number: u64,
        error: CallError,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        const FIRST: Duration = Duration::from_millis(20);
        const LONGEST: Duration = Duration::from_millis(500);
        if self.calls.is_releasing(number) {
            return; // it was sent twice, and the other one is still under way
        }
        let Some(release) = self.calls.release(number) else {
            return;
        };
        let pause = FIRST
            .saturating_mul(1 << release.tries.min(10))
            .min(LONGEST);
        let again = now + pause;
        let is_fatal = matches!(error.kind, CallErrorKind::Foreign | CallErrorKind::Fatal);
        if let Some((waiter, limit)) = release.finishes
            && (is_fatal || again >= limit)
        {
            release.finishes = None;
            let outcome = Outcome::Failed;
            effects.push(Effect::Finish { waiter, outcome });
        }
        if is_fatal || again >= release.expires {
            let (tickets, was_held) = (release.tickets, release.was_held);
            let releases = &mut self.calls.releases;
            releases.retain(|release| release.number != number);
            effects.push(Effect::GiveUp { tickets, was_held });
        } else {
            release.state = ReleaseState::Failed { again };
        }
    }

    /// Tells the store that the grant is over. The grant is forgotten here at once; the release goes on until confirmed.
    fn release_grant(
        &mut self,
        grant: &Grant,
        keep_out_until: Option<Time>,
        finishes: Option<(WaiterId, Time)>,
        limit: Duration,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let untouched = grant.untouched.filter(|_| keep_out_until.is_none());
        let length = grant.lease.longest(now).max(WAITER_LEASE);
        let length = keep_out_until.map_or(length, |until| until.since(now).max(length));
        let release = Release {
            number: 0,
            tickets: grant.tickets(),
            keep_out_until,
            tries: 0,
            is_told_elsewhere: false,
            state: ReleaseState::InFlight,
            twice_at: None,
            was_held: true,
            expires: now + length,
            finishes,
            limit,
        };
        let number = self.calls.new_release(release);
        self.send_release(number, untouched, now, effects);
    }

    /// As [`release_range`](Self::release_range), later.
    fn release_at(&mut self, tickets: Tickets, at: Time) {
        self.calls.new_release(Release {
            state: ReleaseState::Failed { again: at },
            ..Self::range_release(tickets, at)
        });
    }

    fn range_release(tickets: Tickets, now: Time) -> Release {
        Release {
            number: 0,
            tickets,
            keep_out_until: None,
            tries: 0,
            is_told_elsewhere: false,
            state: ReleaseState::InFlight,
            twice_at: None,
            was_held: false,
            expires: now + WAITER_LEASE,
            finishes: None,
            limit: HEARTBEAT,
        }
    }

    /// Tells the store that tickets are done which nobody has a use for.
    pub(crate) fn release_range(&mut self, tickets: Tickets, now: Time, effects: &mut Vec<Effect>) {
        let release = Self::range_release(tickets, now);
        let number = self.calls.new_release(release);
        self.send_release(number, None, now, effects);
    }

    fn send_release(
        &mut self,
        number: u64,
        untouched: Option<Untouched>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let Some(release) = self.calls.release(number) else {
            return;
        };
        release.tries += 1;
        release.state = ReleaseState::InFlight;
        // The link, or the runtime that is to take in the reply, may hang: it is sent once more, over another one.
        let patience = match release.finishes {
            Some(_) => release.limit / 2,
            None => (release.limit / 2).min(IMPATIENCE),
        };
        release.twice_at = (release.tries == 1).then(|| now + patience);
        let keep_out = release.keep_out_until.map(|until| until.since(now));
        let command = Command::Release {
            tickets: release.tickets,
            keep_out: keep_out.unwrap_or_default(),
            untouched,
        };
        let within = release.limit;
        let call = self.calls.send(Kind::Release(number), now, within);
        effects.push(Effect::Call {
            call,
            command,
            within,
        });
    }

    /// The session has lost the grant. Those that held are told; those that had no turn yet queue again, in order.
    pub(crate) fn lose_grant(&mut self, why: Loss, effects: &mut Vec<Effect>) {
        if let Some(grant) = self.grant.take() {
            self.lose_turns_of(&grant, grant.tickets(), why, effects);
        }
    }

    /// Some tickets of the grant are lost.
    pub(crate) fn lose_turns(&mut self, tickets: Tickets, why: Loss, effects: &mut Vec<Effect>) {
        if let Some(grant) = self.grant.clone() {
            self.lose_turns_of(&grant, tickets, why, effects);
        }
    }

    fn lose_turns_of(
        &mut self,
        grant: &Grant,
        tickets: Tickets,
        why: Loss,
        effects: &mut Vec<Effect>,
    ) {
        let mut again = Vec::new();
        let mut held = Vec::new();
        for (ticket, waiter) in self.waiters.within(tickets) {
            match waiter.stage {
                Stage::Active(active) => {
                    // A turn that was to end with this lease.
                    let ends = active.end.filter(|(end, _)| grant.lease.reaches(*end));
                    let why = match (why, ends) {
                        (Loss::Paused | Loss::Unreachable, Some((_, ended))) => ended,
                        _ => why,
                    };
                    held.push((ticket, Some((waiter.id, why))));
                }
                Stage::Cooling { .. } => held.push((ticket, None)),
                Stage::Offered { .. } | Stage::Waiting => again.push(ticket),
            }
        }
        self.end_turns(held, effects);
        self.waiters.requeue(again);
    }

    /// The store knows the ticket, as far as is known here.
    pub(crate) fn is_known(&self, ticket: Ticket) -> bool {
        let is_granted = |grant: &Grant| grant.tickets().contains(ticket);
        let mut queued = self.queued.iter();
        self.grant.as_ref().is_some_and(is_granted)
            || queued.any(|queued| queued.tickets.contains(ticket))
    }

    /// Orders whatever follows from the state.
    fn go_on(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while let Some(call) = self.calls.overdue(now) {
            self.replied(call, Err(CallError::NO_REPLY), now, effects);
        }
        self.calls.end_doubt(now);
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

    /// Ends the turns whose time is over, and the grant if its lease is over.
    fn end_grant_in_time(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let mut over = Vec::new();
        let mut cooling = Vec::new();
        for (ticket, waiter) in self.waiters.within(grant.tickets()) {
            match waiter.stage {
                Stage::Active(active) => {
                    if let Some((end, why)) = active.end
                        && end <= now
                    {
                        let cools = waiter.terms.min_hold.map(|min| active.since + min);
                        match cools.filter(|until| *until > now) {
                            Some(until) => cooling.push((ticket, until, waiter.id, why)),
                            None => over.push((ticket, Some((waiter.id, why)))),
                        }
                    }
                }
                Stage::Cooling { until } if until <= now => over.push((ticket, None)),
                _ => {}
            }
        }
        self.end_turns(over, effects);
        for (ticket, until, waiter, why) in cooling {
            if let Some(waiter) = self.waiters.get_mut(ticket) {
                waiter.stage = Stage::Cooling { until };
            }
            effects.push(Effect::Revoke { waiter, why });
        }
        let Some(grant) = &self.grant else {
            return;
        };
        if grant.lease.is_over(now) {
            let longest = self.longest_ttl(grant.tickets());
            let why = grant.lease.loss(longest);
            let tickets = grant.tickets();
            // A renewal may have been executed although its reply was lost. Else the store's lease ends by itself.
            let may_last = grant.lease.may_have_been_renewed();
            let over = grant.lease.end() + Duration::from_millis(1);
            self.lose_grant(why, effects);
            if may_last {
                self.release_range(tickets, now, effects);
            } else {
                // Not before its time, but then: who is next has to be told.
                self.release_at(tickets, over);
            }
        }
    }

    /// These tickets are done; holders are told why.
    fn end_turns(
        &mut self,
        turns: Vec<(Ticket, Option<(WaiterId, Loss)>)>,
        effects: &mut Vec<Effect>,
    ) {
        for (ticket, revoked) in turns {
            self.waiters.remove(ticket);
            if let Some((waiter, why)) = revoked {
                effects.push(Effect::Revoke { waiter, why });
            }
        }
    }

    fn longest_ttl(&self, tickets: Tickets) -> Duration {
        let ttls = self.waiters.within(tickets).map(|(_, w)| w.terms.ttl);
        ttls.max().unwrap_or(WAITER_LEASE)
    }

    /// Tasks that are not polled lose their turn.
    fn pass_over(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let tickets = grant.tickets();
        let mut is_called = false;
        let mut is_over = false;
        for (_, waiter) in self.waiters.within_mut(tickets) {
            if let Stage::Offered { since, called } = &mut waiter.stage {
                is_called |= !*called && *since + ROLL_CALL <= now;
                *called |= is_called;
                is_over |= *since + UNPOLLED <= now;
            }
        }
        if is_called {
            for (_, waiter) in self.waiters.within_mut(tickets) {
                if waiter.stage == Stage::Waiting {
                    waiter.is_called = true;
                    effects.push(Effect::Wake { waiter: waiter.id });
                }
            }
        }
        if !is_over {
            return;
        }
        let is_absent = |waiter: &Waiter| match waiter.stage {
            Stage::Offered { since, .. } => since + UNPOLLED <= now,
            Stage::Waiting => waiter.is_called,
            Stage::Active(_) | Stage::Cooling { .. } => false,
        };
        let within = self.waiters.within(tickets);
        let absent: Vec<_> = within
            .filter(|(_, waiter)| is_absent(waiter))
            .map(|(ticket, _)| ticket)
            .collect();
        for ticket in absent {
            self.waiters.park(ticket);
        }
    }

    /// Tasks that have waited long enough.
    fn end_waits(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let mut ended = Vec::new();
        for (ticket, waiter) in self.waiters.iter() {
            if waiter.stage == Stage::Waiting
                && let Some((end, why)) = self.end_of_wait(ticket, waiter)
                && end <= now
            {
                ended.push((ticket, why));
            }
        }
        let next = self.calls.next_id();
        for (ticket, why) in ended {
            match self.waiters.get_mut(ticket) {
                // One more question: a message may have been lost, or the store be out of reach.
                Some(waiter) if why == Refusal::Contended => {
                    waiter.decides = Some(next);
                    self.asks = true;
                }
                _ => self.refuse(ticket, why, effects),
            }
        }
        let parked = self.waiters.parked();
        let ended: Vec<_> = parked
            .filter(|waiter| waiter.wait_end().is_some_and(|end| end <= now))
            .map(|waiter| waiter.id)
            .collect();
        for waiter in ended {
            self.waiters.remove_waiter(waiter);
            let why = Refusal::Contended;
            effects.push(Effect::Refuse { waiter, why });
        }
    }

    /// When a waiting task gives up, and why.
    pub(crate) fn end_of_wait(&self, ticket: Ticket, waiter: &Waiter) -> Option<(Time, Refusal)> {
        let end = waiter.wait_end()?;
        let last = end + waiter.terms.command_timeout;
        if waiter.decides.is_some() {
            return Some((last, Refusal::Failed));
        }
        if self.is_known(ticket) {
            return Some((end, Refusal::Contended));
        }
        // The reply is about to come, or the second try is about to be made.
        let is_asked = self
            .calls
            .acquiring()
            .is_some_and(|tickets| tickets.contains(ticket));
        if is_asked || waiter.failures < TRIES {
            Some((last, Refusal::Failed))
        } else {
            Some((end, Refusal::Failed))
        }
    }

    /// A try does not queue behind what this session has itself.
    fn refuse_tries(&mut self, effects: &mut Vec<Effect>) {
        let mut is_behind_writer = false;
        let mut is_behind_reader = false;
        let mut refused = Vec::new();
        for (ticket, waiter) in self.waiters.iter() {
            // What the store has not told of yet decides nothing.
            let counts = self.is_known(ticket);
            if waiter.is_try() && waiter.stage == Stage::Waiting && !counts {
                if is_behind_writer || (is_behind_reader && waiter.mode == Mode::Write) {
                    refused.push(ticket);
                }
            } else if counts {
                match waiter.mode {
                    Mode::Write => is_behind_writer = true,
                    Mode::Read => is_behind_reader = true,
                }
            }
        }
        for ticket in refused {
            self.refuse(ticket, Refusal::Contended, effects);
        }
    }

    /// Ranges that nobody is left of.
    fn give_back(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let is_deserted = |waiters: &Waiters, tickets| waiters.within(tickets).next().is_none();
        if let Some(grant) = self
            .grant
            .take_if(|grant| is_deserted(&self.waiters, grant.tickets()))
        {
            self.release_grant(&grant, None, None, HEARTBEAT, now, effects);
        }
        let waiters = &self.waiters;
        let deserted: Vec<_> = self
            .queued
            .extract_if(.., |queued| is_deserted(waiters, queued.tickets))
            .collect();
        for queued in deserted {
            self.release_range(queued.tickets, now, effects);
        }
        if let Some(doubt) = &self.calls.doubt
            && doubt.check_at <= now
            && is_deserted(&self.waiters, doubt.tickets)
        {
            let tickets = doubt.tickets;
            self.calls.look_at_doubt(now);
            self.release_range(tickets, now, effects);
        }
    }

    /// Offers the lock to the tickets whose turn it is.
    fn give_turns(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let (mode, tickets) = (grant.mode(), grant.tickets());
        if mode == Mode::Write
            && self
                .waiters
                .within(tickets)
                .any(|(_, waiter)| waiter.stage != Stage::Waiting)
        {
            return;
        }
        for (_, waiter) in self.waiters.within_mut(tickets) {
            if waiter.stage == Stage::Waiting && waiter.mode == mode {
                waiter.stage = Stage::Offered {
                    since: now,
                    called: false,
                };
                effects.push(Effect::Wake { waiter: waiter.id });
                if mode == Mode::Write {
                    break;
                }
            }
        }
    }

    fn send_releases(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let due: Vec<_> = self
            .calls
            .releases
            .iter()
            .filter(|release| match release.state {
                ReleaseState::Failed { again } => again <= now,
                ReleaseState::InFlight => release.twice_at.is_some_and(|at| at <= now),
                ReleaseState::Confirmed { .. } => false,
            })
            .map(|release| release.number)
            .collect();
        for number in due {
            self.send_release(number, None, now, effects);
        }
    }

    /// The waiting tickets that the store is not known to know, in order.
    fn wants(&self) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        let mut previous_is_wanted = false;
        for (ticket, waiter) in self.waiters.iter() {
            let is_wanted = waiter.stage == Stage::Waiting && !self.is_known(ticket);
            if is_wanted {
                let is_try = waiter.is_try();
                let count = wants.len();
                match wants.last_mut() {
                    Some(last)
                        if previous_is_wanted
                            && last.mode == waiter.mode
                            && last.is_try == is_try
                            && (waiter.mode == Mode::Read || !is_try) =>
                    {
                        last.tickets.to = ticket;
                    }
                    _ if count == MOST_WANTS => break,
                    _ => wants.push(Want {
                        mode: waiter.mode,
                        tickets: Tickets::one(ticket),
                        is_try,
                    }),
                }
            }
            previous_is_wanted = is_wanted;
        }
        wants
    }

    /// When the next `acquire` is due, if one is.
    pub(crate) fn acquire_due(&self, now: Time) -> Option<Time> {
        if self.calls.acquiring().is_some() {
            return None;
        }
        let mut waiters = self.waiters.iter();
        let is_wanted = waiters
            .any(|(ticket, waiter)| waiter.stage == Stage::Waiting && !self.is_known(ticket));
        is_wanted.then(|| self.failures.again.map_or(now, |again| again.max(now)))
    }

    /// All tickets below this one are done.
    fn done_below(&self) -> Ticket {
        let first = self.waiters.first().unwrap_or(self.waiters.next_ticket());
        match self.calls.first_kept_out() {
            // The store has to hear of `min_hold` as well.
            Some(kept_out) => first.min(kept_out),
            None => first,
        }
    }

    fn send_acquire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.acquire_due(now) != Some(now) {
            return;
        }
        let wants = self.wants();
        let (Some(first), Some(last)) = (wants.first(), wants.last()) else {
            return;
        };
        let tickets = Tickets {
            from: first.tickets.from,
            to: last.tickets.to,
        };
        let asking = self.waiters.within(tickets);
        let within = asking.map(|(_, waiter)| waiter.patience()).max();
        let within = within.unwrap_or(HEARTBEAT);
        let ttl = {
            let asking = self.waiters.within(first.tickets);
            let mut ttls = asking.map(|(_, waiter)| waiter.terms.first_ttl());
            match first.mode {
                Mode::Write => ttls.next(),
                Mode::Read => ttls.max(),
            }
        };
        let ttl = ttl.unwrap_or(WAITER_LEASE);
        for (_, waiter) in self.waiters.within_mut(tickets) {
            waiter.asked.get_or_insert(now);
        }
        let not_after = self
            .clock
            .map(|clock| clock.latest(now) + within + LATE_MARGIN);
        let done_below = self.done_below();
        self.calls.tells_done(done_below);
        self.failures.again = None;
        let kind = Kind::Acquire {
            tickets,
            not_after,
            ttl,
        };
        let call = self.calls.send(kind, now, within);
        effects.push(Effect::Call {
            call,
            command: Command::Acquire {
                wants,
                done_below,
                ttl,
                not_after,
            },
            within,
        });
    }

    /// For how long the holders want the grant. `None`: nobody holds.
    fn wanted(&self, now: Time) -> Option<Wanted> {
        let grant = self.grant.as_ref()?;
        let mut wanted = Wanted::default();
        let mut has_followers = false;
        let mut is_held = false;
        for (_, waiter) in self.waiters.within(grant.tickets()) {
            match waiter.stage {
                Stage::Active(active) => {
                    is_held = true;
                    let ttl = waiter.terms.ttl;
                    match active.end {
                        Some((end, _)) if !waiter.terms.auto_extend || end <= now + ttl => {
                            wanted.end = wanted.end.max(Some(end));
                        }
                        _ => wanted.ttl = wanted.ttl.max(Some(ttl)),
                    }
                    if let Some(min_hold) = waiter.terms.min_hold {
                        let end = active.since + min_hold;
                        wanted.end = wanted.end.max(Some(end));
                        wanted.at_once |= !grant.lease.reaches(end);
                    }
                }
                Stage::Cooling { until } => {
                    is_held = true;
                    wanted.end = wanted.end.max(Some(until));
                    wanted.at_once |= !grant.lease.reaches(until);
                }
                Stage::Offered { .. } => {
                    has_followers = true;
                    wanted.ttl = wanted.ttl.max(Some(waiter.terms.ttl));
                }
                Stage::Waiting => has_followers = true,
            }
        }
        if has_followers {
            // When the time of the last holder is up, those behind it must be there yet.
            wanted.end = wanted.end.map(|end| end + WAITER_LEASE);
        }
        is_held.then_some(wanted)
    }

    pub(crate) fn renewal_due(&self, now: Time) -> Option<Time> {
        let wanted = self.wanted(now)?;
        self.grant.as_ref()?.lease.due(&wanted, now)
    }

    fn send_renewal(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.renewal_due(now).is_none_or(|due| due > now) {
            return;
        }
        let Some(wanted) = self.wanted(now) else {
            return;
        };
        let Some(grant) = &mut self.grant else {
            return;
        };
        let tickets = grant.tickets();
        let Some((ticket, first)) = self
            .waiters
            .within(tickets)
            .find(|(_, waiter)| matches!(waiter.stage, Stage::Active(_) | Stage::Cooling { .. }))
        else {
            return;
        };
        let mut ttl = wanted.until(now).since(now);
        if now + ttl < grant.lease.end() {
            // Others may come to the grant before the shorter lease is known here.
            ttl = ttl.max(WAITER_LEASE);
        }
        let within = first.terms.command_timeout.min(ttl / 2);
        let call = self.calls.next_id();
        let epoch = grant.lease.renews(ttl, now, call, now + within);
        if epoch > 0 {
            grant.untouched = None;
        }
        self.tell_leases(effects);
        let kind = Kind::Renew { ttl };
        let call = self.calls.send(kind, now, within);
        effects.push(Effect::Call {
            call,
            command: Command::Renew { ticket, ttl, epoch },
            within,
        });
    }

    /// Tells the holders how long the lease lasts, where that has changed.
    pub(crate) fn tell_leases(&mut self, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let lease = grant.lease.until();
        for (_, waiter) in self.waiters.within_mut(grant.tickets()) {
            if let Stage::Active(active) = &mut waiter.stage {
                let until = active.end.map_or(lease, |(end, _)| end.min(lease));
                if until != active.until {
                    active.until = until;
                    let waiter = waiter.id;
                    effects.push(Effect::Extend { waiter, until });
                }
            }
        }
    }

    /// When the next heartbeat is due, if one is.
    pub(crate) fn heartbeat_due(&self, now: Time) -> Option<Time> {
        if self.calls.has_heartbeat() {
            return None;
        }
        let doubt = self.calls.doubt_due();
        let next = self.beat_at.unwrap_or(now);
        // Those behind a holder must not rely on a grant that the store has forgotten.
        let has_followers = self.grant.as_ref().is_some_and(|grant| {
            let mut within = self.waiters.within(grant.tickets());
            within.any(|(_, waiter)| waiter.stage == Stage::Waiting)
        });
        let queued = (has_followers || !self.queued.is_empty()).then_some(next);
        // A grant that nobody has taken yet is not renewed.
        let claim = self.grant.as_ref().filter(|_| self.wanted(now).is_none());
        let claim = claim.map(|grant| {
            let third = grant.lease.third();
            if grant.lease.length() < WAITER_LEASE {
                third
            } else {
                third.max(next).min(third + grant.lease.length() / 3)
            }
        });
        let asks = self
            .asks
            .then(|| self.failures.again.map_or(now, |again| again.max(now)));
        [doubt, queued, claim, asks].into_iter().flatten().min()
    }

    fn send_heartbeat(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.heartbeat_due(now).is_none_or(|due| due > now) {
            return;
        }
        self.calls.look_at_doubt(now);
        self.beat_at = Some(now + HEARTBEAT);
        self.asks = false;
        let patience = self.waiters.iter().map(|(_, waiter)| waiter.patience());
        let within = patience.max().unwrap_or(HEARTBEAT).min(LONGEST_BEAT);
        let keeps_grant = self.wanted(now).is_none();
        let done_below = self.done_below();
        self.calls.tells_done(done_below);
        let call = self.calls.send(Kind::Heartbeat, now, within);
        effects.push(Effect::Call {
            call,
            command: Command::Heartbeat {
                done_below,
                keeps_grant,
            },
            within,
        });
    }

    /// A command has succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = Failures::default();
    }
}
