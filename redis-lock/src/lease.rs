//! How long a hold may be relied upon: the state of one lease, without any clock or connection of its own.
//!
//! 1. The deadline is counted from before a command was sent, so it is never later than the server's.
//! 2. It moves only when a renewal has succeeded: an error alone neither ends a lease nor prolongs it.
//! 3. Once lost, or given back, it stays so, whatever answers still come in.

use std::time::{Duration, Instant};

use crate::error::Loss;

/// What a holder was promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    pub(crate) auto_extend: bool,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) command_timeout: Duration,
}

impl Terms {
    /// The ttl to begin with.
    pub(crate) fn first_ttl(&self) -> Duration {
        self.max_hold.map_or(self.ttl, |max| max.min(self.ttl))
    }

    /// What ends a hold that Redis keeps and that is not given back.
    fn limit(&self) -> Loss {
        let is_shorter = self.max_hold.is_some_and(|max| max < self.ttl);
        if self.auto_extend || is_shorter {
            Loss::MaxHold
        } else {
            Loss::TtlEnded
        }
    }

    /// How long to wait for the answer to one command. An answer that comes after the lease's end is of
    /// no use, and on a link that hangs there must be time to try again.
    pub(crate) fn patience(&self) -> Duration {
        (self.first_ttl() / 2).min(self.command_timeout)
    }
}

#[derive(Debug)]
pub(crate) struct Lease {
    terms: Terms,
    state: State,
    deadline: Instant,
    /// No lease reaches beyond this (`max_hold`).
    end: Option<Instant>,
    renewal: Renewal,
    /// The latest renewal has failed.
    has_failed: bool,
}

/// What comes next for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    At(Instant),
    /// Since then; by [`Terms::patience`] later it has failed.
    UnderWay(Instant),
    /// The lease ends with its deadline, for this reason.
    Never(Loss),
}

/// A transient error leaves a lease `Held`: it may be renewed yet, or else ends at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    Lost(Loss),
    /// Given back.
    Over,
}

/// What is to be done about a lease now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this time.
    At(Instant),
    /// Set it to this ttl.
    Renewal(Duration),
    /// It has just been lost: tell the holder.
    Loss,
    /// Nothing any more.
    Never,
}

impl Lease {
    /// A lease of [`Terms::first_ttl`] that was asked for at `sent`.
    pub(crate) fn new(terms: Terms, sent: Instant) -> Self {
        let end = terms.max_hold.map(|max| sent + max);
        let ttl = terms.first_ttl();
        let mut lease = Lease {
            terms,
            state: State::Held,
            deadline: deadline(sent, ttl, end),
            end,
            renewal: Renewal::Never(terms.limit()),
            has_failed: false,
        };
        lease.plan(sent, ttl);
        lease
    }

