//! Waiting in line: asking for everybody who waits here for one lock, and being one of them.
//!
//! 1. Whoever finds that it is time asks for all of a line, in one command: a heartbeat costs the same for a hundred.
//! 2. Newcomers to a line whose question is under way go into the next one together.
//! 3. A wake-up is a hint and may be lost; the guarantee is the heartbeat. Without wake-ups the line is asked for the more
//!    often the nearer its first is to the head.
//! 4. A waiter is asked for as long as it is polled: one that nobody polls any more would block those behind it.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::{
    code::{did_nothing, is_transient, no_reply},
    engine::{Engine, engine},
    error::Error,
    line::{After, HEARTBEAT, Leave, News, Passed, Turn, WAITER_LEASE, lines},
    owner::{Id, Owner},
    pause::Pauses,
    release::{release_in_turn, withdraw},
    run::Claim,
    script::{self, Beat, With},
};

/// How long a heartbeat may take at most: short enough for another one before the waiters' leases end.
const LONGEST_BEAT: Duration = Duration::from_millis(1500);
const _: () = assert!(
    HEARTBEAT.as_millis() + LONGEST_BEAT.as_millis() + LONGEST_FAILED_PAUSE.as_millis()
        <= WAITER_LEASE.as_millis(),
    "a heartbeat may get lost"
);

/// How long a command that was not answered may still be on its way. TCP may take longer; this covers links that were
/// slow, not those that were dead.
pub(crate) const LATEST_ARRIVAL: Duration = Duration::from_secs(30);

/// Pauses between asking, for the head of the line. They grow with the time waited.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After a command that failed: the first pause, and the longest.
pub(crate) const FAILED_PAUSE: Duration = Duration::from_millis(25);
pub(crate) const LONGEST_FAILED_PAUSE: Duration = Duration::from_millis(500);

/// How the wait has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The lock is ours.
    Turn(Turn, Arc<Owner>, Option<Instant>),
    Failed(Error),
    /// The time is up. `asked`: it has to be withdrawn.
    Over {
        owner: Arc<Owner>,
        asked: bool,
        doubt: Option<Instant>,
    },
}

/// Somebody who waits, or is about to. Dropped, it leaves neither a hold nor a place in the queue behind.
#[derive(Debug)]
pub(crate) struct Waiter {
    owner: Arc<Owner>,
    id: Id,
    /// Whether it is asked for with its line, and no more asks for itself.
    in_line: bool,
    /// When to look again.
    until: Instant,
}

impl Waiter {
    pub(crate) fn new(owner: &Arc<Owner>) -> Self {
        let in_line = lines().enter(owner, Instant::now());
        Waiter {
            owner: Arc::clone(owner),
            id: owner.id,
            in_line,
            until: Instant::now(),
        }
    }

    /// Whether it has joined others, who ask for it as well.
    pub(crate) fn is_in_line(&self) -> bool {
        self.in_line
    }

    /// It is about to ask for itself.
    pub(crate) fn asks(&self, sent: Instant) {
        lines().asks(self.id, sent);
    }

    /// Its question, sent at `sent`, has brought it into the queue.
    pub(crate) fn queued(
        &mut self,
        sent: Instant,
        place: u32,
        left: Duration,
        doubt: Option<Instant>,
    ) {
        let next = sent + pause(&self.owner, Some(place), left, Duration::ZERO);
        self.stands(Some(sent), next, doubt);
    }

    /// Its question was answered with that it has been let in, but not whether it is its turn.
    pub(crate) fn let_in(&mut self, doubt: Option<Instant>) {
        self.stands(None, Instant::now(), doubt);
    }

    fn stands(&mut self, asked: Option<Instant>, next: Instant, doubt: Option<Instant>) {
        self.in_line = true;
        let mut after = After::default();
        lines().queued(&mut self.id, asked, next, doubt, &mut after);
        finish(after);
    }

    /// Its question has brought it the lock. `Some(true)`: as one of a run. `None`: but it waits, in line, for its turn or
    /// under another id.
    pub(crate) fn holds(&mut self, claim: Claim) -> Option<bool> {
        let mut after = After::default();
        let holds = lines().holds(&mut self.id, claim, &mut after);
        finish(after);
        self.in_line |= holds.is_none();
        holds
    }

    /// Waits until it is its turn, or `end`.
    pub(crate) async fn turn(&mut self, engine: &Engine, end: Option<Instant>) -> End {
        let mut alarm = pin!(engine.sleep(HEARTBEAT));
        poll_fn(|context| {
            loop {
                let now = Instant::now();
                let mut until = match self.news(now, context) {
                    Poll::Ready(end) => return Poll::Ready(end),
                    Poll::Pending if end.is_some_and(|end| end <= now) => match self.leave() {
                        Some(end) => return Poll::Ready(end),
                        None => now + SHORTEST_PAUSE,
                    },
                    Poll::Pending => self.until,
                };
                if let Some(end) = end.filter(|end| *end > now) {
                    until = until.min(end);
                }
                alarm.as_mut().reset(until.max(now).into());
                ready!(alarm.as_mut().poll(context));
            }
        })
        .await
    }

    fn news(&mut self, now: Instant, context: &Context<'_>) -> Poll<End> {
        let mut after = After::default();
        let news = lines().news(&mut self.id, now, context.waker(), &mut after);
        finish(after);
        match news {
            News::Turn(turn, owner, doubt) => Poll::Ready(End::Turn(turn, owner, doubt)),
            News::Failed(error) => Poll::Ready(End::Failed(self.owner.failed(error))),
            News::Wait { until, ask } => {
                self.until = until;
                if let (Some(owner), Ok(engine)) = (ask, engine()) {
                    // Whoever asks must not depend on a runtime that may not be driven, or end.
                    engine.spawn(ask_for_line(engine, Asking::new(owner)));
                }
                Poll::Pending
            }
        }
    }

