//! Those who wait here: for each lock a line, in their order of arrival, and whose turn it is in a run.
//!
//! Redis decides who is let in; this is what one runtime knows of it. There is no clock and no connection in here.
//!
//! 1. A grant may come in twice, late, or for somebody who has left: whoever is not waiting under that id, or was by an
//!    answer that is younger than the grant, gets nothing.
//! 2. Of one lock, one run goes on at a time, and one of it holds at a time: all of it are holders in Redis, so only this
//!    keeps them apart.
//! 3. What is left of a run that is lost goes back into the line, each under a new id: what was or will be sent for the
//!    old ones does not concern them.
//! 4. Nobody is called from in here: see [`After`].

use std::{
    collections::{BTreeMap, HashMap},
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use once_cell::sync::Lazy;
use redis::RedisError;

use crate::{
    front::Front,
    key::Names,
    mode::Mode,
    owner::{Id, Owner},
    run::{Claim, Member, Run},
    script::{Beat, Waiting},
};

/// How long a waiter that has died keeps its place. Short, since it blocks those behind it; long enough
/// for a heartbeat that is not answered and another one.
pub(crate) const WAITER_LEASE: Duration = Duration::from_secs(3);
/// How often those who wait are asked for at the least.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often a waiter shows that it is polled.
const TICK: Duration = Duration::from_millis(100);
/// Who has not been polled for this long is not asked for any more, and so loses its place.
const UNPOLLED: Duration = Duration::from_secs(1);
/// One call does not do more for those who wait.
const BATCH: usize = 100;

static LINES: Lazy<Mutex<Lines>> = Lazy::new(Mutex::default);

pub(crate) fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    places: HashMap<Id, Place>,
    /// By front (its address), since Redis makes runs of those with one channel, and the lock's names.
    of_fronts: HashMap<usize, HashMap<Names, Line>>,
    /// Of the next who joins a line.
    ticket: u64,
}

/// Somebody who wants a lock.
#[derive(Debug)]
struct Place {
    owner: Arc<Owner>,
    ticket: u64,
    state: State,
    /// When it was last polled.
    seen: Instant,
    /// When the first question was sent that has had no answer yet.
    sent: Option<Instant>,
    /// When the last question was sent that has been answered.
    asked: Option<Instant>,
    /// No grant up to this token was in force any more when Redis gave that answer.
    as_of: u64,
    /// A reply has told that Redis knows this id: no later heartbeat may create it again.
    is_known: bool,
    /// Until when a question that was not answered may yet be executed.
    doubt: Option<Instant>,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum State {
    /// It asks for itself, for the first time.
    Apart,
    /// In line.
    Waits,
    /// In line, and asked for just now.
    Asked,
    /// It has left while it was asked for.
    Left,
    /// In a run, behind others.
    Follows,
    /// It holds the lock, and has not noticed yet.
    Turn(Turn),
    Failed(RedisError),
    /// It goes on under another id.
    Moved(Id),
}

/// What somebody gets whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) token: u64,
    pub(crate) claim: Claim,
    pub(crate) in_run: bool,
}

/// One lock's.
#[derive(Debug)]
struct Line {
    waiting: BTreeMap<u64, Id>,
    since: Instant,
    /// Somebody is asking for it.
    asking: bool,
    /// When to ask for everybody in it.
    next: Instant,
    /// When that has begun, if some of them are still to be asked for.
    round: Option<Instant>,
    run: Option<Run>,
}

/// What is to be done once the lines are not locked any more.
#[derive(Debug, Default)]
#[must_use = "somebody waits for it"]
pub(crate) struct After {
    pub(crate) wake: Vec<Waker>,
    /// To be given up in Redis, with the ids of its run.
    pub(crate) retire: Vec<(Arc<Owner>, Arc<[Id]>)>,
    /// To be given up, and again while a late question may be executed.
    pub(crate) withdraw: Vec<(Arc<Owner>, Option<Instant>)>,
}

/// How it stands for somebody who waits.
#[derive(Debug)]
pub(crate) enum News {
    Turn(Turn, Arc<Owner>, Option<Instant>),
    Failed(RedisError),
    /// Look again at that time. `ask`: and somebody must ask for the line, which is you.
    Wait {
        until: Instant,
        ask: Option<Arc<Owner>>,
    },
}

