//! Telling Redis that something is given up, until it has heard it.
//!
//! 1. A release may be sent any number of times, since Redis knows it by its id.
//! 2. One that cannot be finished where it began goes on in the engine, until nothing can be left to release.
//! 3. For what is dropped it goes out with the drop where a connection of ours is up, so that nothing that the same task
//!    sends next overtakes it.

use std::{
    future::{Future, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use redis::{RedisError, RedisResult};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, unconstrained},
};

use crate::{
    code::{is_transient, no_reply},
    connection::Reply,
    engine::Engine,
    line::{After, lines},
    owner::Owner,
    pause::Pauses,
    script::{self, Acquired, Released, With},
};

/// The same for one that is driven by a runtime of the user's, which may be blocked or not driven any more.
const PATIENCE_WITH_USERS: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const FIRST_LATE_PAUSE: Duration = Duration::from_millis(100);

/// Takes back, in the background, whatever an acquisition may have got that nobody waits for any more.
///
/// `in_flight` is its last command, if that has not been answered; `doubt`, until when an earlier one may arrive;
/// `until`, how long to go on where Redis does not answer.
pub(crate) fn withdraw(
    engine: &'static Engine,
    owner: Arc<Owner>,
    in_flight: Option<Reply<Acquired>>,
    mut doubt: Option<Instant>,
    until: Instant,
) {
    let in_flight = in_flight.map(|reply| owner.link.hand_on(reply));
    let giving_back = owner.link.ending.giving_back(&owner.key);
    engine.spawn(async move {
        if let Some(reply) = in_flight {
            // The release must not overtake it.
            let answer = owner.link.within(owner.command_timeout, reply).await;
            if !matches!(answer, Some(Ok(_))) {
                doubt = doubt.max(Some(until));
            }
        }
        if let Err(error) = release_in_turn(engine, &owner, &With::Nothing, until).await {
            giving_back.failed();
            owner.trouble(
                error,
                "an acquisition that was given up could not be taken back; what it may hold ends with its ttl",
            );
        }
        drop(giving_back);
        if let Some(doubt) = doubt {
            withdraw_late(engine, owner, doubt).await;
        }
    });
}

/// Releases again and again until `doubt` is over: a command that was sent and never answered may yet arrive, over a
/// link that is gone.
pub(crate) async fn withdraw_late(engine: &Engine, owner: Arc<Owner>, doubt: Instant) {
    let mut pause = FIRST_LATE_PAUSE;
    loop {
        let left = doubt.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        engine.sleep(pause.min(left)).await;
        pause *= 2;
        if let Err(error) = release_in_turn(engine, &owner, &With::Nothing, doubt).await {
            owner.trouble(
                error,
                "a late command may have taken the lock; what it may hold ends with its ttl",
            );
            return;
        }
    }
}

/// In the background: not too many at a time.
pub(crate) async fn release_in_turn(
    engine: &Engine,
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<Outcome, RedisError> {
    release_by(engine, owner, with, until, Some(&owner.link.releases)).await
}

/// Gives up what `owner` has, and with it those of its run.
pub(crate) async fn release(
    engine: &Engine,
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<Outcome, RedisError> {
    release_by(engine, owner, with, until, None).await
}

/// A release that has gone out, and is to be seen through.
pub(crate) struct GivenUp {
    /// In the runtime that it began in, and with which it ends.
    reply: JoinHandle<RedisResult<Released>>,
    turn: OwnedSemaphorePermit,
}

/// Sends the release without waiting for anything. `None`: it cannot be sent from here.
pub(crate) fn give_up(owner: &Arc<Owner>, with: &With) -> Option<GivenUp> {
    let runtime = Handle::try_current().ok()?;
    if !owner.link.is_in(&runtime) {
        return None;
    }
    let releases = Arc::clone(&owner.link.releases);
    let turn = releases.try_acquire_owned().ok()?;
    let mut reply = script::release(owner, with.clone());
    let mut context = Context::from_waker(Waker::noop());
    // Also where the task has done its share for now.
    let reply = match pin!(unconstrained(reply.as_mut())).poll(&mut context) {
        Poll::Ready(answer) => Box::pin(ready(answer)),
        Poll::Pending => reply,
    };
    let reply = runtime.spawn(reply);
    Some(GivenUp { reply, turn })
}

/// Sees to it, in the background, that a release is executed that has gone out, or could not.
pub(crate) async fn see_through(
    engine: &Engine,
    given_up: Option<GivenUp>,
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<(), RedisError> {
    if let Some(GivenUp { mut reply, turn }) = given_up {
        let answer = engine.timeout(PATIENCE_WITH_USERS, &mut reply).await;
        reply.abort();
        drop(turn);
        if let Some(Ok(Ok(released))) = answer {
            tell(released);
            return Ok(());
        }
    }
    release_in_turn(engine, owner, with, until).await.map(drop)
}

pub(crate) struct Outcome {
    pub(crate) found: bool,
    pub(crate) tries: u32,
}

/// Sends the release until it is answered, fails for good, or `until` has passed. Tries at least once.
async fn release_by(
    engine: &Engine,
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
    turns: Option<&Semaphore>,
) -> Result<Outcome, RedisError> {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut tries = 0;
    loop {
        let turn = match turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        tries += 1;
        let mut limit = owner.command_timeout;
        if tries > 1 {
            limit = limit.min(until.saturating_duration_since(Instant::now()));
        }
        let reply = script::release(owner, with.clone());
        let reply = owner.link.within(limit, reply).await;
        drop(turn);
        match reply.unwrap_or_else(|| Err(no_reply())) {
            Ok(released) => {
                let found = released.found;
                tell(released);
                return Ok(Outcome { found, tries });
            }
            Err(error) => {
                let pause = pauses.next();
                if !is_transient(&error) || Instant::now() + pause >= until {
                    return Err(error);
                }
                owner.trouble(error, "release failed; trying again");
                engine.sleep(pause).await;
            }
        }
    }
}

/// Those who have been let in may wait here.
fn tell(released: Released) {
    let mut after = After::default();
    for id in released.granted {
        lines().ask_for(id, &mut after);
    }
    // Nothing but wakers: nobody has been let in, or has left.
    after.wake.into_iter().for_each(Waker::wake);
}
