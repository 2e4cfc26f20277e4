//! What a reply or a push changes.
//!
//! 1. A view may add facts at any time. A view takes away only facts that were known before its call was sent: what has become
//!    known since may have happened after the view.
//! 2. A push only adds.
//! 3. The furthest state of a ticket counts: a granted ticket is not queued any more, a ticket that is done is neither.

use std::time::Duration;

use crate::{
    core::{
        calls::{Call, Kind, Release, ReleaseState},
        grant::{Grant, Queued},
        io::{CallId, Effect, GrantView, Granted, Outcome, Refusal, Untouched, View},
        lease::Lease,
        lock::{Estimate, HEARTBEAT, Lock, WAITER_LEASE},
        waiters::Stage,
    },
    values::{
        loss::Loss,
        mode::Mode,
        ticket::{Ticket, Tickets},
        time::Time,
    },
};

/// The token of a push may be ahead of the estimate of the server's clock by this much.
const TOKEN_SLACK: Duration = Duration::from_secs(1);

impl Lock {
    pub(crate) fn answered(
        &mut self,
        call: &Call,
        view: &View,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(server) = view.now {
            self.clock = Some(Estimate {
                server,
                sent: call.sent,
            });
            if let Some(doubt) = &mut self.calls.doubt {
                // This reply may tell more exactly than an earlier one when the not-after has passed.
                let passed = now + doubt.not_after.since(server) + Duration::from_millis(2);
                doubt.check_at = doubt.check_at.min(passed);
            }
        }
        if view.is_late {
            self.lates += 1;
            // The first is sent again at once, since the server's time is known now; the next ones after a pause.
            if self.lates > 1 {
                let pause = self.spread_out(Duration::from_millis(50));
                self.failures.again = Some(now + pause);
            }
            return;
        }
        self.lates = 0;
        if !matches!(call.kind, Kind::Release(_)) {
            self.succeeded();
        }
        self.see_grant(call, view, now, effects);
        self.see_queue(call, view, now, effects);
        match call.kind {
            Kind::Acquire { tickets, ttl, .. } => {
                self.notes_untouched(call, view, ttl);
                self.acquired(tickets, effects);
                if let Some(early) = self.early.take() {
                    self.pushed(early, now, effects);
                }
            }
            Kind::Renew { .. } => {
                if let Some(grant) = &mut self.grant {
                    let seen = view.grant.map_or(0, |seen| seen.epoch);
                    grant.lease.renewed(call.id, seen, now);
                }
            }
            Kind::Release(number) => self.released(number, view, effects),
            Kind::Heartbeat => {}
        }
        if let Some(server) = view.now {
            // From now on the store refuses the `acquire`s in doubt, and this view has shown what they may have done before.
            self.calls.doubt.take_if(|doubt| server > doubt.not_after);
        }
        self.plan_heartbeat(view, call, now);
    }

    fn see_grant(&mut self, call: &Call, view: &View, now: Time, effects: &mut Vec<Effect>) {
        match (&view.grant, &self.grant) {
            (Some(seen), Some(grant)) => {
                let is_older = grant.granted.is_after(&seen.granted);
                if is_older && call.id < grant.learnt {
                    return;
                }
                let is_same = seen.granted.tickets.overlaps(grant.tickets())
                    && seen.granted.mode == grant.mode();
                if is_same && !is_older {
                    return self.see_grant_again(seen, call, now, effects);
                }
                // The store grants anew only when the old grant is over.
                self.lose_grant(Loss::Forgotten, effects);
                self.see_new_grant(seen, call, now, effects);
            }
            (Some(seen), None) => self.see_new_grant(seen, call, now, effects),
            (None, Some(grant)) if grant.learnt <= call.id => {
                self.lose_grant(Loss::Forgotten, effects);
            }
            (None, _) => {}
        }
    }

    /// The reply shows the session's grant, which may have grown or have a new lease.
    fn see_grant_again(
        &mut self,
        seen: &GrantView,
        call: &Call,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let granted = seen.granted;
        let next = self.calls.next_id();
        let Some(grant) = &mut self.grant else {
            return;
        };
        let before = grant.granted;
        let tickets = Tickets {
            from: granted.tickets.from.max(before.tickets.from),
            to: granted.tickets.to.max(before.tickets.to),
        };
        if granted.is_after(&before) {
            grant.learnt = next;
            grant.untouched = None;
        }
        grant.granted = Granted {
            mode: granted.mode,
            tickets,
            token: granted.origin() + tickets.from.0,
        };
        grant.lease.told(call, seen.left, seen.epoch, next, now);
        if let Some(to) = tickets.from.before()
            && before.tickets.from <= to
        {
            // The grant does not have its first tickets any more.
            let from = before.tickets.from;
            let lease = grant.lease.clone();
            self.lose_turns(Tickets { from, to }, &lease, Loss::Forgotten, effects);
        }
        self.leave_queue(granted.mode, tickets);
        self.tell_leases(effects);
    }

