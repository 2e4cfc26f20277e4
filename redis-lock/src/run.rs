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
    token: u64,
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
            token: first.token,
            claim: first.claim,
        }
    }

    /// More of it, or of the same one that were heard of later: they hold in the order of their tokens. Returns those whose
    /// turn is past; they are given back with the others.
    pub(crate) fn append(&mut self, members: Vec<Member>) -> Vec<Id> {
        self.ids.extend(members.iter().map(|member| member.id));
        let (late, more): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|member| member.token < self.token);
        self.members.extend(more);
        let members = self.members.make_contiguous();
        members.sort_by_key(|member| member.token);
        late.into_iter().map(|member| member.id).collect()
    }

    /// Who is next. It [holds](Self::let_hold), or leaves.
    pub(crate) fn next(&mut self) -> Option<Member> {
        self.members.pop_front()
    }

    pub(crate) fn let_hold(&mut self, member: &Member) {
        self.holder = member.id;
        self.token = member.token;
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
        let now = Instant::now();
        for member in &mut self.members {
            // One that is over was not there any more to be renewed.
            let concerns = member.since <= behind.sent && !member.claim.is_over(now);
            if concerns && member.claim.deadline() < behind.deadline() {
                member.claim = behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn run() -> (Run, [Id; 3], Instant) {
        let ids = ["a", "b", "c"].map(|id| Id::parse(id).unwrap());
        let sent = Instant::now();
        let claim = Claim::new(sent, LEASE);
        let members = ids.iter().zip(7..);
        let members = members.map(|(id, token)| Member::new(*id, token, claim));
        (Run::new(members.collect()), ids, sent)
    }

    #[test]
    fn they_hold_in_order_and_are_all_given_back() {
        let (mut run, ids, _) = run();
        for (id, token) in ids.into_iter().zip(7..) {
            let next = run.next().unwrap();
            assert_eq!((next.id, next.token), (id, token));
            run.let_hold(&next);
            assert_eq!(run.holder(), id);
        }
        assert!(run.next().is_none());
        assert_eq!(*run.ids(), ids);
    }

    #[test]
    fn a_renewal_is_for_the_holder_and_those_who_were_behind_it() {
        let (mut run, [a, b, c], sent) = run();
        let first = run.next().unwrap();
        run.let_hold(&first);
        let renewed = Instant::now();
        let late = Member::new(Id::parse("d").unwrap(), 10, Claim::new(sent, LEASE));
        assert!(run.append(vec![late]).is_empty());
        let longer = |seconds| Claim::new(renewed, Duration::from_secs(seconds));
        run.renewed(a, longer(10), longer(13));
        assert!(!run.is_lost(renewed + Duration::from_secs(9)));
        assert!(run.is_lost(renewed + Duration::from_secs(10)));
        for id in [b, c] {
            assert_eq!(run.member(id).unwrap().claim, longer(13));
        }
        assert_eq!(run.member(late.id).unwrap().claim, Claim::new(sent, LEASE));
        // One with less takes nothing away, and one that comes late is not the next holder's.
        run.renewed(a, longer(1), longer(4));
        let second = run.next().unwrap();
        assert_eq!(second.claim, longer(13));
        run.let_hold(&second);
        run.renewed(a, longer(20), longer(23));
        assert!(run.is_lost(renewed + Duration::from_secs(13)));
        assert_eq!(run.member(c).unwrap().claim, longer(23));
    }

    #[test]
    fn a_claim_that_is_over_is_not_renewed() {
        let (_, [a, b, _], _) = run();
        let now = Instant::now();
        let over = Claim::new(now.checked_sub(LEASE).unwrap(), LEASE);
        let members = [(a, Claim::new(now, LEASE)), (b, over)];
        let members = members.map(|(id, claim)| Member::new(id, 7, claim));
        let mut run = Run::new(members.into());
        let first = run.next().unwrap();
        run.let_hold(&first);
        let sent = Instant::now();
        run.renewed(a, Claim::new(sent, LEASE), Claim::new(sent, 2 * LEASE));
        assert_eq!(run.member(b).unwrap().claim, over);
    }

    #[test]
    fn whoever_leaves_is_not_next_but_given_back() {
        let (mut run, [a, b, c], _) = run();
        run.leaves(b);
        assert_eq!(run.next().unwrap().id, a);
        assert_eq!(run.behind(), [c]);
        assert!(run.has(b));
    }
}
