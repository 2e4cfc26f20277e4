//! What follows from the state: commands to the store, and when they are due.

use std::time::Duration;

use crate::{
    core::{
        calls::{Call, Doubt, Kind, Release, ReleaseState},
        io::{CallError, CallErrorKind, Command, Effect, Outcome, Untouched, Want},
        lease::Wanted,
        lock::{
            HEARTBEAT, IMPATIENCE, LATE_MARGIN, LATEST_ARRIVAL, LONGEST_BEAT, Lock, MOST_WANTS,
            WAITER_LEASE,
        },
        waiters::Stage,
    },
    values::{
        mode::Mode,
        ticket::{Ticket, Tickets},
        time::{ServerTime, Time},
    },
};

impl Lock {
    /// Tells the store that tickets are done, again and again until the store has confirmed it.
    pub(crate) fn begin_release(
        &mut self,
        release: Release,
        untouched: Option<Untouched>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let untouched = untouched.filter(|_| release.keep_out_until.is_none());
        let number = self.calls.new_release(release);
        self.send_release(number, untouched, now, effects);
    }

    /// The same for tickets that no task has a use for. `length`: for how long the store may keep their grant or place.
    pub(crate) fn release_range(
        &mut self,
        tickets: Tickets,
        length: Duration,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        self.begin_release(Release::of(tickets, length, now), None, now, effects);
    }

    pub(crate) fn send_release(
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
        // The release is sent once more although the first try may yet be answered.
        release.may_be_done |= release.tries > 1 && release.state == ReleaseState::InFlight;
        release.state = ReleaseState::InFlight;
        // The link, or the runtime that is to take in the reply, may hang: the second try goes over another link.
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

    pub(crate) fn send_releases(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let due: Vec<_> = self
            .calls
            .releases
            .iter()
            .filter(|release| match release.state {
                ReleaseState::Waiting { until } => until <= now,
                ReleaseState::InFlight => release.twice_at.is_some_and(|at| at <= now),
                ReleaseState::Confirmed { .. } => false,
            })
            .map(|release| release.number)
            .collect();
        for number in due {
            self.send_release(number, None, now, effects);
        }
    }

    pub(crate) fn release_failed(
        &mut self,
        number: u64,
        error: CallError,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        const FIRST: Duration = Duration::from_millis(20);
        const LONGEST: Duration = Duration::from_millis(500);
        let is_under_way = self.calls.is_releasing(number);
        let Some(release) = self.calls.release(number) else {
            return;
        };
        release.may_be_done |= !error.did_nothing;
        if is_under_way || matches!(release.state, ReleaseState::Confirmed { .. }) {
            return; // the release was sent twice
        }
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
            let was_held = release.was_held;
            let releases = &mut self.calls.releases;
            releases.retain(|release| release.number != number);
            effects.push(Effect::GiveUp { was_held });
        } else {
            release.state = ReleaseState::Waiting { until: again };
        }
    }

    /// A task waits for the outcome of its release for one time limit, however often the release is sent.
    pub(crate) fn end_unlocks(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for release in &mut self.calls.releases {
            if let Some((waiter, _)) = release.finishes.take_if(|(_, limit)| *limit <= now) {
                let outcome = Outcome::Failed;
                effects.push(Effect::Finish { waiter, outcome });
            }
        }
    }

    /// Gives back grants and ranges of which all tickets are done.
    pub(crate) fn give_back(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if let Some(grant) = self
            .grant
            .take_if(|grant| self.waiters.none_within(grant.tickets()))
        {
            let release = Release::of(grant.tickets(), grant.lease.longest(now), now);
            let untouched = grant.untouched;
            self.former = Some(grant);
            self.begin_release(release, untouched, now, effects);
        }
        let waiters = &self.waiters;
        let deserted: Vec<_> = self
            .queued
            .extract_if(.., |queued| waiters.none_within(queued.tickets))
            .collect();
        for queued in deserted {
            self.release_range(queued.tickets, WAITER_LEASE, now, effects);
        }
        if let Some(doubt) = &self.calls.doubt
            && doubt.check_at <= now
            && self.waiters.none_within(doubt.tickets)
        {
            let release = Release {
                brought_by: Some(doubt.first),
                ..Release::of(doubt.tickets, doubt.ttl, now)
            };
            self.calls.look_at_doubt(now);
            self.begin_release(release, None, now, effects);
        }
    }

    /// The tickets for the next `acquire`: waiting, and not at the store as far as this session knows. In order.
    pub(crate) fn wants(&self) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        let mut previous_is_wanted = false;
        for (ticket, waiter) in self.waiters.iter() {
            let is_wanted = waiter.stage == Stage::Waiting && !self.is_at_store(ticket);
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
        // An `acquire` that overtook a release with `min_hold` would make the grant grow that the release is to end.
        if self.calls.acquiring().is_some() || self.calls.first_kept_out().is_some() {
            return None;
        }
        let mut waiters = self.waiters.iter();
        let is_wanted = waiters
            .any(|(ticket, waiter)| waiter.stage == Stage::Waiting && !self.is_at_store(ticket));
        is_wanted.then(|| self.failures.again.map_or(now, |again| again.max(now)))
    }

