//! A run: writers of one process that were let in together, and hold one after another.
//!
//! Redis lets them in together since they stand behind one another in its queue (see `book.lua`), so whoever is behind
//! them waits for no more than its place in the queue says. All of them are holders there, each with a token of its own,
//! until the last has had its turn and all are given back at once.
//!
//! The lease of the holder is renewed together with those behind it, and theirs are only ever prolonged by that, whatever
//! each of them was promised: so a renewal that is still under way takes nothing from whoever holds next.

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

    pub(crate) fn is_over(self, now: Instant) -> bool {
        now >= self.deadline()
    }

    fn deadline(self) -> Instant {
        deadline(self.sent, self.ttl, None)
    }
}

/// One that has not had its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) token: u64,
    pub(crate) claim: Claim,
    /// When we heard of it: earlier renewals did not concern it.
    since: Instant,
}

impl Member {
    pub(crate) fn new(id: Id, token: u64, claim: Claim) -> Self {
        Member {
            id,
            token,
            claim,
            since: Instant::now(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Run {
    members: VecDeque<Member>,
    /// Everybody whom Redis has let in, and who is to be given back in the end.
    ids: Vec<Id>,
    holder: Id,
    /// The holder's.
    claim: Claim,
}

impl Run {
    /// Nobody of it holds yet. There is at least one.
    pub(crate) fn new(members: Vec<Member>) -> Self {
        let first = members[0];
        Run {
            ids: members.iter().map(|member| member.id).collect(),
            members: members.into(),
            holder: first.id,
            claim: first.claim,
        }
    }

    /// More of it.
    pub(crate) fn append(&mut self, members: Vec<Member>) {
        self.ids.extend(members.iter().map(|member| member.id));
        self.members.extend(members);
    }

    /// Who is next. It [holds](Self::let_hold), or leaves.
    pub(crate) fn next(&mut self) -> Option<Member> {
        self.members.pop_front()
    }

    pub(crate) fn let_hold(&mut self, member: &Member) {
        self.holder = member.id;
        self.claim = member.claim;
    }

    pub(crate) fn member(&self, id: Id) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// It does not follow any more. It is given back with the others.
    pub(crate) fn leaves(&mut self, id: Id) {
        self.members.retain(|member| member.id != id);
    }

    pub(crate) fn has(&self, id: Id) -> bool {
        self.ids.contains(&id)
    }

    pub(crate) fn holder(&self) -> Id {
        self.holder
    }

    /// Those behind the holder.
    pub(crate) fn behind(&self) -> Vec<Id> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub(crate) fn ids(&self) -> Arc<[Id]> {
        self.ids.as_slice().into()
    }

    /// Whether its holder has lost the lock.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.claim.is_over(now)
    }

    /// `id` has a new lease, and all that were behind it then have another one at the least.
    pub(crate) fn renewed(&mut self, id: Id, claim: Claim, behind: Claim) {
        if id == self.holder {
            self.claim = claim;
        }
        for member in &mut self.members {
            if member.since <= behind.sent && member.claim.deadline() < behind.deadline() {
                member.claim = behind;
            }
        }
    }
}
