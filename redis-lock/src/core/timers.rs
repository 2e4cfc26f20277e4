//! When the core wants to be told [`TimeReached`](super::io::Input::TimeReached).

use std::fmt;

use crate::{
    core::{
        calls::ReleaseState,
        lock::{Lock, ROLL_CALL, UNPOLLED},
        waiters::Stage,
    },
    values::time::Time,
};

/// Why the core wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A call has taken too long.
    CallLimit,
    /// The lease, or the time of a holder, ends.
    LeaseEnd,
    /// A task does not wait any longer.
    WaitEnd,
    /// A task has not been polled since its turn came.
    Unpolled,
    Renewal,
    Heartbeat,
    /// A command that failed is sent again.
    Retry,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Lock {
    /// The next time to call [`handle`](Lock::handle) with [`TimeReached`](super::io::Input::TimeReached). Changes with each
    /// input. A call that comes early does no harm.
    pub(crate) fn next_timeout(&self, now: Time) -> Option<(Time, Timer)> {
        if self.is_idle() {
            return None;
        }
        let mut next: Option<(Time, Timer)> = None;
        let mut at = |time: Option<Time>, timer| {
            if let Some(time) = time
                && next.is_none_or(|(earliest, _)| time < earliest)
            {
                next = Some((time, timer));
            }
        };
        at(self.calls.limit(), Timer::CallLimit);
        for release in &self.calls.releases {
            at(release.finishes.map(|(_, limit)| limit), Timer::CallLimit);
            match release.state {
                ReleaseState::Waiting { until } => at(Some(until), Timer::Retry),
                ReleaseState::InFlight => at(release.twice_at, Timer::Retry),
                ReleaseState::Confirmed { .. } => {}
            }
        }
        at(self.acquire_due(now), Timer::Retry);
        at(self.renewal_due(now), Timer::Renewal);
        at(self.heartbeat_due(now), Timer::Heartbeat);
        if let Some(grant) = &self.grant {
            at(Some(grant.lease.until()), Timer::LeaseEnd);
        }
        for (ticket, waiter) in self.waiters.iter() {
            match waiter.stage {
                Stage::Waiting => {
                    let end = self.end_of_wait(ticket, waiter);
                    at(end.map(|(end, _)| end), Timer::WaitEnd);
                }
                Stage::Offered {
                    since,
                    has_called_roll,
                    ..
                } => {
                    let limit = if has_called_roll { UNPOLLED } else { ROLL_CALL };
                    at(Some(since + limit), Timer::Unpolled);
                }
                Stage::Active(active) => at(active.end.map(|(end, _)| end), Timer::LeaseEnd),
                Stage::Cooling { until } => at(Some(until), Timer::LeaseEnd),
            }
        }
        for waiter in self.waiters.parked() {
            at(waiter.wait_end(), Timer::WaitEnd);
        }
        next
    }
}
