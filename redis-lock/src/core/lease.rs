//! The lease of a grant: until when the session may rely on it, and when to renew it.
//!
//! 1. A lease is counted from the moment before its command was sent, so the session's end is never later than the store's end.
//! 2. Only a reply moves the end further away. A renewal that may shorten the lease moves the end closer when it is sent.

use std::time::Duration;

use crate::{
    core::{calls::Call, io::CallId, lock::WAITER_LEASE},
    values::{loss::Loss, time::Time},
};

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The lease began at this time or later, and lasts for `length`.
    sent: Time,
    length: Duration,
    /// Until when the session relies on the lease: a margin before the store's end.
    until: Time,
    /// The number of the next call when this end became known. Only the reply to that call or to a later call may bring the
    /// end closer. [`Grant::learnt`](super::grant::Grant::learnt) is about the tickets, which may become known earlier or later.
    end_learnt: CallId,
    /// The epoch of the latest renewal that was sent or seen.
    epoch: u64,
    /// The length that the latest command with a lease asked for: a renewal of `epoch`, or the `acquire` that made the grant.
    /// `None`: not known.
    asked_ttl: Option<Duration>,
    /// When the first renewal of that epoch was sent.
    renewed_at: Time,
    /// The end before the latest renewal that was to bring the end closer. It holds if the store does not execute that renewal.
    end_before: Time,
    renewal: Renewal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    None,
    UnderWay {
        call: CallId,
        limit: Time,
    },
    /// The latest renewal has failed; the next one is due at `again`.
    Failed {
        again: Time,
    },
}