    /// The time is up. `None`: an answer is about to come, which may be the lock.
    pub(crate) fn leave(&mut self) -> Option<End> {
        let mut after = After::default();
        let left = lines().leave(&mut self.id, false, &mut after);
        finish(after);
        match left {
            Leave::Gone {
                owner,
                asked,
                doubt,
            } => Some(End::Over {
                owner,
                asked,
                doubt,
            }),
            Leave::Turn(turn, owner, doubt) => Some(End::Turn(turn, owner, doubt)),
            Leave::Failed(error) => Some(End::Failed(self.owner.failed(error))),
            Leave::NotNow => None,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut after = After::default();
        let left = lines().leave(&mut self.id, true, &mut after);
        match left {
            Leave::Gone {
                owner,
                asked,
                doubt,
            } if self.in_line && (asked || doubt.is_some()) => after.withdraw.push((owner, doubt)),
            Leave::Turn(turn, owner, doubt) => give_back(turn, owner, doubt, &mut after),
            _ => {}
        }
        finish(after);
    }
}

/// A turn that nobody takes.
fn give_back(turn: Turn, owner: Arc<Owner>, doubt: Option<Instant>, after: &mut After) {
    if turn.in_run {
        let passed = lines().pass_on(&owner, true, after);
        if let Passed::Back(run) = passed {
            after.retire.push((Arc::clone(&owner), run));
        }
        if doubt.is_none() {
            return;
        }
    }
    after.withdraw.push((owner, doubt));
}

/// Does what could not be done while the lines were locked.
pub(crate) fn finish(after: After) {
    for waker in after.wake {
        waker.wake();
    }
    if after.retire.is_empty() && after.withdraw.is_empty() {
        return;
    }
    let Ok(engine) = engine() else {
        return; // then nobody could have waited
    };
    // Later than this Redis has ended them by itself.
    let until = Instant::now() + WAITER_LEASE;
    for (owner, run) in after.retire {
        let giving_back = owner.link.ending.giving_back(&owner.key);
        engine.spawn(async move {
            if let Err(error) = release_in_turn(engine, &owner, &With::Run(run), until).await {
                giving_back.failed();
                owner.trouble(error, "lock not released; it ends with its ttl");
            }
        });
    }
    for (owner, doubt) in after.withdraw {
        withdraw(engine, owner, None, doubt, until);
    }
}

/// Asks for a line until nobody in it need be asked for.
async fn ask_for_line(engine: &Engine, mut asking: Asking) {
    let mut pauses = Pauses::new(FAILED_PAUSE, LONGEST_FAILED_PAUSE);
    loop {
        let sent = Instant::now();
        asking.batch = lines().next_batch(&asking.owner, sent);
        if asking.batch.is_empty() {
            asking.has_ended = true;
            return;
        }
        let owner = &asking.owner;
        let reply = script::wait(owner, WAITER_LEASE, asking.batch.clone());
        let reply = owner
            .link
            .within(owner.command_timeout.min(LONGEST_BEAT), reply)
            .await;
        let batch = mem::take(&mut asking.batch);
        let mut after = After::default();
        let mut failed = false;
        match reply.unwrap_or_else(|| Err(no_reply())) {
            Ok(answer) => {
                let pause = |waited| pause(owner, answer.place, answer.left, waited);
                lines().answered(owner, &batch, sent, &answer, pause, &mut after);
            }
            Err(error) => {
                let doubt = (!did_nothing(&error)).then(|| Instant::now() + LATEST_ARRIVAL);
                failed = is_transient(&error);
                let fatal = (!failed).then_some(&error);
                lines().unanswered(owner, &batch, doubt, fatal, &mut after);
                owner.trouble(error, "heartbeat of the waiters failed; trying again");
            }
        }
        finish(after);
        if failed {
            engine.sleep(pauses.next()).await;
        } else {
            pauses.reset();
        }
    }
}

/// Whoever asks for a line. Code of others runs in the engine, and may panic.
struct Asking {
    owner: Arc<Owner>,
    /// Those whom the question under way is for.
    batch: Vec<Beat>,
    /// Nobody was left to ask for.
    has_ended: bool,
}

impl Asking {
    fn new(owner: Arc<Owner>) -> Self {
        Asking {
            owner,
            batch: Vec::new(),
            has_ended: false,
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut after = After::default();
        let mut lines = lines();
        if !self.batch.is_empty() {
            let doubt = Some(Instant::now() + LATEST_ARRIVAL);
            lines.unanswered(&self.owner, &self.batch, doubt, None, &mut after);
        }
        lines.asker_gone(&self.owner, &mut after);
        drop(lines);
        finish(after);
    }
}

/// How long those in a line may sleep of which the first has `place` others in front of it, if the holders' leases end in
/// `left`. Without wake-ups the load on Redis falls with the time waited, and grows with the logarithm of the length of
/// the queue.
fn pause(owner: &Owner, place: Option<u32>, left: Duration, waited: Duration) -> Duration {
    let place = place.unwrap_or(0);
    let pause = if owner.front.is_listening() {
        HEARTBEAT
    } else {
        let of_the_head = (waited / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let pause = of_the_head.saturating_mul(place.saturating_add(1));
        // Many that came at the same time need not ask at the same time.
        pause.mul_f64(rand::random_range(0.8..1.2)).min(HEARTBEAT)
    };
    if left.is_zero() {
        // It is free: there are more dead in front than one call clears away.
        SHORTEST_PAUSE
    } else if place == 0 {
        // Nobody sends word of a holder that has died.
        pause.min(left + Duration::from_millis(1))
    } else {
        pause
    }
}
