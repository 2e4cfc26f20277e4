//! Running a future under locks.
//!
//! A hand-written future: an `async fn` would store its inner future twice, as the argument and as the awaited future
//! (rust-lang/rust#62958).
//!
//! The inner future is in a box. Functions under locks call each other, and the compiler follows such a chain no deeper than the
//! `recursion_limit`. To compute a layout the compiler does not look into a box, and a box costs little beside a round trip to
//! Redis. To find out whether the chain is `Send` the compiler looks into boxes too, part by part in the order of a type's parts,
//! and remembers the results. So a [`Run`] begins with two parts without a size: the first has the types of this crate, which are
//! then known at every depth, and the second leads to the inner future by the shortest way.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tracing::Level;

use crate::{
    api::{
        enter::Entered,
        error::Error,
        guards::{Guards, UnlockAll},
        held::{Held, HeldAll},
        nesting::{Permit, Scope, held, held_all, poll_in},
    },
    threads::report::report,
    values::loss::Loss,
};

/// Takes locks, runs a future while the locks are good, then gives the locks back.
///
/// `S` makes the future, once the locks are there.
pub(crate) struct Run<F: Future, S> {
    _ours: PhantomData<Ours>,
    _body: PhantomData<F>,
    state: State<F, S>,
}

/// The types that every `Run` has parts of.
#[derive(Debug)]
pub struct Ours(PhantomData<(Enter, Entered, Lost, UnlockAll, Error)>);

/// The order of the fields is the order in which they are dropped.
enum State<F: Future, S> {
    Entering {
        enter: Enter,
        start: S,
    },
    Running(Running<F>),
    Unlocking {
        unlock: UnlockAll,
        output: F::Output,
    },
    Over,
}

/// The fields are dropped in this order: the locks last.
struct Running<F> {
    body: Pin<Box<F>>,
    scope: Scope,
    permits: Vec<Permit>,
    lost: Option<Lost>,
    guards: Guards,
}

/// Boxed, since it is needed for a moment only, and would take a kilobyte of every future.
type Enter = Pin<Box<dyn Future<Output = Result<Entered, Error>> + Send>>;

type Lost = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the future, once the locks are there.
pub(crate) trait Start<F> {
    fn start(self, scope: &Scope) -> Pin<Box<F>>;
}

/// A future that exists already.
impl<F> Start<F> for Pin<Box<F>> {
    fn start(self, _: &Scope) -> Pin<Box<F>> {
        self
    }
}

/// A closure with the argument `H`: [`Held`] or [`HeldAll`].
struct Call<C, H> {
    closure: C,
    _given: PhantomData<fn(H)>,
}

impl<C: FnOnce(Held) -> F, F> Start<F> for Call<C, Held> {
    fn start(self, scope: &Scope) -> Pin<Box<F>> {
        Box::pin((self.closure)(held(scope)))
    }
}

impl<C: FnOnce(HeldAll) -> F, F> Start<F> for Call<C, HeldAll> {
    fn start(self, scope: &Scope) -> Pin<Box<F>> {
        Box::pin((self.closure)(held_all(scope)))
    }
}

impl<F: Future, S> Run<F, S> {
    pub(crate) fn new(
        enter: impl Future<Output = Result<Entered, Error>> + Send + 'static,
        start: S,
    ) -> Self {
        let enter = Box::pin(enter);
        Run {
            _ours: PhantomData,
            _body: PhantomData,
            state: State::Entering { enter, start },
        }
    }
}

/// All pinned parts are in boxes.
impl<F: Future, S> Unpin for Run<F, S> {}

impl<F: Future, S: Start<F>> Future for Run<F, S> {
    /// The result of the future, or the reason why the future did not run to its end.
    type Output = Result<F::Output, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().state;

        if let State::Entering { enter, .. } = state {
            let entered = ready!(enter.as_mut().poll(context));
            let State::Entering { start, .. } = mem::replace(state, State::Over) else {
                unreachable!("it was that just now");
            };
            *state = State::Running(Running::new(entered?, start));
        }

