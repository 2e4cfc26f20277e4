//! Giving a hold back: awaited, or in the background when nobody is there to wait.
//!
//! In a run it is not given back but passed on, to the next of this process, until the last gives all of it back.

use std::{sync::Arc, time::Instant};

use tracing::Level;

use crate::{
    ask::finish,
    ending::GivingBack,
    engine::{Engine, engine},
    error::{Error, Loss},
    hold::Hold,
    line::{After, Passed, lines},
    release::{give_up, release, see_through, withdraw_late},
    renewal,
    report::report,
    script::With,
};

/// Gives a hold back and says whether it had been good all the time.
pub(crate) async fn unlock(hold: Arc<Hold>) -> Result<(), Error> {
    let engine = engine()?;
    // From here on somebody gives it back, also if we are dropped.
    let mut handed_in = HandIn::new(engine, hold);
    let Some(hold) = handed_in.hold.clone() else {
        return Ok(()); // somebody else here has it
    };
    let owner = &hold.owner;
    let lost = |why| Error::Lost {
        key: owner.key.clone(),
        why,
    };
    if let Some(why) = handed_in.loss {
        return Err(lost(why));
    }
    let outcome = release(
        engine,
        owner,
        &handed_in.with,
        Instant::now() + owner.command_timeout,
    )
    .await;
    match outcome {
        Ok(outcome) => {
            handed_in.hold = None;
            if let Some(doubt) = hold.doubt {
                engine.spawn(withdraw_late(engine, Arc::clone(owner), doubt));
            }
            // After a failed try, one that finds nothing means that the first one was executed.
            if outcome.found || outcome.tries > 1 {
                Ok(())
            } else {
                // It may also have ended while its release was on its way.
                let ended = hold.watched().lease.ended(Instant::now());
                Err(lost(ended.unwrap_or(Loss::Forgotten)))
            }
        }
        Err(error) => Err(owner.failed(error)),
    }
}

/// Gives a hold back in the background. Never blocks, never panics.
pub(crate) fn give_back(hold: Arc<Hold>) {
    if let Ok(engine) = engine() {
        drop(HandIn::new(engine, hold));
    }
}

/// A hold that is being given back: by its owner, or if that is dropped, by the engine.
struct HandIn {
    engine: &'static Engine,
    /// `None`: done, or passed on.
    hold: Option<Arc<Hold>>,
    with: With,
    /// Why it had been lost before, if it had.
    loss: Option<Loss>,
    /// Counts for the end of the Locker. `None`: the engine has it.
    giving_back: Option<GivingBack>,
}

impl HandIn {
    fn new(engine: &'static Engine, hold: Arc<Hold>) -> Self {
        // Before the hold is over: what the Locker's end does not find as a hold, it finds as a release.
        let giving_back = hold.owner.link.ending.giving_back(&hold.owner.key);
        let loss = renewal::unwatch(&hold);
        let mut handed_in = HandIn {
            engine,
            hold: None,
            with: hold.given(),
            loss,
            giving_back: Some(giving_back),
        };
        if hold.in_run {
            let mut after = After::default();
            let passed = lines().pass_on(&hold.owner, loss.is_none(), &mut after);
            finish(after);
            match passed {
                Passed::On => {
                    if let Some(doubt) = hold.doubt {
                        engine.spawn(withdraw_late(engine, Arc::clone(&hold.owner), doubt));
                    }
                    return handed_in;
                }
                Passed::Back(run) => handed_in.with = With::Run(run),
            }
        }
        handed_in.hold = Some(hold);
        handed_in
    }
}

impl Drop for HandIn {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        let with = self.with.clone();
        // Later than this Redis has ended the lease by itself.
        let until = Instant::now() + hold.terms.ttl;
        let given_up = give_up(&hold.owner, &with);
        let engine = self.engine;
        let giving_back = self.giving_back.take();
        engine.spawn(async move {
            let owner = &hold.owner;
            if let Err(error) = see_through(engine, given_up, owner, &with, until).await {
                if let Some(giving_back) = &giving_back {
                    giving_back.failed();
                }
                let hold = Arc::clone(&hold);
                report(Level::WARN, move || {
                    let owner = &hold.owner;
                    tracing::warn!(key = %owner.key, token = hold.token, error = %owner.failed(error), "lock not released; it ends with its ttl");
                });
            }
            drop(giving_back);
            if let Some(doubt) = hold.doubt {
                withdraw_late(engine, Arc::clone(owner), doubt).await;
            }
        });
    }
}