    /// All tickets below this one are done.
    pub(crate) fn done_below(&self) -> Ticket {
        let first = self.waiters.first().unwrap_or(self.waiters.next_ticket());
        match self.calls.first_kept_out() {
            // A release with `min_hold` tells the store itself that its tickets are done.
            Some(kept_out) => first.min(kept_out),
            None => first,
        }
    }

    pub(crate) fn send_acquire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.acquire_due(now) == Some(now) {
            self.acquire(now, effects);
        }
    }

    /// The grant is about to be released: the tasks that have asked since the `acquire` in flight was sent come before the tasks of
    /// other sessions that will ask once they have had their turns. The second `acquire` asks for the tickets of the first as well,
    /// so either may arrive first.
    pub(crate) fn send_acquire_ahead(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(asked) = self.calls.acquiring() else {
            return;
        };
        let newest = self.waiters.last();
        let is_news = newest.is_some_and(|ticket| ticket > asked.to);
        let may_ask = self.failures.again.is_none() && self.calls.first_kept_out().is_none();
        if is_news && may_ask && !self.calls.acquires_twice() {
            self.acquire(now, effects);
        }
    }

    fn acquire(&mut self, now: Time, effects: &mut Vec<Effect>) {
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

    /// For how long the holders want the grant. `None`: no task holds the lock.
    pub(crate) fn wanted(&self, now: Time) -> Option<Wanted> {
        let grant = self.grant.as_ref()?;
        let mut wanted = Wanted::default();
        let mut has_followers = false;
        let mut is_held = false;
        let mut longest = Duration::ZERO;
        for (_, waiter) in self.waiters.within(grant.tickets()) {
            match waiter.stage {
                Stage::Active(active) => {
                    is_held = true;
                    let ttl = waiter.terms.ttl;
                    longest = longest.max(ttl);
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
            // The followers keep the grant when the last holder's time is over. But a crash costs no more than a ttl.
            let most = now + longest.max(WAITER_LEASE);
            wanted.end = wanted
                .end
                .map(|end| (end + WAITER_LEASE).min(most).max(end));
        }
        is_held.then_some(wanted)
    }

    pub(crate) fn renewal_due(&self, now: Time) -> Option<Time> {
        let wanted = self.wanted(now)?;
        self.grant.as_ref()?.lease.due(&wanted, now)
    }

    pub(crate) fn send_renewal(&mut self, now: Time, effects: &mut Vec<Effect>) {
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
        let Some((_, first)) = self
            .waiters
            .within(tickets)
            .find(|(_, waiter)| matches!(waiter.stage, Stage::Active(_) | Stage::Cooling { .. }))
        else {
            return;
        };
        let mut ttl = wanted.until(now).since(now);
        if now + ttl < grant.lease.store_end() {
            // The grant may grow before the reply to this renewal comes.
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
            command: Command::Renew {
                // When the renewal is executed, a later `acquire` may have said that the first tickets are done.
                ticket: tickets.to,
                ttl,
                epoch,
            },
            within,
        });
    }

    /// Tells the holders when the lease ends, if the end has changed.
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
                    effects.push(Effect::LeaseEnds { waiter, until });
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
        // Tasks behind a holder must learn when the store has forgotten the grant.
        let has_followers = self.grant.as_ref().is_some_and(|grant| {
            let mut within = self.waiters.within(grant.tickets());
            within.any(|(_, waiter)| waiter.stage == Stage::Waiting)
        });
        let queued = (has_followers || !self.queued.is_empty()).then_some(next);
        let untaken = self.grant.as_ref().filter(|_| self.wanted(now).is_none());
        let untaken = untaken.map(|grant| grant.lease.due_untaken(next));
        let asked = self
            .must_ask
            .then(|| self.failures.again.map_or(now, |again| again.max(now)));
        [doubt, queued, untaken, asked].into_iter().flatten().min()
    }

    pub(crate) fn send_heartbeat(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.heartbeat_due(now).is_none_or(|due| due > now) {
            return;
        }
        self.calls.look_at_doubt(now);
        self.beat_at = Some(now + HEARTBEAT);
        self.must_ask = false;
        let patience = self.waiters.iter().map(|(_, waiter)| waiter.patience());
        let within = patience.max().unwrap_or(HEARTBEAT).min(LONGEST_BEAT);
        // A grant that is kept for `min_hold` alone is not to last longer.
        let keeps_grant = self.wanted(now).is_none() && self.calls.first_kept_out().is_none();
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

    /// Pauses between attempts grow, and differ from lock to lock.
    pub(crate) fn pause(&mut self, error: CallError, now: Time) {
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

    /// Notes that this `acquire` may have been executed, or be executed later.
    pub(crate) fn doubts(
        &mut self,
        call: &Call,
        tickets: Tickets,
        not_after: ServerTime,
        ttl: Duration,
    ) {
        // If the estimate of the server's time was off, the reply to the release says so, and there is one more.
        let check_at = call.limit + LATE_MARGIN + Duration::from_millis(2);
        let sent = call.sent;
        self.calls.doubt = Some(match self.calls.doubt.take() {
            None => Doubt {
                first: call.id,
                tickets,
                ttl,
                not_after,
                check_at,
                pause: HEARTBEAT,
                until: sent + LATEST_ARRIVAL,
            },
            Some(doubt) => Doubt {
                first: doubt.first,
                ttl: doubt.ttl.max(ttl),
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
}
