//! One request of a task: first a wait, then a hold.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use once_cell::sync::OnceCell;
use redis::RedisError;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::{
    core::io::{Input, Outcome, Refusal, WaiterId},
    engine::{owner::Owner, shell::Entry},
    values::{loss::Loss, time::Time},
};

#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) owner: Arc<Owner>,
    /// The entry that the request was made at, and the waiter's number there.
    place: OnceCell<(Arc<Entry>, WaiterId)>,
    phase: Mutex<Phase>,
    news: Arc<Notify>,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Waiting,
    Refused(Refusal, Option<RedisError>),
    Held {
        token: u64,
        until: Time,
    },
    Lost {
        token: u64,
        why: Loss,
    },
    /// Being given back: the outcome is not known yet.
    Returned {
        token: u64,
    },
    Over {
        token: u64,
        outcome: Outcome,
        error: Option<RedisError>,
    },
}

impl Hold {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Hold {
            owner,
            place: OnceCell::new(),
            phase: Mutex::new(Phase::Waiting),
            news: Arc::default(),
        }
    }

    pub(crate) fn joins(&self, entry: &Arc<Entry>, waiter: WaiterId) {
        let _ = self.place.set((Arc::clone(entry), waiter));
    }

    pub(crate) fn place(&self) -> Option<&(Arc<Entry>, WaiterId)> {
        self.place.get()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begins(&self, token: u64, until: Time) {
        *self.locked() = Phase::Held { token, until };
    }

    pub(crate) fn lasts(&self, to: Time) {
        if let Phase::Held { until, .. } = &mut *self.locked() {
            *until = to;
        }
    }

    pub(crate) fn is_refused(&self, why: Refusal, error: Option<RedisError>) {
        *self.locked() = Phase::Refused(why, error);
    }

    /// A hold that is being given back may also turn out to have been lost.
    pub(crate) fn is_revoked(&self, why: Loss) {
        let mut phase = self.locked();
        if let Phase::Held { token, .. } | Phase::Returned { token } = *phase {
            *phase = Phase::Lost { token, why };
        }
    }

    /// The task gives the lock back. `false`: there is nothing to give back.
    pub(crate) fn returns(&self) -> bool {
        let mut phase = self.locked();
        match *phase {
            Phase::Held { token, .. } => {
                *phase = Phase::Returned { token };
                true
            }
            _ => false,
        }
    }

    pub(crate) fn finishes(&self, outcome: Outcome, error: Option<RedisError>) {
        let mut phase = self.locked();
        let token = phase.token();
        *phase = Phase::Over {
            token,
            outcome,
            error,
        };
    }

    pub(crate) fn token(&self) -> u64 {
        self.locked().token()
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(*self.locked(), Phase::Held { .. })
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.loss().is_some()
    }

    /// Why the hold is lost, if it is.
    pub(crate) fn loss(&self) -> Option<Loss> {
        let ended = match *self.locked() {
            Phase::Lost { why, .. } => return Some(why),
            Phase::Held { until, .. } => until <= self.now(),
            _ => false,
        };
        if !ended {
            return None;
        }
        // The engine has not looked at this lock yet; the core knows why.
        if let Some((entry, _)) = self.place() {
            entry.tell(Input::TimeReached);
        }
        match *self.locked() {
            Phase::Lost { why, .. } => Some(why),
            Phase::Held { until, .. } if until <= self.now() => Some(Loss::Paused),
            _ => None,
        }
    }

    /// The time on the clock that counts the lease.
    fn now(&self) -> Time {
        // Without a place the request has no lease.
        self.place()
            .map_or(Time(0), |(entry, _)| entry.engine.now())
    }

    pub(crate) fn valid_for(&self) -> Duration {
        match *self.locked() {
            Phase::Held { until, .. } => until.since(self.now()),
            _ => Duration::ZERO,
        }
    }

    /// Wakes all tasks that wait for news of this hold. Each then looks at the phase.
    pub(crate) fn tell_news(&self) {
        self.news.notify_waiters();
    }

    /// Done when the phase may have changed since this call.
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

impl Phase {
    fn token(&self) -> u64 {
        match self {
            Phase::Waiting | Phase::Refused(..) => 0,
            Phase::Held { token, .. }
            | Phase::Lost { token, .. }
            | Phase::Returned { token }
            | Phase::Over { token, .. } => *token,
        }
    }
}

/// Done when any of the holds has been lost.
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
