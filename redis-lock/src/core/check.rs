//! The invariants that one session can check by itself, with the numbers that [`super`] gives them.

use crate::{
    core::{grant::Grant, lock::Lock, waiters::Stage},
    values::{mode::Mode, ticket::Ticket},
};

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// 1.
    ActiveTogether,
    /// 1.
    ActiveWithoutGrant(Ticket),
    /// 2.
    RangesOverlap,
    /// 2.
    OutOfOrder,
    /// 4.
    BeyondTheLease(Ticket),
}

impl Lock {
    pub(crate) fn check(&self) -> Result<(), Violation> {
        let mut writers = 0;
        let mut readers = 0;
        for (ticket, waiter) in self.waiters.iter() {
            if waiter.stage == Stage::Waiting {
                continue;
            }
            let Some(grant) = &self.grant else {
                return Err(Violation::ActiveWithoutGrant(ticket));
            };
            if !grant.tickets().contains(ticket) || grant.mode() != waiter.mode {
                return Err(Violation::ActiveWithoutGrant(ticket));
            }
            match waiter.mode {
                Mode::Write => writers += 1,
                Mode::Read => readers += 1,
            }
            if let Stage::Active(active) = waiter.stage
                && active.until > grant.lease.until()
            {
                return Err(Violation::BeyondTheLease(ticket));
            }
        }
        if writers > 1 || (writers == 1 && readers > 0) {
            return Err(Violation::ActiveTogether);
        }
        let grant = self.grant.iter().map(Grant::tickets);
        let ranges: Vec<_> = grant
            .chain(self.queued.iter().map(|queued| queued.tickets))
            .collect();
        for pair in ranges.windows(2) {
            if pair[0].overlaps(pair[1]) {
                return Err(Violation::RangesOverlap);
            }
            if pair[0].from > pair[1].from {
                return Err(Violation::OutOfOrder);
            }
        }
        Ok(())
    }
}