/// What somebody leaves who does not want to wait any longer.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Nothing, or what it must see to itself.
    Gone {
        owner: Arc<Owner>,
        asked: bool,
        doubt: Option<Instant>,
    },
    Turn(Turn, Arc<Owner>, Option<Instant>),
    Failed(RedisError),
    /// An answer is about to come; it has not left.
    NotNow,
}

/// What becomes of a lock that the holder of a run gives up.
#[derive(Debug)]
pub(crate) enum Passed {
    /// Somebody else here has it.
    On,
    /// It goes back to Redis, with these ids of its run.
    Back(Arc<[Id]>),
}

impl Lines {
    /// Somebody begins. True: others wait for that lock already, and it has joined them; else it asks for itself.
    pub(crate) fn enter(&mut self, owner: &Arc<Owner>, now: Instant) -> bool {
        self.ticket += 1;
        let place = Place {
            owner: Arc::clone(owner),
            ticket: self.ticket,
            state: State::Apart,
            seen: now,
            sent: None,
            asked: None,
            as_of: 0,
            is_known: false,
            doubt: None,
            waker: None,
        };
        self.places.insert(owner.id, place);
        // Somebody waits, or a run goes on: it would have to wait as well.
        let joins = !self.of_fronts.is_empty() && self.line(owner).is_some();
        if joins {
            self.join(owner.id, now + HEARTBEAT);
        }
        joins
    }

    /// It asks for itself, in vain or not.
    pub(crate) fn asks(&mut self, id: Id, sent: Instant) {
        if let Some(place) = self.places.get_mut(&id) {
            place.sent.get_or_insert(sent);
        }
    }

    /// Its own question, sent at `asked` if it had that effect, has brought it into the queue; `next`: when to ask again.
    pub(crate) fn queued(
        &mut self,
        id: &mut Id,
        asked: Option<Instant>,
        next: Instant,
        doubt: Option<Instant>,
        after: &mut After,
    ) {
        let Some(place) = self.places.get_mut(id) else {
            return;
        };
        place.doubt = place.doubt.max(doubt);
        place.is_known = true;
        if matches!(place.state, State::Moved(_)) {
            // Its question may have come after that id was given up.
            after.withdraw.push((Arc::clone(&place.owner), place.doubt));
        }
        let mut next = next;
        if asked.is_some() {
            // Since the first one that was not answered: that may have let it in, and a grant may have ended by now
            // that we shall yet hear of.
            place.asked = place.sent.take();
            if place.asked < asked {
                next = Instant::now();
            }
        }
        // Else its turn has come meanwhile, or it goes on under another id.
        if matches!(place.state, State::Apart) {
            self.join(*id, next);
        }
        self.follow(id);
    }

    /// It holds the lock by its own question, with `claim`. `Some(true)`: it has been let in as one of a run, and must pass that on.
    /// `None`: but it is not its turn, or not under that id, which it gives up.
    pub(crate) fn holds(&mut self, id: &mut Id, claim: Claim, after: &mut After) -> Option<bool> {
        let place = self.places.get(id)?;
        let in_run = match place.state {
            State::Apart => false,
            // That was over before it was granted anew: the run it was in is to be given up, this id with it.
            State::Turn(turn) if turn.in_run && turn.claim.is_over(Instant::now()) => {
                let (owner, doubt) = (Arc::clone(&place.owner), place.doubt);
                if self.holds_in_run(&owner) {
                    self.dissolve(&owner, after);
                }
                if let Some(place) = self.places.get_mut(id) {
                    place.state = State::Follows;
                }
                self.back_into_line(*id, after);
                self.follow(id);
                after.withdraw.push((owner, doubt));
                return None;
            }
            State::Turn(turn) => {
                let owner = Arc::clone(&place.owner);
                self.renewed(&owner, claim, Claim::new(claim.sent, Duration::ZERO));
                turn.in_run
            }
            State::Moved(_) => {
                let old = (Arc::clone(&place.owner), place.doubt);
                after.withdraw.push(old);
                self.follow(id);
                return None;
            }
            _ => return None,
        };
        self.places.remove(id);
        Some(in_run)
    }