    /// The reply shows a grant that the session does not know: the tasks take it, or it is given back.
    fn see_new_grant(
        &mut self,
        seen: &GrantView,
        call: &Call,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let tickets = seen.granted.tickets;
        let next = self.calls.next_id();
        // A renewal of the former grant that this view does not show may have cut the lease since, or be under way.
        let cut = self.former.as_ref().filter(|former| {
            former.tickets().overlaps(tickets) && former.lease.epoch() > seen.epoch
        });
        let lease = match cut {
            Some(former) => former.lease.clone(),
            None => Lease::new(call.sent, seen.left, seen.epoch, next),
        };
        if self.waiters.none_within(tickets) {
            self.release_unless_covered(tickets, seen.left, call, now, effects);
        } else if lease.is_over(now) {
            // The reply came too late to be of use.
            self.requeue_within(tickets);
            self.release_unless_covered(tickets, seen.left, call, now, effects);
        } else {
            self.begin_grant(seen.granted, lease);
        }
    }

    fn begin_grant(&mut self, granted: Granted, lease: Lease) {
        self.grant = Some(Grant {
            granted,
            lease,
            learnt: self.calls.next_id(),
            untouched: None,
        });
        self.leave_queue(granted.mode, granted.tickets);
    }

    /// The grant has these tickets: their ranges leave the queue.
    fn leave_queue(&mut self, mode: Mode, tickets: Tickets) {
        let mut passed = Vec::new();
        self.queued.retain(|queued| {
            if queued.tickets.to < tickets.from {
                passed.push(queued.tickets);
            }
            queued.tickets.from > tickets.to
        });
        // The store serves a session's tickets in order, so it has forgotten the ranges before the grant.
        for tickets in passed {
            self.requeue_within(tickets);
        }
        // The store has also forgotten the tickets of the other mode within the grant.
        let within = self.waiters.within(tickets);
        let forgotten: Vec<_> = within
            .filter(|(_, waiter)| waiter.mode != mode)
            .map(|(ticket, _)| ticket)
            .collect();
        self.waiters.requeue(forgotten);
    }

    /// Notes the state of a lock that was free. Unless another session asks, the store keeps exactly this state.
    fn notes_untouched(&mut self, call: &Call, view: &View, ttl: Duration) {
        if let (Some(grant), Some(seen)) = (&mut self.grant, &view.grant)
            && grant.learnt > call.id
            && grant.lease.epoch() == 0
            && seen.left == ttl
            && seen.granted == grant.granted
            && view.queued.is_empty()
            && view.others_left.is_zero()
        {
            let granted = seen.granted;
            grant.lease.was_made_with(ttl);
            grant.untouched = Some(Untouched { granted, ttl });
        }
    }

    fn see_queue(&mut self, call: &Call, view: &View, now: Time, effects: &mut Vec<Effect>) {
        let next = self.calls.next_id();
        let granted_to = self.grant.as_ref().map(|grant| grant.tickets().to);
        // Ranges that were known before the call was sent are as the view says. Ranges that have become known since stay.
        let known: Vec<_> = self
            .queued
            .extract_if(.., |queued| queued.learnt <= call.id)
            .map(|queued| queued.tickets)
            .collect();
        for &(mode, Tickets { from, to }) in &view.queued {
            // By now a push or another reply may have shown that the first tickets were granted.
            let from = granted_to.map_or(from, |granted| from.max(granted.next()));
            let tickets = Tickets { from, to };
            if from > to {
                continue;
            }
            if self.waiters.none_within(tickets) {
                self.release_unless_covered(tickets, WAITER_LEASE, call, now, effects);
            } else {
                self.see_range(mode, tickets, next);
            }
        }
        self.part_ranges();
        // All commands but `release` make the waiter lease a full one.
        if !view.queued.is_empty() && !matches!(call.kind, Kind::Release(_)) {
            self.alive_since = Some(self.alive_since.map_or(call.sent, |at| at.max(call.sent)));
        }
        self.requeue_forgotten(known, granted_to);
    }

