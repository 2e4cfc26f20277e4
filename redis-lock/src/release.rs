//! Giving a lock back: awaited, or in the background when nobody is there to wait.
//!
//! 1. A release may be sent any number of times, since Redis knows it by its id.
//! 2. One that cannot be finished here goes on in the engine, until nothing can be left to release.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::RedisError;
use tokio::sync::Semaphore;

use crate::{
    connection::{Reply, is_transient, no_reply},
    error::Error,
    hold::Hold,
    owner::Owner,
    renewal::{Engine, engine},
    script::{self, Acquired},
    wakeup,
};

/// How long the caller of `unlock` waits at most for a Redis that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const FIRST_LATE_PAUSE: Duration = Duration::from_millis(100);

/// Gives a hold back and says whether it had been good all the time.
pub(crate) async fn unlock(hold: Arc<Hold>) -> Result<(), Error> {
    let engine = engine()?;
    // From here on somebody gives it back, also if we are dropped.
    let handed_in = HandIn::new(engine, &hold);
    let owner = &hold.owner;
    let lost = || Error::Lost {
        key: owner.key.clone(),
    };
    if !handed_in.was_good {
        return Err(lost());
    }
    let outcome = release(owner, Instant::now() + PATIENCE).await;
    match outcome {
        Ok(outcome) => {
            handed_in.done();
            if let Some(doubt) = hold.doubt {
                engine.spawn(withdraw_late(Arc::clone(owner), doubt));
            }
            // After a failed try, one that finds nothing means that the first one was executed.
            if outcome.found || outcome.tries > 1 {
                Ok(())
            } else {
                Err(lost())
            }
        }
        Err(error) => Err(owner.failed(error)),
    }
}

/// Gives a hold back in the background. Never blocks, never panics.
pub(crate) fn give_back(hold: &Arc<Hold>) {
    if let Ok(engine) = engine() {
        drop(HandIn::new(engine, hold));
    }
}

/// A hold that is being given back: by its owner, or if that is dropped, by the engine.
struct HandIn {
    engine: &'static Engine,
    /// `None`: done.
    hold: Option<Arc<Hold>>,
    was_good: bool,
}

impl HandIn {
    fn new(engine: &'static Engine, hold: &Arc<Hold>) -> Self {
        let was_good = engine.unwatch(hold);
        HandIn {
            engine,
            hold: Some(Arc::clone(hold)),
            was_good,
        }
    }

    fn done(mut self) {
        self.hold = None;
    }
}

impl Drop for HandIn {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        // Later than this Redis has ended the lease by itself.
        let until = Instant::now() + hold.terms.ttl;
        self.engine.spawn(async move {
            let owner = &hold.owner;
            if let Err(error) = release_in_turn(owner, until).await {
                tracing::warn!(key = %owner.key, token = hold.token, %error, "lock not released; it ends with its ttl");
            }
            if let Some(doubt) = hold.doubt {
                withdraw_late(Arc::clone(owner), doubt).await;
            }
        });
    }
}

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
            let answer = owner.link.within(PATIENCE, reply).await;
            if !matches!(answer, Some(Ok(_))) {
                doubt = doubt.max(Some(until));
            }
        }
        if let Err(error) = release_in_turn(&owner, until).await {
            tracing::debug!(key = %owner.key, %error, "abandoned acquisition not withdrawn; it ends with its ttl");
        }
        if let Some(doubt) = doubt {
            withdraw_late(owner, doubt).await;
        }
    });
}

/// Releases again and again until `doubt` is over: a command that was sent and never answered may yet arrive, over a
/// link that is gone.
async fn withdraw_late(owner: Arc<Owner>, doubt: Instant) {
    let mut pause = FIRST_LATE_PAUSE;
    loop {
        let left = doubt.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(pause.min(left)).await;
        pause *= 2;
        if let Err(error) = release_in_turn(&owner, doubt).await {
            tracing::debug!(key = %owner.key, %error, "a late command may have taken the lock; it ends with its ttl");
            return;
        }
    }
}

/// In the background: not too many at a time.
async fn release_in_turn(owner: &Arc<Owner>, until: Instant) -> Result<Outcome, RedisError> {
    release_by(owner, until, Some(&owner.link.releases)).await
}

async fn release(owner: &Arc<Owner>, until: Instant) -> Result<Outcome, RedisError> {
    release_by(owner, until, None).await
}

struct Outcome {
    found: bool,
    tries: u32,
}

/// Sends the release until it is answered, fails for good, or `until` has passed. Tries at least once.
async fn release_by(
    owner: &Arc<Owner>,
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
        let reply = script::release(owner);
        let reply = owner.link.within(patience, reply).await;
        drop(turn);
        match reply.unwrap_or_else(|| Err(no_reply())) {
            Ok(released) => {
                wakeup::wake(&released.granted);
                let found = released.found;
                return Ok(Outcome { found, tries });
            }
            Err(error) if !is_transient(&error) || Instant::now() + pause >= until => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(key = %owner.key, %error, "release failed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
