//! Giving a lock back: awaited, or in the background when nobody is there to wait.
//!
//! 1. A release may be sent any number of times, since Redis knows it by its id.
//! 2. One that cannot be finished here goes on in the engine, until nothing can be left to release.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::RedisError;

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
            if let Err(error) = release(owner, until).await {
                tracing::warn!(key = %owner.key, token = hold.token, %error, "lock not released; it ends with its ttl");
            }
        });
    }
}

/// Takes back, in the background, whatever an acquisition may have got that nobody waits for any more.
/// `in_flight` is its last command, if that has not been answered; `in_doubt`: an earlier one was not.
pub(crate) fn withdraw(
    engine: &Engine,
    owner: Arc<Owner>,
    in_flight: Option<Reply<Acquired>>,
    mut in_doubt: bool,
    until: Instant,
) {
    engine.spawn(async move {
        if let Some(reply) = in_flight {
            // The release must not overtake it.
            let answer = owner.link.within(PATIENCE, reply).await;
            in_doubt |= !matches!(answer, Some(Ok(_)));
        }
        let mut pause = Duration::from_millis(100);
        loop {
            if let Err(error) = release(&owner, until).await {
                tracing::warn!(key = %owner.key, %error, "abandoned acquisition not withdrawn; it ends with its ttl");
                return;
            }
            // A command that was sent and never answered may yet arrive, over a link that is gone.
            if !in_doubt || Instant::now() + pause > until {
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    });
}

struct Outcome {
    found: bool,
    tries: u32,
}

/// Sends the release until it is answered, fails for good, or `until` has passed. Tries at least once.
async fn release(owner: &Arc<Owner>, until: Instant) -> Result<Outcome, RedisError> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        tries += 1;
        let reply = script::release(owner);
        let reply = owner.link.within(PATIENCE / 2, reply).await;
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
