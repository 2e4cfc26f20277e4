//! A lock that is held: whose it is, its token, and its lease.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, futures::OwnedNotified};

use crate::{
    error::Loss,
    lease::{Lease, Terms},
    line::Turn,
    mode::Mode,
    owner::Owner,
    run::Claim,
    script::With,
};

#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) owner: Arc<Owner>,
    pub(crate) token: u64,
    pub(crate) terms: Terms,
    /// Until when a command of its acquisition that was not answered may yet be executed.
    pub(crate) doubt: Option<Instant>,
    /// Others of this process may be next, on the same lease.
    pub(crate) in_run: bool,
    /// It was taken by its own question, not granted to one who waited.
    taken: bool,
    watched: Mutex<Watched>,
    news: Arc<Notify>,
}

/// The part that changes.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) lease: Lease,
    /// Where the hold stands in the engine's schedule.
    pub(crate) planned: Option<Instant>,
}

impl Hold {
    /// A hold that was asked for at `sent`.
    pub(crate) fn new(
        owner: Arc<Owner>,
        token: u64,
        terms: Terms,
        sent: Instant,
        doubt: Option<Instant>,
    ) -> Self {
        Self::over(owner, token, terms, doubt, Lease::new(terms, sent))
    }

    /// A hold that somebody has been let in to; until it is renewed it has what was left of another lease.
    pub(crate) fn claimed(
        owner: Arc<Owner>,
        turn: Turn,
        terms: Terms,
        doubt: Option<Instant>,
    ) -> Self {
        let Claim { sent, mut ttl } = turn.claim;
        if doubt.is_some() {
            // A question of its own that arrives late makes it the ttl.
            ttl = ttl.min(terms.first_ttl());
        }
        let lease = Lease::claimed(terms, sent, ttl, Instant::now());
        Hold {
            in_run: turn.in_run,
            taken: false,
            ..Self::over(owner, turn.token, terms, doubt, lease)
        }
    }

    fn over(
        owner: Arc<Owner>,
        token: u64,
        terms: Terms,
        doubt: Option<Instant>,
        lease: Lease,
    ) -> Self {
        Hold {
            owner,
            token,
            terms,
            doubt,
            in_run: false,
            taken: true,
            watched: Mutex::new(Watched {
                lease,
                planned: None,
            }),
            news: Arc::default(),
        }
    }

    /// What Redis need not find out when it is given back.
    pub(crate) fn given(&self) -> With {
        if self.taken && self.owner.mode == Mode::Write {
            let ttl = self.terms.first_ttl();
            With::Gate {
                token: self.token,
                ttl,
            }
        } else {
            With::Nothing
        }
    }

    pub(crate) fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.watched().lease.is_lost(Instant::now())
    }

    /// Why it is lost, if it is.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.watched().lease.loss(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.watched().lease.is_over()
    }

    pub(crate) fn valid_for(&self) -> Duration {
        self.watched().lease.valid_for(Instant::now())
    }

    /// Wakes everybody who waits for the loss. They look for themselves.
    pub(crate) fn tell_loss(&self) {
        self.news.notify_waiters();
    }

    /// Done when there may be something to look at; misses nothing that happens after this call.
    pub(crate) fn news(&self) -> OwnedNotified {
        Arc::clone(&self.news).notified_owned()
    }

    pub(crate) fn lost(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static + use<> {
        let hold = Arc::clone(self);
        async move {
            loop {
                let news = hold.news();
                if hold.is_lost() {
                    return;
                }
                news.await;
            }
        }
    }
}

/// Done when one of the holds has been lost.
pub(crate) fn any_lost(holds: &[Arc<Hold>]) -> impl Future<Output = ()> + Send + 'static + use<> {
    let mut all: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    all.extend(holds.iter().map(|hold| Box::pin(hold.lost()) as _));
    poll_fn(move |context| {
        if all
            .iter_mut()
            .any(|lost| lost.as_mut().poll(context).is_ready())
        {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}