/// For how long the grant is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The longest ttl of the holders without a fixed end, and of the tasks that are offered the lock.
    pub(crate) ttl: Option<Duration>,
    /// The latest of the fixed ends of the other holders.
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
    /// `length`: what was left of the lease when a command that was sent at `sent` was executed.
    pub(crate) fn new(sent: Time, length: Duration, epoch: u64, end_learnt: CallId) -> Self {
        Lease {
            sent,
            length,
            until: reliable_until(sent, length),
            end_learnt,
            epoch,
            asked_ttl: None,
            renewed_at: sent,
            end_before: sent,
            renewal: Renewal::None,
        }
    }

    /// The epoch of the latest renewal that was sent.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Until when the session may rely on the lease.
    pub(crate) fn until(&self) -> Time {
        self.until
    }

    /// Whether the store keeps the lease until `end`.
    pub(crate) fn reaches(&self, end: Time) -> bool {
        self.sent + self.length + SLACK >= end
    }

    /// When the lease in the store ends, at the earliest. Without the margin of [`until`](Self::until).
    pub(crate) fn store_end(&self) -> Time {
        self.sent + self.length
    }

    /// For how long the store may keep the lease, at the most: a renewal without a reply may have been executed or not.
    pub(crate) fn longest(&self, now: Time) -> Duration {
        self.store_end()
            .max(self.end_before)
            .since(now)
            .max(self.asked_ttl.unwrap_or_default())
    }

    /// When the next heartbeat must keep a lease that no task has taken, and so no task renews. `planned`: the next heartbeat
    /// anyway, which will do if it comes in the second third of the lease.
    pub(crate) fn due_untaken(&self, planned: Time) -> Time {
        let third = self.third();
        if self.length < WAITER_LEASE {
            third
        } else {
            planned.clamp(third, third + self.length / 3)
        }
    }

    /// When a third of the lease is over.
    pub(crate) fn third(&self) -> Time {
        self.sent + self.length / 3
    }

    /// The grant was made with this ttl. A renewal to the same ttl then changes the end of the lease and nothing else.
    pub(crate) fn was_made_with(&mut self, ttl: Duration) {
        self.asked_ttl = Some(ttl);
    }

    pub(crate) fn is_over(&self, now: Time) -> bool {
        now >= self.until
    }

    /// The reply to `call` says that `left` was left when the command was executed, between `call.sent` and now.
    pub(crate) fn told(
        &mut self,
        call: &Call,
        left: Duration,
        epoch: u64,
        next: CallId,
        now: Time,
    ) {
        // A lease that has ended stays ended, since its holder may have seen the end.
        if self.is_over(now) {
            return;
        }
        if call.id >= self.end_learnt && now + left < self.until {
            // The store has forgotten the known lease, and has made a shorter one.
            self.sent = call.sent;
            self.length = left;
            self.until = reliable_until(call.sent, left);
            return;
        }
        // A renewal of a later epoch may have cut the lease that this reply shows. If the reply's epoch is the later one, then its
        // lease is the later one, too.
        let is_longer = call.sent + left > self.store_end() + SLACK;
        if epoch > self.epoch || (epoch == self.epoch && is_longer) {
            self.epoch = epoch;
            self.sent = call.sent;
            self.length = left;
            self.until = reliable_until(call.sent, left);
            self.end_learnt = next;
        } else if epoch + 1 == self.epoch
            && let Some(ttl) = self.asked_ttl
        {
            // The one renewal that this reply does not show keeps the lease for its ttl at least, whenever it is executed.
            let length = (call.sent + left)
                .min(self.renewed_at + ttl)
                .since(call.sent);
            if call.sent + length > self.store_end() + SLACK {
                self.sent = call.sent;
                self.length = length;
                self.until = reliable_until(call.sent, length);
                self.end_learnt = next;
            }
        }
    }

    /// The grant has grown by tickets that were in the queue: the store keeps it at least for as long as they had.
    pub(crate) fn lasts_for(&mut self, claim: &Lease) {
        if claim.until > self.until {
            self.sent = claim.sent;
            self.length = claim.length;
            self.until = claim.until;
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
        // An earlier holder with a longer ttl has left this lease. It is cut: if this process dies, other sessions wait for the
        // ttl of the present holders.
        if left > wanted_left.max(WAITER_LEASE) + SLACK {
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
        if self.asked_ttl != Some(ttl) || now + ttl + SLACK < self.store_end() {
            self.epoch += 1;
            self.asked_ttl = Some(ttl);
            self.renewed_at = now;
            if reliable_until(now, ttl) < self.until {
                self.end_before = self.end_before.max(self.store_end());
                self.sent = now;
                self.length = ttl;
                self.until = reliable_until(now, ttl);
            }
        }
        self.epoch
    }

    /// The renewal `call` was answered; then the lease had the epoch `seen`. If `call` renewed an earlier grant, nothing changes.
    pub(crate) fn renewed(&mut self, call: CallId, seen: u64, now: Time) {
        const PAUSE: Duration = Duration::from_millis(10);
        if self.is_under_way(call) {
            // A lower epoch: the grant has grown, and the ticket that the renewal named was done by then.
            self.renewal = if seen < self.epoch {
                Renewal::Failed { again: now + PAUSE }
            } else {
                Renewal::None
            };
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

    /// A renewal is under way or has failed, so it may have been executed.
    pub(crate) fn may_have_been_renewed(&self) -> bool {
        self.renewal != Renewal::None
    }

    /// Why the lease has ended. This process stood still (`Paused`) if its next step was due long before the end and was not done:
    /// to send a renewal, to give one up, or to try again. Else the store was out of reach (`Unreachable`).
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

/// Smaller differences between leases are not worth a command.
const SLACK: Duration = Duration::from_millis(5);

/// This process's clock and the store's may drift apart by a hundredth, and the store counts in milliseconds.
fn margin(length: Duration) -> Duration {
    length / 100 + Duration::from_millis(2)
}

/// Until when a session may rely on a lease of this length: the length less a margin.
pub(crate) fn reliable_until(sent: Time, length: Duration) -> Time {
    sent + length.saturating_sub(margin(length))
}
