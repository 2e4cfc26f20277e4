//! Which tasks have a turn, and when the time of a waiter or of a holder is over.

use std::time::Duration;

use crate::{
    core::{
        calls::{Release, ReleaseState},
        io::{CallError, CallErrorKind, CallId, Effect, Refusal},
        lease::Lease,
        lock::{LOGIN_PATIENCE, Lock, ROLL_CALL, TRIES, UNPOLLED, WAITER_LEASE},
        waiters::{Active, Stage, Waiter},
    },
    values::{
        loss::Loss,
        mode::Mode,
        ticket::{Ticket, Tickets},
        time::Time,
    },
};

impl Lock {
    /// Ends turns that have reached their end, and the grant if the lease has ended.
    pub(crate) fn end_grant_in_time(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let mut over = Vec::new();
        for (ticket, waiter) in self.waiters.within(grant.tickets()) {
            match waiter.stage {
                Stage::Active(Active {
                    end: Some((end, why)),
                    ..
                }) if end <= now => over.push((ticket, Some((waiter.id, why)))),
                Stage::Cooling { until } if until <= now => over.push((ticket, None)),
                _ => {}
            }
        }
        for (ticket, revoked) in over {
            if let Some((waiter, why)) = revoked {
                effects.push(Effect::Revoke { waiter, why });
            }
            self.end_turn(ticket, now);
        }
        let Some(grant) = &self.grant else {
            return;
        };
        if grant.lease.is_over(now) {
            let longest = self.longest_ttl(grant.tickets());
            let why = grant.lease.loss(longest);
            let tickets = grant.tickets();
            // A renewal may have been executed although its reply was lost. If there was none, the store's lease ends by itself.
            let may_last = grant.lease.may_have_been_renewed();
            let over = grant.lease.store_end() + Duration::from_millis(1);
            let within = self.waiters.within(tickets);
            let cooling = within.filter_map(|(_, waiter)| match waiter.stage {
                Stage::Cooling { until } => Some(until),
                _ => waiter.cools_until(now),
            });
            let release = Release {
                keep_out_until: cooling.max(),
                ..Release::of(tickets, grant.lease.longest(now), now)
            };
            self.lose_grant(why, effects);
            if may_last {
                self.begin_release(release, None, now, effects);
            } else {
                // Sent once the store's lease is over, so that the store lets in the next session.
                self.calls.new_release(Release {
                    state: ReleaseState::Waiting { until: over },
                    ..release
                });
            }
        }
    }

    /// The ticket is done, or cools until `min_hold` is over.
    pub(crate) fn end_turn(&mut self, ticket: Ticket, now: Time) {
        let Some(waiter) = self.waiters.get_mut(ticket) else {
            return;
        };
        match waiter.cools_until(now) {
            Some(until) => waiter.stage = Stage::Cooling { until },
            None => drop(self.waiters.remove(ticket)),
        }
    }

    pub(crate) fn longest_ttl(&self, tickets: Tickets) -> Duration {
        let ttls = self.waiters.within(tickets).map(|(_, w)| w.terms.ttl);
        ttls.max().unwrap_or(WAITER_LEASE)
    }