    /// A lease that begins `now` with what is left of one to `ttl` that was asked for at `sent`. The first renewal makes
    /// it what was promised, also if there is to be no other.
    pub(crate) fn claimed(terms: Terms, sent: Instant, ttl: Duration, now: Instant) -> Self {
        let promised = terms.first_ttl();
        let end = if terms.auto_extend {
            terms.max_hold
        } else {
            Some(promised)
        };
        let end = end.map(|length| now + length);
        // Never more than was promised: a renewal may well shorten it.
        let deadline = deadline(sent, ttl, end).min(deadline(now, promised, end));
        Lease {
            terms,
            state: State::Held,
            deadline,
            end,
            renewal: Renewal::At((sent + ttl / 3).min(now + terms.ttl / 3)),
            has_failed: false,
        }
    }

    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.loss(now).is_some()
    }

    /// Why the lease is lost, if it is.
    pub(crate) fn loss(&self, now: Instant) -> Option<Loss> {
        match self.state {
            State::Held => self.ended(now),
            State::Lost(why) => Some(why),
            State::Over => None,
        }
    }

    /// Why the lease ended with its deadline, if that has passed. Nothing that happens after the deadline changes the
    /// reason, since the holder may have been told already.
    pub(crate) fn ended(&self, now: Instant) -> Option<Loss> {
        (now >= self.deadline).then(|| match self.renewal {
            Renewal::Never(why) => why,
            Renewal::At(_) if !self.has_failed => Loss::Paused,
            Renewal::At(at) if self.is_overdue(at) => Loss::Paused,
            Renewal::UnderWay(sent) if self.is_overdue(sent + self.terms.patience()) => {
                Loss::Paused
            }
            Renewal::At(_) | Renewal::UnderWay(_) => Loss::Unreachable,
        })
    }

    /// Whether this process stood still: what was to happen at `at`, long before the deadline, did not happen.
    fn is_overdue(&self, at: Instant) -> bool {
        const LONGEST_DELAY: Duration = Duration::from_secs(1);
        at + (self.terms.ttl / 10).min(LONGEST_DELAY) < self.deadline
    }

    /// Lost or given back: there is nothing left to renew.
    pub(crate) fn is_over(&self) -> bool {
        self.state != State::Held
    }

    pub(crate) fn valid_for(&self, now: Instant) -> Duration {
        match self.state {
            State::Held => self.deadline.saturating_duration_since(now),
            State::Lost(_) | State::Over => Duration::ZERO,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do at `now`. After `Due::Renewal` the caller owes one of [`renewed`](Self::renewed),
    /// [`failed`](Self::failed) or [`gone`](Self::gone).
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if self.state != State::Held {
            return Due::Never;
        }
        if let Some(why) = self.ended(now) {
            self.state = State::Lost(why);
            return Due::Loss;
        }
        match self.renewal {
            Renewal::At(at) if at <= now => {
                self.renewal = Renewal::UnderWay(now);
                Due::Renewal(self.ttl_from(now))
            }
            Renewal::At(at) => Due::At(at.min(self.deadline)),
            Renewal::UnderWay(_) | Renewal::Never(_) => Due::At(self.deadline),
        }
    }

    /// A renewal to `ttl` that was sent at `sent` has succeeded, which we know at `now`. Too late is lost:
    /// the holder may have seen the deadline pass.
    pub(crate) fn renewed(&mut self, sent: Instant, ttl: Duration, now: Instant) {
        if now >= self.deadline {
            return;
        }
        let deadline = deadline(sent, ttl, self.end);
        self.deadline = self.deadline.max(deadline);
        self.has_failed = false;
        self.plan(sent, ttl);
    }

    /// A renewal has failed; whether it was executed is not known.
    pub(crate) fn failed(&mut self, now: Instant) {
        const LONGEST_PAUSE: Duration = Duration::from_secs(1);
        if now >= self.deadline {
            return;
        }
        self.renewal = Renewal::At(now + (self.terms.ttl / 10).min(LONGEST_PAUSE));
        self.has_failed = true;
    }

    /// The hold is lost, whatever the deadline says. True: the holder must be told.
    pub(crate) fn gone(&mut self, why: Loss, now: Instant) -> bool {
        let news = self.state == State::Held;
        if news {
            self.state = State::Lost(self.ended(now).unwrap_or(why));
        }
        news
    }

    /// The holder gives it back. Returns why it had been lost before, if it had.
    pub(crate) fn give_back(&mut self, now: Instant) -> Option<Loss> {
        let loss = self.loss(now);
        if self.state == State::Held {
            self.state = loss.map_or(State::Over, State::Lost);
        }
        loss
    }

    fn ttl_from(&self, now: Instant) -> Duration {
        match self.end {
            Some(end) => self.terms.ttl.min(end.saturating_duration_since(now)),
            None => self.terms.ttl,
        }
    }

    /// A third of the ttl leaves time for two more tries.
    fn plan(&mut self, sent: Instant, ttl: Duration) {
        let reached_the_end = self.end.is_some_and(|end| sent + ttl >= end);
        self.renewal = if self.terms.auto_extend && !reached_the_end {
            Renewal::At(sent + self.terms.ttl / 3)
        } else {
            Renewal::Never(self.terms.limit())
        };
    }
}