        if let State::Running(running) = state {
            let output = ready!(running.poll(context));
            let State::Running(running) = mem::replace(state, State::Over) else {
                unreachable!("it was that just now");
            };
            // The body is dropped before the locks are given back, also if it was stopped.
            let Running {
                body,
                permits,
                guards,
                ..
            } = running;
            drop(body);
            drop(permits);
            let output = output?;
            let unlock = guards.unlock();
            *state = State::Unlocking { unlock, output };
        }

        if let State::Unlocking { unlock, .. } = state
            && let Err(error) = ready!(Pin::new(unlock).poll(context))
        {
            // The caller gets the result of the future, and so the log gets this error.
            report(Level::WARN, move || {
                tracing::warn!(%error, "the lock was not given back as it should have been");
            });
        }
        match mem::replace(state, State::Over) {
            State::Unlocking { output, .. } => Poll::Ready(Ok(output)),
            _ => panic!("polled again after it was ready"),
        }
    }
}

impl<F: Future> Running<F> {
    fn new(entered: Entered, start: impl Start<F>) -> Self {
        let Entered {
            scope,
            permits,
            guards,
        } = entered;
        Running {
            body: start.start(&scope),
            scope,
            permits,
            lost: Some(Box::pin(guards.lost())),
            guards,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<F::Output, Error>> {
        if let Some(lost) = &mut self.lost
            && lost.as_mut().poll(context).is_ready()
        {
            self.lost = None;
        }
        // The clock is read at every poll, not only after news from the engine: when this process stood still, the body may be
        // polled before the engine.
        let lost = self.guards.loss();
        let left = self.permits.iter().find(|permit| !permit.is_inside());
        let left = left.map(|permit| (permit.key(), Loss::LeftScope));
        if let Some((key, why)) = lost.or(left) {
            let key = key.clone();
            return Poll::Ready(Err(Error::Lost { key, why }));
        }
        let body = self.body.as_mut();
        poll_in(&self.scope, || body.poll(context)).map(Ok)
    }
}

/// The future of [`Locker::lock_exec`](crate::Locker::lock_exec).
///
/// `Send` if the inner future and its result are `Send`.
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
    run: Run<F, Pin<Box<F>>>,
    on_error: fn(Error) -> F::Output,
}

impl<F: Future> LockExec<F> {
    pub(crate) fn new(
        enter: impl Future<Output = Result<Entered, Error>> + Send + 'static,
        body: F,
        on_error: fn(Error) -> F::Output,
    ) -> Self {
        LockExec {
            run: Run::new(enter, Box::pin(body)),
            on_error,
        }
    }
}

impl<F: Future> Future for LockExec<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let outcome = ready!(Pin::new(&mut self.run).poll(context));
        Poll::Ready(outcome.unwrap_or_else(self.on_error))
    }
}

impl<F: Future> Unpin for LockExec<F> {}

impl<F: Future> fmt::Debug for LockExec<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockExec").finish_non_exhaustive()
    }
}

/// The future of [`Locker::scope`](crate::Locker::scope) and [`Locker::scope_all`](crate::Locker::scope_all).
///
/// `C` is the closure, `H` the closure's argument ([`Held`] or [`HeldAll`]), `F` the closure's future. `Send` if `C`, `F` and the
/// result of `F` are `Send`.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let token = locker.scope("order:42", async |lock| lock.token());
/// tokio::spawn(token).await.expect("no panic")?;
/// # Ok(()) }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct LockScope<C, F: Future, H> {
    run: Run<F, Call<C, H>>,
}

impl<C, F: Future, H> LockScope<C, F, H> {
    pub(crate) fn new(
        enter: impl Future<Output = Result<Entered, Error>> + Send + 'static,
        closure: C,
    ) -> Self {
        let call = Call {
            closure,
            _given: PhantomData,
        };
        LockScope {
            run: Run::new(enter, call),
        }
    }
}

impl<C: FnOnce(Held) -> F, F: Future> Future for LockScope<C, F, Held> {
    type Output = Result<F::Output, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.run).poll(context)
    }
}

impl<C: FnOnce(HeldAll) -> F, F: Future> Future for LockScope<C, F, HeldAll> {
    type Output = Result<F::Output, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.run).poll(context)
    }
}

impl<C, F: Future, H> Unpin for LockScope<C, F, H> {}

impl<C, F: Future, H> fmt::Debug for LockScope<C, F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockScope").finish_non_exhaustive()
    }
}