    /// A view shows this range in the queue.
    fn see_range(&mut self, mode: Mode, tickets: Tickets, learnt: CallId) {
        let mut newer = self.queued.iter_mut();
        match newer.find(|queued| queued.tickets.overlaps(tickets)) {
            Some(queued) => {
                let from = queued.tickets.from.max(tickets.from);
                let to = queued.tickets.to.max(tickets.to);
                if to > queued.tickets.to {
                    queued.learnt = learnt;
                }
                queued.tickets = Tickets { from, to };
            }
            None => self.queued.push(Queued {
                mode,
                tickets,
                learnt,
            }),
        }
    }

    /// Sorts the queued ranges, and cuts a range where the next range begins: an older view may show two ranges as one.
    fn part_ranges(&mut self) {
        self.queued.sort_by_key(|queued| queued.tickets.from);
        for place in 1..self.queued.len() {
            let next = self.queued[place].tickets.from;
            let before = &mut self.queued[place - 1].tickets;
            if let Some(last) = next.before() {
                before.to = before.to.min(last);
            }
        }
    }

    /// Gives new tickets to the waiters that the store has forgotten. `known`: the ranges before the view. `granted_to`: the
    /// last ticket of the grant.
    fn requeue_forgotten(&mut self, known: Vec<Tickets>, granted_to: Option<Ticket>) {
        let shown: Vec<_> = self.queued.iter().map(|queued| queued.tickets).collect();
        let mut forgotten = Vec::new();
        for (ticket, waiter) in known
            .into_iter()
            .chain(shown)
            .flat_map(|tickets| self.waiters.within(tickets))
        {
            let mut queued = self.queued.iter();
            let is_queued =
                queued.any(|queued| queued.mode == waiter.mode && queued.tickets.contains(ticket));
            let is_granted = granted_to.is_some_and(|to| ticket <= to);
            if !is_queued && !is_granted && waiter.stage == Stage::Waiting {
                forgotten.push(ticket);
            }
        }
        forgotten.sort_unstable();
        self.waiters.requeue(forgotten);
    }

    fn requeue_within(&mut self, tickets: Tickets) {
        let within = self.waiters.within(tickets);
        let waiting: Vec<Ticket> = within
            .filter(|(_, waiter)| matches!(waiter.stage, Stage::Waiting | Stage::Offered { .. }))
            .map(|(ticket, _)| ticket)
            .collect();
        self.waiters.requeue(waiting);
    }

    /// An `acquire` for these tickets was answered.
    fn acquired(&mut self, tickets: Tickets, effects: &mut Vec<Effect>) {
        let mut refused = Vec::new();
        let mut again = Vec::new();
        for (ticket, waiter) in self.waiters.within(tickets) {
            if waiter.stage != Stage::Waiting || self.is_at_store(ticket) {
                continue;
            }
            if waiter.is_try() {
                refused.push(ticket);
            } else {
                again.push(ticket);
            }
        }
        for ticket in refused {
            self.refuse(ticket, Refusal::Contended, effects);
        }
        self.waiters.requeue(again);
    }

    fn released(&mut self, number: u64, view: &View, effects: &mut Vec<Effect>) {
        let at = self.calls.next_id();
        let Some(release) = self.calls.release(number) else {
            return;
        };
        release.state = ReleaseState::Confirmed { at };
        release.twice_at = None;
        if let Some((waiter, _)) = release.finishes.take() {
            // If the store finds nothing after a try that failed, that try was executed.
            let outcome = if view.found || release.may_be_done {
                Outcome::Released
            } else {
                Outcome::Lost
            };
            effects.push(Effect::Finish { waiter, outcome });
        }
    }

    fn release_unless_covered(
        &mut self,
        tickets: Tickets,
        length: Duration,
        call: &Call,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        // A release may be executed before an `acquire` that was sent earlier. The `acquire` then has brought the tickets to the
        // store once more.
        let asked = match call.kind {
            Kind::Acquire { tickets, .. } => Some(tickets),
            _ => None,
        };
        let in_doubt = self.calls.doubt.as_ref().map(|doubt| doubt.tickets);
        let mut brought = asked.into_iter().chain(in_doubt);
        if brought.any(|brought| brought.overlaps(tickets))
            || !self.calls.releases_cover(tickets, Some(call.id))
        {
            let release = Release {
                brought_by: Some(call.id),
                ..Release::of(tickets, length, now)
            };
            self.begin_release(release, None, now, effects);
        }
    }