/// The server's clock and ours may drift apart by a hundredth, and Redis counts in milliseconds.
pub(crate) fn deadline(sent: Instant, ttl: Duration, end: Option<Instant>) -> Instant {
    let margin = ttl / 100 + Duration::from_millis(2);
    let deadline = sent + ttl.saturating_sub(margin);
    end.map_or(deadline, |end| end.min(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        ttl: Duration::from_secs(9),
        auto_extend: true,
        max_hold: None,
        command_timeout: Duration::from_secs(1),
    };

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_renewal_is_due_after_a_third_and_moves_the_deadline() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.due(start), Due::At(start + secs(3.0)));
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(TERMS.ttl));
        let before = lease.valid_for(start);
        // While it is under way, only the deadline counts.
        assert_eq!(lease.due(start + secs(3.1)), Due::At(start + before));
        lease.renewed(start + secs(3.0), TERMS.ttl, start + secs(3.1));
        assert_eq!(lease.valid_for(start + secs(3.0)), before);
        assert_eq!(lease.due(start + secs(3.2)), Due::At(start + secs(6.0)));
    }

    #[test]
    fn the_deadline_comes_before_the_servers() {
        let start = Instant::now();
        let lease = Lease::new(TERMS, start);
        assert!(lease.valid_for(start) < TERMS.ttl);
        assert!(!lease.is_lost(start + secs(8.9)));
        assert!(lease.is_lost(start + secs(8.91)));
    }

    #[test]
    fn errors_alone_neither_end_nor_prolong_it() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        let deadline = start + lease.valid_for(start);
        let mut now = start + secs(3.0);
        while now < deadline {
            assert_eq!(lease.due(now), Due::Renewal(TERMS.ttl));
            lease.failed(now);
            assert!(!lease.is_lost(now));
            let Due::At(next) = lease.due(now) else {
                panic!("lost before the deadline");
            };
            now = next;
        }
        assert_eq!(now, deadline);
        assert_eq!(lease.due(now), Due::Loss);
        assert_eq!(lease.due(now), Due::Never, "told once");
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(TERMS.ttl));
        let now = start + secs(3.1);
        assert!(lease.gone(Loss::Forgotten, now));
        assert!(!lease.gone(Loss::Replaced, now), "told once");
        lease.renewed(start + secs(3.0), TERMS.ttl, start + secs(3.1));
        assert!(lease.is_lost(start + secs(3.1)));
        assert_eq!(lease.valid_for(start + secs(3.1)), Duration::ZERO);
        let loss = lease.give_back(start + secs(3.2));
        assert_eq!(loss, Some(Loss::Forgotten));
    }

    #[test]
    fn a_late_answer_does_not_bring_back_a_lease_that_ran_out() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(TERMS.ttl));
        assert!(lease.is_lost(start + secs(9.0)));
        lease.renewed(start + secs(8.9), TERMS.ttl, start + secs(9.0));
        assert!(lease.is_lost(start + secs(9.0)));
        assert_eq!(lease.due(start + secs(9.0)), Due::Loss);
    }

    #[test]
    fn what_is_given_back_is_not_lost() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.give_back(start + secs(1.0)), None);
        assert!(!lease.is_lost(start + secs(100.0)));
        assert_eq!(lease.due(start + secs(100.0)), Due::Never);
        assert!(!lease.gone(Loss::Forgotten, start + secs(100.0)));
    }

    #[test]
    fn without_auto_extend_it_ends_after_the_ttl() {
        let start = Instant::now();
        let terms = Terms {
            auto_extend: false,
            ..TERMS
        };
        let mut lease = Lease::new(terms, start);
        let end = start + lease.valid_for(start);
        assert_eq!(lease.due(start + secs(3.0)), Due::At(end));
        assert_eq!(lease.due(end), Due::Loss);
        assert_eq!(lease.loss(end), Some(Loss::TtlEnded));
    }

    #[test]
    fn max_hold_ends_it() {
        let start = Instant::now();
        let terms = Terms {
            max_hold: Some(secs(10.0)),
            ..TERMS
        };
        let mut lease = Lease::new(terms, start);
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(secs(7.0)));
        lease.renewed(start + secs(3.0), secs(7.0), start + secs(3.1));
        let end = start + secs(3.0) + lease.valid_for(start + secs(3.0));
        assert!(end <= start + secs(10.0));
        assert_eq!(
            lease.due(start + secs(6.0)),
            Due::At(end),
            "no more renewals"
        );
        assert_eq!(lease.due(end), Due::Loss);
        assert_eq!(lease.loss(end), Some(Loss::MaxHold));
    }

    #[test]
    fn a_lease_that_was_not_renewed_says_whose_fault_that_was() {
        let start = Instant::now();
        let end = start + secs(9.0);
        let untouched = Lease::new(TERMS, start);
        assert_eq!(untouched.loss(end), Some(Loss::Paused));

        let renewal_at = |seconds| {
            let mut lease = Lease::new(TERMS, start);
            assert_eq!(lease.due(start + secs(seconds)), Due::Renewal(TERMS.ttl));
            lease
        };
        let unanswered = renewal_at(8.0);
        assert_eq!(unanswered.loss(end), Some(Loss::Unreachable));
        // This process was to give up the answer at 5.
        let stopped = renewal_at(3.0);
        assert_eq!(stopped.loss(end), Some(Loss::Paused));

        let mut failed = renewal_at(8.0);
        failed.failed(start + secs(8.2));
        assert_eq!(failed.due(end), Due::Loss);
        assert_eq!(failed.loss(end), Some(Loss::Unreachable));
        // This process was to try again at 4.9.
        let mut stopped = renewal_at(3.0);
        stopped.failed(start + secs(4.0));
        assert_eq!(stopped.loss(end), Some(Loss::Paused));
    }

    /// The holder may have asked before the engine did.
    #[test]
    fn a_reason_that_was_told_stays_the_reason() {
        let start = Instant::now();
        let end = start + secs(9.0);
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(TERMS.ttl));
        assert_eq!(lease.loss(end), Some(Loss::Paused));
        lease.failed(end);
        assert_eq!(lease.loss(end), Some(Loss::Paused));
        lease.renewed(start + secs(3.0), TERMS.ttl, end);
        assert_eq!(lease.loss(end), Some(Loss::Paused));
        assert!(lease.gone(Loss::Forgotten, end), "the holder must be told");
        assert_eq!(lease.loss(end), Some(Loss::Paused));
        assert_eq!(lease.give_back(end), Some(Loss::Paused));
    }

    #[test]
    fn a_failure_before_the_latest_success_explains_no_loss() {
        let start = Instant::now();
        let mut lease = Lease::new(TERMS, start);
        assert_eq!(lease.due(start + secs(3.0)), Due::Renewal(TERMS.ttl));
        lease.failed(start + secs(4.0));
        lease.renewed(start + secs(5.0), TERMS.ttl, start + secs(5.1));
        assert_eq!(lease.loss(start + secs(15.0)), Some(Loss::Paused));
    }

    const CLAIM: Duration = Duration::from_secs(3);

    #[test]
    fn a_claim_ends_with_what_was_asked_for_and_is_lifted_soon() {
        let asked = Instant::now();
        let granted = asked + secs(0.5);
        let mut lease = Lease::claimed(TERMS, asked, CLAIM, granted);
        assert!(!lease.is_lost(asked + secs(2.9)));
        assert!(
            lease.is_lost(asked + secs(3.0)),
            "counted from the question"
        );
        assert_eq!(lease.due(granted), Due::At(asked + secs(1.0)));
        assert_eq!(lease.due(asked + secs(1.0)), Due::Renewal(TERMS.ttl));
        lease.renewed(asked + secs(1.0), TERMS.ttl, asked + secs(1.1));
        assert!(!lease.is_lost(asked + secs(9.8)));
    }

    #[test]
    fn a_claim_without_auto_extend_is_lifted_once_and_ends_after_the_ttl() {
        let asked = Instant::now();
        let granted = asked + secs(0.5);
        let terms = Terms {
            auto_extend: false,
            ..TERMS
        };
        let mut lease = Lease::claimed(terms, asked, CLAIM, granted);
        let Due::Renewal(ttl) = lease.due(asked + secs(1.0)) else {
            panic!("a claim is not what was promised")
        };
        assert_eq!(ttl, secs(8.5));
        lease.renewed(asked + secs(1.0), ttl, asked + secs(1.1));
        assert!(matches!(lease.due(asked + secs(5.0)), Due::At(end) if end > asked + secs(9.0)));
        assert_eq!(lease.loss(granted + TERMS.ttl), Some(Loss::TtlEnded));
    }

    #[test]
    fn a_claim_is_no_more_than_was_promised() {
        let asked = Instant::now();
        let terms = Terms {
            ttl: secs(0.3),
            ..TERMS
        };
        let mut lease = Lease::claimed(terms, asked, CLAIM, asked);
        assert!(lease.is_lost(asked + secs(0.3)));
        assert_eq!(lease.due(asked), Due::At(asked + secs(0.1)));
    }

    #[test]
    fn a_max_hold_below_the_ttl_shortens_the_lease() {
        let terms = Terms {
            max_hold: Some(secs(1.0)),
            ..TERMS
        };
        assert_eq!(terms.first_ttl(), secs(1.0));
        let start = Instant::now();
        let mut lease = Lease::new(terms, start);
        assert!(lease.is_lost(start + secs(1.0)));
        assert!(matches!(lease.due(start), Due::At(at) if at <= start + secs(1.0)));
    }
}
