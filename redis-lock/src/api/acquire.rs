//! Taking a lock, and giving a lock back.

use std::{mem, sync::Arc};

use redis::RedisError;

use crate::{
    api::{
        error::Error,
        guard::Guard,
        options::{Options, Wait},
    },
    core::io::{Outcome, Queue, Refusal, Terms},
    engine::{
        hold::{Hold, Phase},
        owner::Owner,
        session::Session,
        shell::{Entry, Inline},
    },
    link::{Link, code::no_reply},
    values::{key::Key, loss::Loss, time::Time},
};

/// Takes the lock as `options` say. The call ends within `wait` and one command's time limit, whatever happens.
///
/// Cancel safe: a future that is dropped at any time leaves neither a hold nor a place in the queue behind.
pub(crate) async fn acquire(link: Arc<Link>, options: Options, key: Key) -> Result<Guard, Error> {
    options.check(&key)?;
    acquire_checked(link, options, key).await
}

/// As [`acquire`], for a key and options that have been checked.
pub(crate) async fn acquire_checked(
    link: Arc<Link>,
    options: Options,
    key: Key,
) -> Result<Guard, Error> {
    let owner = Arc::new(Owner::new(link, &options.namespace, options.mode, key));
    let started = owner.front.engine().map_err(Error::Engine)?.now();
    let queue = match options.wait {
        Wait::For(wait) if wait.is_zero() => Queue::Never,
        Wait::For(wait) => Queue::Until(started + wait),
        Wait::Forever => Queue::Forever,
    };
    let ending = Arc::clone(&owner.link.ending);
    let shut_down = || Error::ShutDown {
        key: owner.key.clone(),
    };
    if ending.has_begun() {
        return Err(shut_down());
    }
    let terms = Terms {
        ttl: options.ttl,
        auto_extend: options.auto_extend,
        max_hold: options.max_hold,
        min_hold: options.min_hold,
        command_timeout: options.command_timeout,
    };
    // Boxed, so that the future of every acquisition stays small.
    let asking = Box::pin(async {
        let mut asking = Asking::new(&owner, terms, queue)?;
        asking.turn(started).await
    });
    match ending.unless_begun(asking).await {
        Some(outcome) => outcome,
        None => Err(shut_down()),
    }
}

/// A task that asks for a lock. A drop before the request is settled withdraws the request.
struct Asking {
    hold: Arc<Hold>,
    entry: Arc<Entry>,
    inline: Option<Arc<Inline>>,
    is_settled: bool,
}

impl Asking {
    fn new(owner: &Arc<Owner>, terms: Terms, queue: Queue) -> Result<Self, Error> {
        let engine = owner.front.engine().map_err(Error::Engine)?;
        let session = Session::of(&owner.front);
        let hold = Arc::new(Hold::new(Arc::clone(owner)));
        let mut entry = session.entry(engine, owner, None);
        let inline = loop {
            match entry.requests(&hold, terms, queue) {
                Ok(inline) => break inline,
                Err(next) => entry = session.entry(engine, owner, Some((&entry, next))),
            }
        };
        Ok(Asking {
            hold,
            entry,
            inline,
            is_settled: false,
        })
    }

    /// Waits until the request is granted or refused.
    async fn turn(&mut self, started: Time) -> Result<Guard, Error> {
        loop {
            let news = self.hold.news();
            if let Some((_, waiter)) = self.hold.place() {
                let more = self.entry.polled(*waiter);
                self.inline = self.inline.take().or(more);
            }
            match self.hold.phase() {
                Phase::Waiting => {}
                Phase::Refused(why, error) => {
                    self.is_settled = true;
                    let owner = &self.hold.owner;
                    return Err(match why {
                        Refusal::Contended => Error::Contended {
                            key: owner.key.clone(),
                            mode: owner.mode,
                            waited: self.entry.engine.now().since(started),
                        },
                        Refusal::Failed => failed(owner, error),
                    });
                }
                _ => {
                    self.is_settled = true;
                    return Ok(Guard::new(Arc::clone(&self.hold)));
                }
            }
            self.entry.drive(&mut self.inline, news).await;
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.is_settled
            && let Some((entry, waiter)) = self.hold.place()
        {
            entry.drops(*waiter);
        }
        self.entry.hands_on(self.inline.take());
    }
}

fn failed(owner: &Owner, error: Option<RedisError>) -> Error {
    Error::failed(&owner.link, &owner.key, error.unwrap_or_else(no_reply))
}

/// Gives a hold back. An error says that the hold was lost before, or that the release is not confirmed.
pub(crate) async fn unlock(hold: Arc<Hold>) -> Result<(), Error> {
    let lost = |why| Error::Lost {
        key: hold.owner.key.clone(),
        why,
    };
    if let Some(why) = hold.loss() {
        return Err(lost(why));
    }
    let Some((entry, waiter)) = hold.place() else {
        return Ok(());
    };
    if !hold.returns() {
        return Err(lost(hold.loss().unwrap_or(Loss::Forgotten)));
    }
    let mut returning = Returning {
        entry,
        inline: entry.unlocks(*waiter),
    };
    loop {
        let news = hold.news();
        match hold.phase() {
            Phase::Over { outcome, error, .. } => {
                return match outcome {
                    Outcome::Released => Ok(()),
                    Outcome::Lost => Err(lost(Loss::Forgotten)),
                    Outcome::Failed => Err(failed(&hold.owner, error)),
                };
            }
            Phase::Lost { why, .. } => return Err(lost(why)),
            _ => entry.drive(&mut returning.inline, news).await,
        }
    }
}

struct Returning<'a> {
    entry: &'a Arc<Entry>,
    inline: Option<Arc<Inline>>,
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.entry.hands_on(mem::take(&mut self.inline));
    }
}

/// Gives a hold back in the background. Never blocks, never panics.
pub(crate) fn give_back(hold: &Hold) {
    if hold.returns()
        && let Some((entry, waiter)) = hold.place()
    {
        entry.drops(*waiter);
    }
}
