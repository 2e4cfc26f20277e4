//! Running a future under a lock.
//!
//! A hand-written future: an `async fn` would store the future that it is given twice, once as its argument and
//! once as what it awaits (rust-lang/rust#62958).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use crate::{
    error::Error,
    guard::{Guard, Unlock},
};

pin_project! {
    /// `acquire`, then `body` while the lock is good, then the unlock.
    ///
    /// The order of the fields is the order in which they are dropped: the lock goes last.
    pub(crate) struct Exec<A, F: Future, M> {
        #[pin]
        acquire: Option<A>,
        #[pin]
        body: Option<F>,
        #[pin]
        news: Option<OwnedNotified>,
        guard: Option<Guard>,
        unlock: Option<Unlock>,
        output: Option<F::Output>,
        on_error: Option<M>,
    }
}

impl<A, F: Future, M> Exec<A, F, M> {
    /// Runs `body` under the lock that `acquire` takes. Where there is no lock, or no longer, `on_error` makes the
    /// output.
    pub(crate) fn new(acquire: A, body: F, on_error: M) -> Self {
        Exec {
            acquire: Some(acquire),
            body: Some(body),
            news: None,
            guard: None,
            unlock: None,
            output: None,
            on_error: Some(on_error),
        }
    }
}

impl<A, F, M> Future for Exec<A, F, M>
where
    A: Future<Output = Result<Guard, Error>>,
    F: Future,
    M: FnOnce(Error) -> F::Output,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let fail = |on_error: &mut Option<M>, error| {
            let on_error = on_error
                .take()
                .expect("not polled again after it was ready");
            Poll::Ready(on_error(error))
        };

        if let Some(acquire) = this.acquire.as_mut().as_pin_mut() {
            let acquired = ready!(acquire.poll(context));
            this.acquire.set(None);
            match acquired {
                Ok(guard) => {
                    this.news.set(Some(guard.hold().news()));
                    *this.guard = Some(guard);
                }
                Err(error) => {
                    this.body.set(None);
                    return fail(this.on_error, error);
                }
            }
        }

        if let (Some(body), Some(guard)) = (this.body.as_mut().as_pin_mut(), &*this.guard) {
            // The clock is asked at every poll, not only when the engine sends word: after this process stood
            // still, the body may be polled before the engine is.
            while !guard.is_lost()
                && let Some(news) = this.news.as_mut().as_pin_mut()
                && news.poll(context).is_ready()
            {
                this.news.set(Some(guard.hold().news()));
            }
            if guard.is_lost() {
                let key = guard.key().clone();
                this.body.set(None);
                *this.guard = None;
                return fail(this.on_error, Error::Lost { key });
            }
            let output = ready!(body.poll(context));
            this.body.set(None);
            *this.output = Some(output);
            *this.unlock = this.guard.take().map(Guard::unlock);
        }

        if let Some(unlock) = this.unlock {
            let unlocked = ready!(Pin::new(unlock).poll(context));
            *this.unlock = None;
            if let Err(error) = unlocked {
                // The caller is owed what the body has produced, not this.
                tracing::warn!(%error, "the lock was not given back as it should have been");
            }
        }
        let output = this.output.take();
        Poll::Ready(output.expect("not polled again after it was ready"))
    }
}
