//! A run: writers of one process that were let in together, and hold one after another on one lease.
//!
//! Redis lets them in together since they stand behind one another in its queue (see `book.lua`), so whoever is behind
//! them waits for no more than its place in the queue says. All of them are holders there, each with a token of its own,
//! until the last has had its turn and all are given back at once.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{lease::deadline, owner::Id};

/// A lease as Redis knows it: that long from when it was asked for, or a little later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) sent: Instant,
    pub(crate) ttl: Duration,
}

impl Claim {
    pub(crate) fn new(sent: Instant, ttl: Duration) -> Self {
        Claim { sent, ttl }
    }
}

#[derive(Debug)]
pub(crate) struct Run {
    /// Who has not had its turn, with its token.
    members: VecDeque<(Id, u64)>,
    /// Everybody whom Redis has let in.
    ids: Vec<Id>,
    holder: Id,
    claim: Claim,
    /// A renewal may yet be executed, and might set the lease to what its holder then was promised.
    in_doubt: bool,
}

impl Run {
    /// Nobody of it holds yet.
    pub(crate) fn new(members: Vec<(Id, u64)>, claim: Claim) -> Self {
        let ids: Vec<_> = members.iter().map(|(id, _)| *id).collect();
        Run {
            holder: ids[0],
            ids,
            members: members.into(),
            claim,
            in_doubt: false,
        }
    }

    /// More have been let in, behind these.
    pub(crate) fn append(&mut self, members: Vec<(Id, u64)>) {
        for (id, token) in members {
            if !self.ids.contains(&id) {
                self.ids.push(id);
                self.members.push_back((id, token));
            }
        }
    }

    /// Who is next; it holds from now on.
    pub(crate) fn next(&mut self) -> Option<(Id, u64)> {
        let next = self.members.pop_front()?;
        self.holder = next.0;
        Some(next)
    }

    pub(crate) fn holder(&self) -> Id {
        self.holder
    }

    pub(crate) fn claim(&self) -> Claim {
        self.claim
    }

    /// Those behind the holder.
    pub(crate) fn behind(&self) -> Vec<Id> {
        self.members.iter().map(|(id, _)| *id).collect()
    }

    pub(crate) fn ids(&self) -> Arc<[Id]> {
        self.ids.as_slice().into()
    }

    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        now >= deadline(self.claim.sent, self.claim.ttl, None)
    }

    /// Its members may have been promised different leases, so one that was not answered ends it.
    pub(crate) fn can_be_passed_on(&self, now: Instant) -> bool {
        !self.is_lost(now) && !self.in_doubt
    }

    pub(crate) fn renewed(&mut self, claim: Option<Claim>) {
        match claim {
            Some(claim) => self.claim = claim,
            None => self.in_doubt = true,
        }
    }
}
