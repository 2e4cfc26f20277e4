//! The lease of a grant: until when the session may rely on it, and when to renew it.
//!
//! 1. The end is counted from before a command was sent, so it is never later than the store's.
//! 2. Only a reply moves the end further away. A renewal that may shorten the lease moves it closer at once.

use std::time::Duration;

use crate::{
    core::{calls::Call, io::CallId},
    values::{loss::Loss, time::Time},
};

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The lease began no earlier than this, and lasts for `length`.
    sent: Time,
    length: Duration,
    until: Time,
    /// Calls with a lower number were sent before the lease, as it is now, was known.
    learnt: CallId,
    /// That of the latest renewal that was sent.
    epoch: u64,
    /// What the renewals of that epoch set; `None` before the first renewal.
    ttl: Option<Duration>,
    renewal: Renewal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    None,
    UnderWay {
        call: CallId,
        limit: Time,
    },
    /// The latest renewal has failed; the next one is due then.
    Failed {
        again: Time,
    },
}

/// For how long the grant is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The longest ttl of the holders that hold on.
    pub(crate) ttl: Option<Duration>,
    /// When the last of the other holders ends.
    pub(crate) end: Option<Time>,
    /// The lease must reach as far as `end` without delay.
    pub(crate) at_once: bool,
}

impl Wanted {
    /// How far the lease should reach.
    pub(crate) fn until(&self, now: Time) -> Time {
        let moving = self.ttl.map_or(now, |ttl| now + ttl);
        self.end.map_or(moving, |end| end.max(moving))
    }
}

impl Lease {
    /// A lease of which `length` was left when a command was executed that was sent at `sent`.
    pub(crate) fn new(sent: Time, length: Duration, epoch: u64, learnt: CallId) -> Self {
        Lease {
            sent,
            length,
            until: end(sent, length),
            learnt,
            epoch,
            ttl: None,
            renewal: Renewal::None,
        }
    }

    pub(crate) fn until(&self) -> Time {
        self.until
    }

    /// The store keeps the lease for as long as that.
    pub(crate) fn reaches(&self, end: Time) -> bool {
        self.sent + self.length + SLACK >= end
    }

    /// Where the store's lease ends at the earliest.
    pub(crate) fn end(&self) -> Time {
        self.sent + self.length
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// For how long the store may keep the lease: a renewal may have been executed without a reply.
    pub(crate) fn longest(&self, now: Time) -> Duration {
        self.end().since(now).max(self.ttl.unwrap_or_default())
    }

    /// When a third of the lease is over.
    pub(crate) fn third(&self) -> Time {
        self.sent + self.length / 3
    }

    /// The grant was made with this ttl, so a renewal to the same ttl changes nothing but the lease's end.
    pub(crate) fn was_asked_for(&mut self, ttl: Duration) {
        self.ttl = Some(ttl);
    }

    pub(crate) fn is_over(&self, now: Time) -> bool {
        now >= self.until
    }

    /// A reply to a command says that this much was left when the command was executed, between `call.sent` and now.
    pub(crate) fn told(
        &mut self,
        call: &Call,
        left: Duration,
        epoch: u64,
        next: CallId,
        now: Time,
    ) {
        // A lease that has ended here stays so, since its holder may have seen it end.
        if self.is_over(now) {
            return;
        }
        if call.id >= self.learnt && now + left < self.until {
            // The store has forgotten the lease that was known, and has made another one.
            self.sent = call.sent;
            self.length = left;
            self.until = end(call.sent, left);
            return;
        }
        // A renewal of a later epoch may have cut what this reply speaks of.
        if epoch >= self.epoch && call.sent + left > self.end() + SLACK {
            self.epoch = epoch;
            self.sent = call.sent;
            self.length = left;
            self.until = end(call.sent, left);
            self.learnt = next;
        }
    }

    /// When the next renewal is due, if one is.
    pub(crate) fn due(&self, wanted: &Wanted, now: Time) -> Option<Time> {
        match self.renewal {
            Renewal::UnderWay { .. } => return None,
            Renewal::Failed { again } => return Some(again),
            Renewal::None => {}
        }
        let left = self.until.since(now);
        let wanted_left = wanted.until(now).since(now);
        // A crash costs others the lease of those who hold, not of those who did.
        if left > wanted_left.max(super::lock::WAITER_LEASE) + SLACK {
            return Some(now);
        }
        let moving = wanted.ttl.map(|ttl| {
            if self.length > ttl {
                self.until - ttl * 2 / 3
            } else {
                self.third()
            }
        });
        let end = wanted.end.filter(|end| !self.reaches(*end));
        let fixed = end.map(|_| if wanted.at_once { now } else { self.third() });
        [moving, fixed].into_iter().flatten().min()
    }

    /// A renewal to `ttl` is sent now. Returns its epoch.
    pub(crate) fn renews(&mut self, ttl: Duration, now: Time, call: CallId, limit: Time) -> u64 {
        self.renewal = Renewal::UnderWay { call, limit };
        if self.ttl != Some(ttl) || now + ttl + SLACK < self.end() {
            self.epoch += 1;
            self.ttl = Some(ttl);
            if end(now, ttl) < self.until {
                self.sent = now;
                self.length = ttl;
                self.until = end(now, ttl);
            }
        }
        self.epoch
    }

    /// That renewal was answered. It may have been one of an earlier grant.
    pub(crate) fn renewed(&mut self, call: CallId) {
        if self.is_under_way(call) {
            self.renewal = Renewal::None;
        }
    }

    fn is_under_way(&self, of: CallId) -> bool {
        matches!(self.renewal, Renewal::UnderWay { call, .. } if call == of)
    }

    pub(crate) fn renewal_failed(&mut self, call: CallId, ttl: Duration, now: Time) {
        const LONGEST_PAUSE: Duration = Duration::from_secs(1);
        if !self.is_under_way(call) {
            return;
        }
        let again = now + (ttl / 10).min(LONGEST_PAUSE);
        self.renewal = Renewal::Failed { again };
    }

    /// A renewal is under way, or has failed: it may have been executed.
    pub(crate) fn may_have_been_renewed(&self) -> bool {
        self.renewal != Renewal::None
    }

    /// Why the lease has ended without being renewed: this process stood still if what was to happen long before the end
    /// did not happen.
    pub(crate) fn loss(&self, ttl: Duration) -> Loss {
        const LONGEST_DELAY: Duration = Duration::from_secs(1);
        let delay = (ttl / 10).min(LONGEST_DELAY);
        match self.renewal {
            Renewal::None => Loss::Paused,
            Renewal::UnderWay { limit: at, .. } | Renewal::Failed { again: at } => {
                if at + delay < self.until {
                    Loss::Paused
                } else {
                    Loss::Unreachable
                }
            }
        }
    }
}

/// Below this, differences of leases are not worth a command.
const SLACK: Duration = Duration::from_millis(5);

/// The two clocks may drift apart by a hundredth, and the store counts in milliseconds.
fn margin(length: Duration) -> Duration {
    length / 100 + Duration::from_millis(2)
}

/// Until when a lease of this length may be relied upon.
pub(crate) fn end(sent: Time, length: Duration) -> Time {
    sent + length.saturating_sub(margin(length))
}