    /// Parks the tasks that were offered the lock and are not polled.
    pub(crate) fn pass_over(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(grant) = &self.grant else {
            return;
        };
        let tickets = grant.tickets();
        let mut calls_roll = false;
        let mut is_over = false;
        for (_, waiter) in self.waiters.within_mut(tickets) {
            if let Stage::Offered {
                since,
                has_called_roll,
                ..
            } = &mut waiter.stage
            {
                calls_roll |= !*has_called_roll && *since + ROLL_CALL <= now;
                *has_called_roll |= calls_roll;
                is_over |= *since + UNPOLLED <= now;
            }
        }
        if calls_roll {
            for (_, waiter) in self.waiters.within_mut(tickets) {
                if waiter.stage == Stage::Waiting {
                    waiter.in_roll_call = true;
                    effects.push(Effect::Wake { waiter: waiter.id });
                }
            }
        }
        if !is_over {
            return;
        }
        let is_absent = |waiter: &Waiter| match waiter.stage {
            Stage::Offered { since, .. } => since + UNPOLLED <= now,
            Stage::Waiting => waiter.in_roll_call,
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

    /// Ends the waits whose time is over.
    pub(crate) fn end_waits(&mut self, now: Time, effects: &mut Vec<Effect>) {
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
                // The store is asked once more: a push may have been lost, or the store be out of reach.
                Some(waiter) if why == Refusal::Contended => {
                    waiter.decides = Some(next);
                    self.must_ask = true;
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
        if self.is_at_store(ticket) {
            return Some((end, Refusal::Contended));
        }
        // A reply is under way, or another try is about to be made.
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

    /// Refuses the tries that would queue behind tickets of this session.
    pub(crate) fn refuse_tries(&mut self, effects: &mut Vec<Effect>) {
        let mut is_behind_writer = false;
        let mut is_behind_reader = false;
        let mut refused = Vec::new();
        for (ticket, waiter) in self.waiters.iter() {
            // A ticket counts once the store has shown it.
            let counts = self.is_at_store(ticket);
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

    /// Offers the lock to the next writer of the grant, or to all readers of the grant.
    pub(crate) fn give_turns(&mut self, now: Time, effects: &mut Vec<Effect>) {
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
        for (ticket, waiter) in self.waiters.within_mut(tickets) {
            if waiter.stage == Stage::Waiting && waiter.mode == mode {
                waiter.stage = Stage::Offered {
                    since: now,
                    token: grant.token(ticket),
                    has_called_roll: false,
                };
                effects.push(Effect::Wake { waiter: waiter.id });
                if mode == Mode::Write {
                    break;
                }
            }
        }
    }

    /// The session has lost the grant.
    pub(crate) fn lose_grant(&mut self, why: Loss, effects: &mut Vec<Effect>) {
        if let Some(grant) = self.grant.take() {
            self.lose_turns(grant.tickets(), &grant.lease, why, effects);
            self.former = Some(grant);
        }
    }

    /// These tickets of a grant with this lease are lost. Holders are told; tasks that had no turn yet queue again, in order.
    pub(crate) fn lose_turns(
        &mut self,
        tickets: Tickets,
        lease: &Lease,
        why: Loss,
        effects: &mut Vec<Effect>,
    ) {
        let mut again = Vec::new();
        let mut held = Vec::new();
        for (ticket, waiter) in self.waiters.within(tickets) {
            match waiter.stage {
                Stage::Active(active) => {
                    // If the turn was to end within this lease, that is why it ends.
                    let ends = active.end.filter(|(end, _)| lease.reaches(*end));
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
        for (ticket, revoked) in held {
            self.waiters.remove(ticket);
            if let Some((waiter, why)) = revoked {
                effects.push(Effect::Revoke { waiter, why });
            }
        }
        self.waiters.requeue(again);
    }

    /// Refuses the tasks whose time was over and that have waited for this reply. `why`: what the reply says.
    pub(crate) fn decide(&mut self, call: CallId, why: Refusal, effects: &mut Vec<Effect>) {
        let decided: Vec<_> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.decides.is_some_and(|decides| decides <= call))
            // While another question is under way, a failed question decides nothing.
            .filter(|(_, waiter)| {
                why == Refusal::Contended || !self.calls.asks_since(waiter.decides)
            })
            .map(|(ticket, _)| ticket)
            .collect();
        for ticket in decided {
            // By now the ticket may be next.
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

    pub(crate) fn refuse(&mut self, ticket: Ticket, why: Refusal, effects: &mut Vec<Effect>) {
        if let Some(waiter) = self.waiters.remove(ticket) {
            let waiter = waiter.id;
            effects.push(Effect::Refuse { waiter, why });
        }
    }

    pub(crate) fn refuse_all(&mut self, effects: &mut Vec<Effect>) {
        let all: Vec<_> = self.waiters.iter().collect();
        let waiting = all
            .iter()
            .filter(|(_, waiter)| waiter.stage == Stage::Waiting);
        let waiting: Vec<_> = waiting.map(|(ticket, _)| *ticket).collect();
        for ticket in waiting {
            self.refuse(ticket, Refusal::Failed, effects);
        }
    }

    /// The `acquire` for these tickets has failed. Refuses the tasks for which no further try is made.
    pub(crate) fn refuse_failed(
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
            .filter(|(ticket, waiter)| waiter.stage == Stage::Waiting && !self.is_at_store(*ticket))
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
}
