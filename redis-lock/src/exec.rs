//! Running a future under locks.
//!
//! A hand-written future: an `async fn` would store the future that it is given twice, once as its argument and
//! once as what it awaits (rust-lang/rust#62958).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tracing::Level;

use crate::{
    enter::Entered,
    error::{Error, Loss},
    guards::{Guards, UnlockAll},
    nesting::{Permit, Scope, poll_in},
    report::report,
};

pin_project! {
    /// `enter`, then `body` while the locks are good, then the unlock.
    ///
    /// The order of the fields is the order in which they are dropped: the locks go last.
    pub(crate) struct Exec<F: Future, M> {
        enter: Option<Enter>,
        #[pin]
        body: Option<F>,
        scope: Option<Scope>,
        permits: Vec<Permit>,
        lost: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        guards: Option<Guards>,
        unlock: Option<UnlockAll>,
        output: Option<F::Output>,
        on_error: Option<M>,
    }
}

pin_project! {
    /// The future of [`Locker::lock_exec`](crate::Locker::lock_exec).
    ///
    /// It is `Send` if the future that it runs is, with what that produces.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let id = 42;
    /// let shipped = locker.lock_exec(format!("order:{id}"), async move {
    ///     Ok::<_, redis_lock::Error>(id)
    /// });
    /// tokio::spawn(shipped).await.expect("no panic")?;
    /// # Ok(()) }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct LockExec<F: Future> {
        #[pin]
        exec: Exec<F, fn(Error) -> F::Output>,
    }
}

/// Boxed: it is needed for a moment, and would take a kilobyte of every future.
type Enter = Pin<Box<dyn Future<Output = Result<Entered, Error>> + Send>>;

impl<F: Future> LockExec<F> {
    pub(crate) fn new(
        enter: impl Future<Output = Result<Entered, Error>> + Send + 'static,
        body: F,
        on_error: fn(Error) -> F::Output,
    ) -> Self {
        let exec = Exec::new(enter, body, on_error);
        LockExec { exec }
    }
}

impl<F: Future> Future for LockExec<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().exec.poll(context)
    }
}

impl<F: Future> fmt::Debug for LockExec<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockExec").finish_non_exhaustive()
    }
}

impl<F: Future, M> Exec<F, M> {
    /// Runs `body` under the locks that `enter` takes. Where there is no lock, or no longer, `on_error` makes the
    /// output.
    pub(crate) fn new(
        enter: impl Future<Output = Result<Entered, Error>> + Send + 'static,
        body: F,
        on_error: M,
    ) -> Self {
        Exec {
            enter: Some(Box::pin(enter)),
            body: Some(body),
            scope: None,
            permits: Vec::new(),
            lost: None,
            guards: None,
            unlock: None,
            output: None,
            on_error: Some(on_error),
        }
    }
}

impl<F, M> Future for Exec<F, M>
where
    F: Future,
    M: FnOnce(Error) -> F::Output,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();

        if let Some(enter) = this.enter {
            let entered = ready!(enter.as_mut().poll(context));
            *this.enter = None;
            match entered {
                Ok(entered) => {
                    *this.scope = Some(entered.scope);
                    *this.permits = entered.permits;
                    *this.lost = Some(Box::pin(entered.guards.lost()));
                    *this.guards = Some(entered.guards);
                }
                Err(error) => {
                    this.body.set(None);
                    return Poll::Ready(fail(this.on_error, error));
                }
            }
        }

        if let (Some(body), Some(scope), Some(guards)) =
            (this.body.as_mut().as_pin_mut(), &*this.scope, &*this.guards)
        {
            if let Some(lost) = this.lost
                && lost.as_mut().poll(context).is_ready()
            {
                *this.lost = None;
            }
            // The clock is asked at every poll, not only when the engine sends word: after this process stood
            // still, the body may be polled before the engine is.
            let lost = guards.loss();
            let left = this.permits.iter().find(|permit| !permit.is_inside());
            let left = left.map(|permit| (permit.key(), Loss::LeftScope));
            if let Some((key, why)) = lost.or(left) {
                let key = key.clone();
                this.body.set(None);
                this.permits.clear();
                *this.guards = None;
                return Poll::Ready(fail(this.on_error, Error::Lost { key, why }));
            }
            let output = ready!(poll_in(scope, || body.poll(context)));
            this.body.set(None);
            this.permits.clear();
            *this.output = Some(output);
            *this.unlock = this.guards.take().map(Guards::unlock);
        }

        if let Some(unlock) = this.unlock {
            let unlocked = ready!(Pin::new(unlock).poll(context));
            *this.unlock = None;
            if let Err(error) = unlocked {
                // The caller is owed what the body has produced, not this.
                report(Level::WARN, move || {
                    tracing::warn!(%error, "the lock was not given back as it should have been");
                });
            }
        }
        let output = this.output.take();
        Poll::Ready(output.expect("not polled again after it was ready"))
    }
}

fn fail<T>(on_error: &mut Option<impl FnOnce(Error) -> T>, error: Error) -> T {
    let on_error = on_error.take();
    on_error.expect("not polled again after it was ready")(error)
}
