//! Telling Redis that something is given up, until it has heard it.
//!
//! 1. A release may be sent any number of times, since Redis knows it by its id.
//! 2. One that cannot be finished where it began goes on in the engine, until nothing can be left to release.
//! 3. For what is dropped it goes out with the drop where a connection of ours is up, so that nothing that the same task
//!    sends next overtakes it.

use std::{
    future::{Future, ready},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use redis::{RedisError, RedisResult};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, unconstrained},
    time::timeout,
};
use tracing::Level;

use crate::{
    connection::{Reply, handed_on, is_transient, no_reply},
    engine::Engine,
    line::{After, lines},
    owner::Owner,
    report::report,
    script::{self, Acquired, Released, With},
};

/// How long to wait for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
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
    engine: &Engine,
    owner: Arc<Owner>,
    in_flight: Option<Reply<Acquired>>,
    mut doubt: Option<Instant>,
    until: Instant,
) {
    engine.spawn(async move {
        if let Some(reply) = in_flight {
            // The release must not overtake it.
            let answer = owner.link.within(PATIENCE, handed_on(reply)).await;
            if !matches!(answer, Some(Ok(_))) {
                doubt = doubt.max(Some(until));
            }
        }
        if let Err(error) = release_in_turn(&owner, &With::Nothing, until).await {
            let owner = Arc::clone(&owner);
            report(Level::DEBUG, move || {
                tracing::debug!(key = %owner.key, error = %owner.failed(error), "an acquisition that was given up could not be taken back; what it may hold ends with its ttl");
            });
        }
        if let Some(doubt) = doubt {
            withdraw_late(owner, doubt).await;
        }
    });
}

/// Releases again and again until `doubt` is over: a command that was sent and never answered may yet arrive, over a
/// link that is gone.
pub(crate) async fn withdraw_late(owner: Arc<Owner>, doubt: Instant) {
    let mut pause = FIRST_LATE_PAUSE;
    loop {
        let left = doubt.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(pause.min(left)).await;
        pause *= 2;
        if let Err(error) = release_in_turn(&owner, &With::Nothing, doubt).await {
            report(Level::DEBUG, move || {
                tracing::debug!(key = %owner.key, error = %owner.failed(error), "a late command may have taken the lock; what it may hold ends with its ttl");
            });
            return;
        }
    }
}

/// In the background: not too many at a time.
pub(crate) async fn release_in_turn(
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<Outcome, RedisError> {
    release_by(owner, with, until, Some(&owner.link.releases)).await
}

/// Gives up what `owner` has, and with it those of its run.
pub(crate) async fn release(
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<Outcome, RedisError> {
    release_by(owner, with, until, None).await
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
    // Refused for being unknown, it would go out a second time, and late.
    let by_source = !owner.link.has_released.load(Ordering::Relaxed);
    let mut reply = script::release(owner, with.clone(), by_source);
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
    given_up: Option<GivenUp>,
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
) -> Result<(), RedisError> {
    if let Some(GivenUp { mut reply, turn }) = given_up {
        let answer = timeout(PATIENCE_WITH_USERS, &mut reply).await;
        reply.abort();
        drop(turn);
        if let Ok(Ok(Ok(released))) = answer {
            tell(owner, released);
            return Ok(());
        }
    }
    release_in_turn(owner, with, until).await.map(drop)
}

pub(crate) struct Outcome {
    pub(crate) found: bool,
    pub(crate) tries: u32,
}

/// Sends the release until it is answered, fails for good, or `until` has passed. Tries at least once.
async fn release_by(
    owner: &Arc<Owner>,
    with: &With,
    until: Instant,
    turns: Option<&Semaphore>,
) -> Result<Outcome, RedisError> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        let turn = match turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        tries += 1;
        let left = until.saturating_duration_since(Instant::now());
        let patience = if tries == 1 {
            PATIENCE / 2
        } else {
            left.min(PATIENCE / 2)
        };
        let reply = script::release(owner, with.clone(), false);
        let reply = owner.link.within(patience, reply).await;
        drop(turn);
        match reply.unwrap_or_else(|| Err(no_reply())) {
            Ok(released) => {
                let found = released.found;
                tell(owner, released);
                return Ok(Outcome { found, tries });
            }
            Err(error) if !is_transient(&error) || Instant::now() + pause >= until => {
                return Err(error);
            }
            Err(error) => {
                let owner = Arc::clone(owner);
                report(Level::DEBUG, move || {
                    tracing::debug!(key = %owner.key, error = %owner.failed(error), "release failed; trying again");
                });
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Those who have been let in may wait here.
fn tell(owner: &Owner, released: Released) {
    owner.link.has_released.store(true, Ordering::Relaxed);
    let mut after = After::default();
    for id in released.granted {
        lines().ask_for(id, &mut after);
    }
    // Nothing but wakers: nobody has been let in, or has left.
    after.wake.into_iter().for_each(Waker::wake);
}