    /// A push says that these tickets were granted.
    pub(crate) fn pushed(&mut self, granted: Granted, now: Time, effects: &mut Vec<Effect>) {
        let is_known = self
            .grant
            .as_ref()
            .is_some_and(|grant| !granted.is_after(&grant.granted));
        if is_known || self.calls.releases_cover(granted.tickets, None) {
            return; // known, or over
        }
        let is_queued = self
            .queued
            .iter()
            .any(|queued| queued.mode == granted.mode && granted.tickets.covers(queued.tickets));
        // The push may come before the reply to the `acquire`, or the reply be lost.
        let asking = self.waiters.within(granted.tickets).next();
        let asking = asking.filter(|(_, waiter)| waiter.mode == granted.mode);
        let is_asked = self
            .calls
            .acquiring()
            .is_some_and(|tickets| tickets.covers(granted.tickets));
        let since = if is_queued {
            self.alive_since
        } else {
            // The waiter lease began when the `acquire` was executed.
            asking
                .filter(|_| is_asked)
                .and_then(|(_, waiter)| waiter.asked)
        };
        let is_free = self.grant.as_ref().is_none_or(|grant| {
            grant.mode() == Mode::Read && granted.tickets.from <= grant.tickets().to
        });
        let is_possible =
            granted.tickets.to < self.next_ticket() && self.can_be(granted.token, now);
        match since {
            Some(since) if is_free && is_possible => {
                let claim = Lease::new(since, WAITER_LEASE, 0, self.calls.next_id());
                if claim.is_over(now) {
                    self.must_ask = true;
                } else if let Some(grant) = &mut self.grant {
                    // More readers join the readers that hold.
                    let from = grant.tickets().from;
                    let to = granted.tickets.to.max(grant.tickets().to);
                    grant.granted = Granted {
                        tickets: Tickets { from, to },
                        token: granted.origin() + from.0,
                        ..granted
                    };
                    grant.lease.lasts_for(&claim);
                    grant.learnt = self.calls.next_id();
                    grant.untouched = None;
                    let tickets = grant.tickets();
                    self.leave_queue(granted.mode, tickets);
                    self.tell_leases(effects);
                } else {
                    self.begin_grant(granted, claim);
                }
            }
            _ if self.calls.acquiring().is_some() => self.early = Some(granted),
            // The reply to a heartbeat shows whether the push was true.
            _ => self.must_ask = true,
        }
    }

    /// Whether the server can have made this token since its latest reply. Every client that may publish on the channel can
    /// send a push.
    fn can_be(&self, token: u64, now: Time) -> bool {
        self.clock.is_some_and(|clock| {
            let latest = clock.server + now.since(clock.sent) + TOKEN_SLACK;
            (clock.server.0..=latest.0).contains(&token)
        })
    }

    fn plan_heartbeat(&mut self, view: &View, call: &Call, now: Time) {
        // A heartbeat does what the command has left over, also for a session that has nothing itself.
        self.must_ask |= view.more;
        if self.queued.is_empty() && self.grant.is_none() {
            self.beat_at = None;
            return;
        }
        let first = self.queued.first().map(|queued| queued.tickets);
        let requested = first.and_then(|tickets| {
            let mut waiters = self.waiters.within(tickets);
            waiters.next().map(|(_, waiter)| waiter.requested)
        });
        let waited = requested.map_or(Duration::ZERO, |requested| now.since(requested));
        let is_mine = view.grant.is_some();
        let pause = call.sent + self.pause_between_heartbeats(view.place, is_mine, waited);
        let pause = if view.place == 0 && view.grant.is_none() && !self.queued.is_empty() {
            // No push says that a holder has died: ask when the leases of the others end.
            pause.min(now + view.others_left + Duration::from_millis(2))
        } else {
            pause
        };
        let next = pause.max(now);
        // Never later than planned: this reply may be older than the plan.
        let before = self.beat_at;
        self.beat_at = Some(before.map_or(next, |before| before.min(next)));
    }

    /// Without pushes the load on the store falls with the time waited and with the place in the queue.
    fn pause_between_heartbeats(
        &mut self,
        place: u64,
        is_mine: bool,
        waited: Duration,
    ) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(2);
        const LONGEST: Duration = Duration::from_millis(100);
        // Where the session itself holds the lock, the reply to its release will tell when its queued range is next.
        if self.queued.is_empty() || is_mine || self.listening {
            HEARTBEAT
        } else {
            let of_the_head = (waited / 20).clamp(SHORTEST, LONGEST);
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let pause = of_the_head.saturating_mul(place.saturating_add(1)) * 3 / 2;
            self.spread_out(pause.min(HEARTBEAT))
        }
    }
}