    fn join(&mut self, id: Id, next: Instant) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        place.state = State::Waits;
        let (ticket, owner) = (place.ticket, Arc::clone(&place.owner));
        let line = self.line_or_new(&owner, next);
        line.waiting.insert(ticket, id);
        line.next = line.next.min(next);
    }

    /// How it stands for `id`, which changes if it has to go on under another one.
    pub(crate) fn news(
        &mut self,
        id: &mut Id,
        now: Instant,
        waker: &Waker,
        after: &mut After,
    ) -> News {
        self.follow(id);
        self.check_run(*id, now, after);
        self.follow(id);
        let Some(place) = self.places.get_mut(id) else {
            // Nobody but its waiter takes it away.
            return News::Wait {
                until: now + TICK,
                ask: None,
            };
        };
        place.seen = now;
        match place.state {
            State::Turn(_) | State::Failed(_) => {}
            _ => {
                if place.waker.as_ref().is_none_or(|old| !old.will_wake(waker)) {
                    place.waker = Some(waker.clone());
                }
                return self.wait(*id, now);
            }
        }
        match self.places.remove(id) {
            Some(Place {
                state: State::Turn(turn),
                owner,
                doubt,
                ..
            }) => News::Turn(turn, owner, doubt),
            Some(Place {
                state: State::Failed(error),
                ..
            }) => News::Failed(error),
            _ => unreachable!("it was just looked at"),
        }
    }

    /// Whoever goes on under another id is looked for there.
    fn follow(&mut self, id: &mut Id) {
        while let Some(State::Moved(to)) = self.places.get(id).map(|place| &place.state) {
            let to = *to;
            self.places.remove(id);
            *id = to;
        }
    }

    fn wait(&mut self, id: Id, now: Instant) -> News {
        let mut until = now + TICK;
        let mut ask = None;
        let place = &self.places[&id];
        let (is_new, ticket) = (place.asked.is_none(), place.ticket);
        let owner = Arc::clone(&place.owner);
        if matches!(place.state, State::Waits)
            && let Some(line) = self.line(&owner)
            && !line.asking
        {
            if is_new || line.next <= now {
                line.asking = true;
                ask = Some(owner);
            } else if line.waiting.keys().next() == Some(&ticket) {
                until = until.min(line.next);
            }
        }
        News::Wait { until, ask }
    }

    /// It does not want to wait any longer. `drops`: and cannot wait for anything else.
    pub(crate) fn leave(&mut self, id: &mut Id, drops: bool, after: &mut After) -> Leave {
        self.follow(id);
        if let Some(place) = self.places.get_mut(id)
            && matches!(place.state, State::Asked)
        {
            if drops {
                place.state = State::Left;
                let (owner, ticket) = (Arc::clone(&place.owner), place.ticket);
                self.remove_from_line(&owner, ticket, after);
            }
            return Leave::NotNow;
        }
        let Some(place) = self.places.remove(id) else {
            return Leave::NotNow;
        };
        match place.state {
            State::Turn(turn) => Leave::Turn(turn, place.owner, place.doubt),
            State::Failed(error) => Leave::Failed(error),
            // Its run may give it back later, so it can have nothing else under that id.
            State::Follows => {
                let run = self.line(&place.owner).and_then(|line| line.run.as_mut());
                if let Some(run) = run {
                    run.leaves(*id);
                }
                after.withdraw.push((Arc::clone(&place.owner), place.doubt));
                Leave::Gone {
                    owner: Arc::new(place.owner.anew()),
                    asked: false,
                    doubt: None,
                }
            }
            _ => {
                self.remove_from_line(&place.owner, place.ticket, after);
                Leave::Gone {
                    asked: place.asked.is_some(),
                    doubt: place.doubt,
                    owner: place.owner,
                }
            }
        }
    }

    /// The next of a line to ask for; nobody: then nobody asks for it any more.
    pub(crate) fn next_batch(&mut self, owner: &Owner, now: Instant) -> Vec<Beat> {
        let Some(line) =
            lines_of(&mut self.of_fronts, owner).and_then(|of| of.get_mut(&owner.names))
        else {
            return Vec::new();
        };
        if line.next <= now {
            line.round.get_or_insert(now);
        }
        let mut batch = Vec::new();
        let mut skipped = false;
        for id in line.waiting.values() {
            let Some(place) = self.places.get_mut(id) else {
                continue;
            };
            let is_due = match (place.asked, line.round) {
                (None, _) => true,
                (Some(asked), Some(round)) => asked < round,
                (Some(_), None) => false,
            };
            if is_due && now.saturating_duration_since(place.seen) >= UNPOLLED {
                skipped = true;
            } else if is_due {
                place.state = State::Asked;
                place.sent.get_or_insert(now);
                batch.push(Beat {
                    id: *id,
                    mode: place.owner.mode,
                    is_new: !place.is_known,
                });
                if batch.len() == BATCH {
                    return batch;
                }
            }
        }
        // If all were skipped, this process has stood still: whoever is polled first asks at once.
        if line.round.take().is_some() && !(batch.is_empty() && skipped) {
            line.next = now + HEARTBEAT;
        }
        if batch.is_empty() {
            line.asking = false;
            self.tidy(owner);
        }
        batch
    }

    /// Redis has answered for those of a batch. `pause`: how long until all are to be asked for again, given how long
    /// the line is there already.
    pub(crate) fn answered(
        &mut self,
        owner: &Owner,
        batch: &[Beat],
        sent: Instant,
        answer: &Waiting,
        pause: impl FnOnce(Duration) -> Duration,
        after: &mut After,
    ) {
        let granted: HashMap<Id, u64> = answer.granted.iter().copied().collect();
        for Beat { id, .. } in batch {
            let Some(place) = self.places.get_mut(id) else {
                continue;
            };
            place.asked = Some(sent);
            place.is_known = true;
            place.as_of = answer.as_of;
            place.sent = None;
            match place.state {
                State::Asked => place.state = State::Waits,
                State::Left => {
                    after.withdraw.push((Arc::clone(&place.owner), place.doubt));
                    self.places.remove(id);
                }
                _ => {}
            }
        }
        let mut writers = Vec::new();
        for Beat { id, mode, .. } in batch {
            match granted.get(id) {
                Some(token) if *mode == Mode::Write => writers.push((*id, *token)),
                Some(token) => self.let_reader_in(*id, *token, after),
                None => {}
            }
        }
        for id in &answer.unknown {
            self.queue_anew(*id, after);
        }
        writers.sort_unstable_by_key(|(_, token)| *token);
        self.let_writers_in(owner, &writers, sent, after);
        // A round goes on with its next batch; a batch of newcomers does not put off the others.
        if let Some(line) = self.line(owner).filter(|line| line.round.is_none()) {
            line.next = line.next.min(sent + pause(line.since.elapsed()));
            if line.next < sent + HEARTBEAT {
                self.ask_soon(owner, None, after);
            }
        }
    }

    /// There was no answer for those of a batch. `doubt`: until when the question may yet be executed; `error`: why there
    /// will be none.
    pub(crate) fn unanswered(
        &mut self,
        owner: &Owner,
        batch: &[Beat],
        doubt: Option<Instant>,
        error: Option<&RedisError>,
        after: &mut After,
    ) {
        for Beat { id, .. } in batch {
            let Some(place) = self.places.get_mut(id) else {
                continue;
            };
            place.doubt = place.doubt.max(doubt);
            if doubt.is_none() && place.asked.is_none() && place.doubt.is_none() {
                place.sent = None;
            }
            match (&place.state, error) {
                (State::Asked, None) => place.state = State::Waits,
                (State::Asked, Some(error)) => {
                    place.state = State::Failed(error.clone());
                    after.wake.extend(place.waker.take());
                    if place.asked.is_some() || place.doubt.is_some() {
                        after.withdraw.push((Arc::clone(&place.owner), place.doubt));
                    }
                    let ticket = place.ticket;
                    self.remove_from_line(owner, ticket, after);
                }
                (State::Left, _) => {
                    after.withdraw.push((Arc::clone(&place.owner), place.doubt));
                    self.places.remove(id);
                }
                _ => {}
            }
        }
        if let Some(line) = self.line(owner) {
            line.next = Instant::now();
        }
    }

    /// Whoever asked for a line does not any more.
    pub(crate) fn asker_gone(&mut self, owner: &Owner, after: &mut After) {
        if let Some(line) = self.line(owner) {
            line.asking = false;
        }
        self.ask_soon(owner, None, after);
    }

    /// Redis has let in `ids`, of which the first has `token` and each behind it one more. That may have been long ago:
    /// whoever has been told since that it waits has lost it.
    pub(crate) fn granted(&mut self, ids: &[Id], token: u64, after: &mut After) {
        let is_news = |(id, token): &(Id, u64)| {
            let place = self.places.get(id);
            place.is_some_and(|place| *token > place.as_of)
        };
        let news: Vec<_> = ids.iter().copied().zip(token..).filter(is_news).collect();
        let Some((first, token)) = news.first().copied() else {
            return; // all have left, and see to it themselves
        };
        let place = &self.places[&first];
        let owner = Arc::clone(&place.owner);
        if owner.mode == Mode::Read {
            self.let_reader_in(first, token, after);
        } else if let Some(from) = place.asked.or(place.sent).filter(|_| first == ids[0]) {
            self.let_writers_in(&owner, &news, from, after);
        } else {
            // Theirs is the claim of the first, which is not here to say how long that is.
            self.ask_soon(&owner, Some(Instant::now()), after);
        }
    }

    /// Some of a front's lines may have missed something.
    pub(crate) fn ask_again(&mut self, front: &Front, after: &mut After) {
        let lines = self.of_fronts.iter();
        let lines = lines.filter(|(of, _)| **of == address_of(front));
        let owners: Vec<_> = lines
            .flat_map(|(_, lines)| lines.values())
            .filter_map(|line| line.waiting.values().next())
            .filter_map(|id| self.places.get(id))
            .map(|place| Arc::clone(&place.owner))
            .collect();
        for owner in owners {
            self.ask_soon(&owner, Some(Instant::now()), after);
        }
    }

    /// Redis has let somebody in who may wait here, and is not told so by a push.
    pub(crate) fn ask_for(&mut self, id: Id, after: &mut After) {
        if let Some(place) = self.places.get(&id)
            && !place.owner.front.is_listening()
        {
            let owner = Arc::clone(&place.owner);
            self.ask_soon(&owner, Some(Instant::now()), after);
        }
    }

    /// Wakes one that will ask for the line.
    fn ask_soon(&mut self, owner: &Owner, at: Option<Instant>, after: &mut After) {
        let Some(line) =
            lines_of(&mut self.of_fronts, owner).and_then(|of| of.get_mut(&owner.names))
        else {
            return;
        };
        line.next = at.map_or(line.next, |at| line.next.min(at));
        for id in line.waiting.values() {
            if let Some(waker) = self.places.get_mut(id).and_then(|place| place.waker.take()) {
                after.wake.push(waker);
                return;
            }
        }
        self.tidy(owner);
    }

    fn let_reader_in(&mut self, id: Id, token: u64, after: &mut After) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        if !matches!(place.state, State::Apart | State::Waits | State::Asked) {
            return;
        }
        let Some(from) = place.asked.or(place.sent) else {
            return;
        };
        place.state = State::Turn(Turn {
            token,
            claim: Claim::new(from, WAITER_LEASE),
            in_run: false,
        });
        after.wake.extend(place.waker.take());
        let (owner, ticket) = (Arc::clone(&place.owner), place.ticket);
        self.remove_from_line(&owner, ticket, after);
    }

    /// Those who have been let in together hold one after another, all with a claim since `from`.
    fn let_writers_in(
        &mut self,
        owner: &Owner,
        writers: &[(Id, u64)],
        from: Instant,
        after: &mut After,
    ) {
        let claim = Claim::new(from, WAITER_LEASE);
        let mut members = Vec::with_capacity(writers.len());

        for (id, token) in writers {
            let run = self.line(owner).and_then(|line| line.run.as_ref());
            if run.is_some_and(|run| run.has(*id)) {
                continue;
            }
            // Whoever has left withdraws what it had by itself.
            if let Some(place) = self.places.get_mut(id)
                && matches!(place.state, State::Apart | State::Waits | State::Asked)
            {
                members.push(Member::new(*id, *token, claim));
                place.state = State::Follows;
                let (owner, ticket) = (Arc::clone(&place.owner), place.ticket);
                self.remove_from_line(&owner, ticket, after);
            }
        }
        if members.is_empty() {
            return;
        }
        let now = Instant::now();
        let line = self.line_or_new(owner, now + HEARTBEAT);
        match &mut line.run {
            // It cannot be told whether they belong to it; but they must not hold beside it, nor out of order.
            Some(run) if !run.is_lost(now) => {
                for id in run.append(members) {
                    self.back_into_line(id, after);
                }
                return;
            }
            Some(_) => self.dissolve(owner, after),
            None => {}
        }
        let line = self.line_or_new(owner, now + HEARTBEAT);
        line.run = Some(Run::new(members));
        if let Passed::Back(ids) = self.advance(owner, after) {
            after.retire.push((Arc::new(owner.clone()), ids));
        }
    }

    /// The holder `owner`, of a run, gives it up. `good`: it had not been lost.
    pub(crate) fn pass_on(&mut self, owner: &Owner, good: bool, after: &mut After) -> Passed {
        if !self.holds_in_run(owner) {
            return Passed::Back(Arc::default());
        }
        if good {
            self.advance(owner, after)
        } else {
            self.dissolve(owner, after);
            Passed::Back(Arc::default())
        }
    }

    /// Lets the next of a run hold.
    fn advance(&mut self, owner: &Owner, after: &mut After) -> Passed {
        let Some(mut run) = self.line(owner).and_then(|line| line.run.take()) else {
            return Passed::Back(Arc::default());
        };
        let now = Instant::now();
        while let Some(member) = run.next() {
            let Some(place) = self.places.get_mut(&member.id) else {
                continue; // it has left
            };
            if !matches!(place.state, State::Follows) {
                continue;
            }
            if member.claim.is_over(now) {
                self.back_into_line(member.id, after);
                continue;
            }
            place.state = State::Turn(Turn {
                token: member.token,
                claim: member.claim,
                in_run: true,
            });
            after.wake.extend(place.waker.take());
            run.let_hold(&member);
            self.line_or_new(owner, now + HEARTBEAT).run = Some(run);
            return Passed::On;
        }
        self.tidy(owner);
        Passed::Back(run.ids())
    }

    /// Ends a run whose holder has lost the lock. What may be left of it in Redis is given up.
    fn dissolve(&mut self, owner: &Owner, after: &mut After) {
        if let Some(mut run) = self.line(owner).and_then(|line| line.run.take()) {
            while let Some(member) = run.next() {
                self.back_into_line(member.id, after);
            }
            self.tidy(owner);
            after.retire.push((Arc::new(owner.clone()), run.ids()));
        }
    }

    /// Somebody who followed has to stand in line again.
    fn back_into_line(&mut self, id: Id, after: &mut After) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        if !matches!(place.state, State::Follows) {
            return;
        }
        self.change_id(id, after);
    }

    /// Redis does not know a waiter any more: that waiter joins the queue again, under an id that no late command names.
    fn queue_anew(&mut self, id: Id, after: &mut After) {
        let Some(place) = self.places.get(&id) else {
            return;
        };
        // Else a push has told of a grant meanwhile.
        if matches!(place.state, State::Waits) {
            self.change_id(id, after);
        }
    }

    fn change_id(&mut self, id: Id, after: &mut After) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        let owner = Arc::new(place.owner.anew());
        let new = owner.id;
        let goes_on = Place {
            owner,
            state: State::Waits,
            sent: None,
            asked: None,
            as_of: 0,
            is_known: false,
            doubt: None,
            waker: None,
            ..*place
        };
        if place.doubt.is_some() {
            after.withdraw.push((Arc::clone(&place.owner), place.doubt));
        }
        place.state = State::Moved(new);
        after.wake.extend(place.waker.take());
        self.places.insert(new, goes_on);
        self.join(new, Instant::now() + HEARTBEAT);
    }

    /// Sees to it that nobody follows in vain.
    fn check_run(&mut self, id: Id, now: Instant, after: &mut After) {
        let Some(place) = self.places.get(&id) else {
            return;
        };
        if !matches!(place.state, State::Follows) {
            return;
        }
        let owner = Arc::clone(&place.owner);
        let run = self.line(&owner).and_then(|line| line.run.as_mut());
        match run {
            Some(run) if run.is_lost(now) => self.dissolve(&owner, after),
            Some(run)
                if run
                    .member(id)
                    .is_some_and(|member| !member.claim.is_over(now)) => {}
            Some(run) => {
                run.leaves(id);
                self.back_into_line(id, after);
            }
            None => self.back_into_line(id, after),
        }
    }

    fn holds_in_run(&mut self, owner: &Owner) -> bool {
        let run = self.line(owner).and_then(|line| line.run.as_ref());
        run.is_some_and(|run| run.holder() == owner.id)
    }

    /// Who is to have its lease renewed with that of the run's holder.
    pub(crate) fn behind(&mut self, owner: &Owner) -> Vec<Id> {
        let run = self.line(owner).and_then(|line| line.run.as_ref());
        let run = run.filter(|run| run.holder() == owner.id);
        run.map(Run::behind).unwrap_or_default()
    }

    /// A lease was renewed, and those of all that were behind it in its run then.
    pub(crate) fn renewed(&mut self, owner: &Owner, claim: Claim, behind: Claim) {
        let run = self.line(owner).and_then(|line| line.run.as_mut());
        if let Some(run) = run.filter(|run| run.has(owner.id)) {
            run.renewed(owner.id, claim, behind);
        }
    }

    /// The run's holder has lost the lock. `gone`: and so have those behind it; else they go on.
    pub(crate) fn lost(&mut self, owner: &Owner, gone: bool, after: &mut After) {
        if !self.holds_in_run(owner) {
            return;
        }
        if gone {
            self.dissolve(owner, after);
        } else if let Passed::Back(ids) = self.advance(owner, after) {
            after.retire.push((Arc::new(owner.clone()), ids));
        }
    }

    fn line(&mut self, owner: &Owner) -> Option<&mut Line> {
        lines_of(&mut self.of_fronts, owner)?.get_mut(&owner.names)
    }

    fn line_or_new(&mut self, owner: &Owner, next: Instant) -> &mut Line {
        let lines = self.of_fronts.entry(address(owner)).or_default();
        if !lines.contains_key(&owner.names) {
            let line = Line {
                waiting: BTreeMap::new(),
                since: Instant::now(),
                asking: false,
                next,
                round: None,
                run: None,
            };
            lines.insert(owner.names.clone(), line);
        }
        lines.get_mut(&owner.names).expect("it was just put there")
    }

    fn remove_from_line(&mut self, owner: &Owner, ticket: u64, after: &mut After) {
        let Some(line) = self.line(owner) else {
            return;
        };
        let was_first = line.waiting.keys().next() == Some(&ticket);
        line.waiting.remove(&ticket);
        if line.waiting.is_empty() {
            self.tidy(owner);
        } else if was_first && !owner.front.is_listening() {
            // Who is first polls the most.
            self.ask_soon(owner, None, after);
        }
    }

    /// Forgets a line that nobody is in.
    fn tidy(&mut self, owner: &Owner) {
        let front = address(owner);
        let Some(lines) = self.of_fronts.get_mut(&front) else {
            return;
        };
        if lines.get(&owner.names).is_some_and(Line::is_idle) {
            lines.remove(&owner.names);
            if lines.is_empty() {
                self.of_fronts.remove(&front);
            }
        }
    }
}

impl Line {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.run.is_none() && !self.asking
    }
}

fn address(owner: &Owner) -> usize {
    address_of(&owner.front)
}

fn address_of(front: &Front) -> usize {
    ptr::from_ref(front).addr()
}

fn lines_of<'a>(
    lines: &'a mut HashMap<usize, HashMap<Names, Line>>,
    owner: &Owner,
) -> Option<&'a mut HashMap<Names, Line>> {
    lines.get_mut(&address(owner))
}
