//! How long a hold may be relied upon: the state of one lease, without any clock or connection of its own.
//!
//! 1. The deadline is counted from before a command was sent, so it is never later than the server's.
//! 2. It moves only when a renewal has succeeded: an error alone neither ends a lease nor prolongs it.
//! 3. Once lost, or given back, it stays so, whatever answers still come in.

use std::time::{Duration, Instant};

/// What a holder was promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    pub(crate) auto_extend: bool,
    pub(crate) max_hold: Option<Duration>,
}

impl Terms {
    /// The ttl to begin with.
    pub(crate) fn first_ttl(&self) -> Duration {
        self.max_hold.map_or(self.ttl, |max| max.min(self.ttl))
    }

    /// How long to wait for the answer to one command. An answer that comes after the lease's end is of
    /// no use, and on a link that hangs there must be time to try again.
    pub(crate) fn patience(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(2);
        (self.first_ttl() / 2).min(LONGEST)
    }
}

#[derive(Debug)]
pub(crate) struct Lease {
    terms: Terms,
    state: State,
    deadline: Instant,
    /// No lease reaches beyond this (`max_hold`).
    end: Option<Instant>,
    /// When to renew next; `None` while a renewal is under way or when none is due any more.
    renew_at: Option<Instant>,
}

/// A transient error leaves a lease `Held`: it may be renewed yet, or else ends at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    Lost,
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
            renew_at: None,
        };
        lease.plan(sent, ttl);
        lease
    }

    /// A lease that begins `now` with what is left of one to `ttl` that was asked for at `sent`. The first renewal makes
    /// it what was promised, also if there is to be no other.
    pub(crate) fn claimed(mut terms: Terms, sent: Instant, ttl: Duration, now: Instant) -> Self {
        let promised = terms.first_ttl();
        if !terms.auto_extend {
            (terms.auto_extend, terms.max_hold) = (true, Some(promised));
        }
        let end = terms.max_hold.map(|max| now + max);
        // Never more than was promised: a renewal may well shorten it.
        let deadline = deadline(sent, ttl, end).min(deadline(now, promised, end));
        Lease {
            terms,
            state: State::Held,
            deadline,
            end,
            renew_at: Some((sent + ttl / 3).min(now + terms.ttl / 3)),
        }
    }

    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        match self.state {
            State::Held => now >= self.deadline,
            State::Lost => true,
            State::Over => false,
        }
    }

    /// Lost or given back: there is nothing left to renew.
    pub(crate) fn is_over(&self) -> bool {
        self.state != State::Held
    }

    pub(crate) fn valid_for(&self, now: Instant) -> Duration {
        match self.state {
            State::Held => self.deadline.saturating_duration_since(now),
            State::Lost | State::Over => Duration::ZERO,
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
        if now >= self.deadline {
            self.state = State::Lost;
            return Due::Loss;
        }
        match self.renew_at {
            Some(at) if at <= now => {
                self.renew_at = None;
                Due::Renewal(self.ttl_from(now))
            }
            Some(at) => Due::At(at.min(self.deadline)),
            None => Due::At(self.deadline),
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
        self.plan(sent, ttl);
    }

    /// A renewal has failed; whether it was executed is not known.
    pub(crate) fn failed(&mut self, now: Instant) {
        const LONGEST_PAUSE: Duration = Duration::from_secs(1);
        self.renew_at = Some(now + (self.terms.ttl / 10).min(LONGEST_PAUSE));
    }

    /// Redis says that the hold is gone. True: the holder must be told.
    pub(crate) fn gone(&mut self) -> bool {
        let news = self.state == State::Held;
        if news {
            self.state = State::Lost;
        }
        news
    }

    /// The holder gives it back. True: it was still good.
    pub(crate) fn give_back(&mut self, now: Instant) -> bool {
        let good = !self.is_lost(now) && self.state == State::Held;
        if self.state == State::Held {
            self.state = if good { State::Over } else { State::Lost };
        }
        good
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
        self.renew_at =
            (self.terms.auto_extend && !reached_the_end).then(|| sent + self.terms.ttl / 3);
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
        assert!(lease.gone());
        assert!(!lease.gone(), "told once");
        lease.renewed(start + secs(3.0), TERMS.ttl, start + secs(3.1));
        assert!(lease.is_lost(start + secs(3.1)));
        assert_eq!(lease.valid_for(start + secs(3.1)), Duration::ZERO);
        assert!(!lease.give_back(start + secs(3.2)));
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
        assert!(lease.give_back(start + secs(1.0)));
        assert!(!lease.is_lost(start + secs(100.0)));
        assert_eq!(lease.due(start + secs(100.0)), Due::Never);
        assert!(!lease.gone());
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
        assert!(lease.is_lost(granted + TERMS.ttl));
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
