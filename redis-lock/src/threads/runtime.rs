//! A thread with a runtime, for work that must not depend on the user's runtimes.
//!
//! A runtime of the user may end, be blocked, or be absent (in a `Drop`). A test that needs no Redis may pause the clock of its
//! runtime: then that runtime is the engine, and its clock counts.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use once_cell::sync::{Lazy, OnceCell};
use tokio::{
    runtime::{Builder, Handle, Id},
    task::JoinHandle,
    time::Sleep,
};

use crate::values::time::Time;

static ENGINE: OnceCell<Engine> = OnceCell::new();

/// The clocks of all engines show `AT_ORIGIN` at this instant. It is not zero, since a paused clock may have stopped before.
static ORIGIN: Lazy<Instant> = Lazy::new(Instant::now);
const AT_ORIGIN: Time = Time(1 << 40);

/// The engine of this process, started when it is first asked for.
pub(crate) fn engine() -> io::Result<&'static Engine> {
    ENGINE.get_or_try_init(Engine::start)
}

/// What an engine's clock shows at `instant`.
pub(crate) fn time_at(instant: Instant) -> Time {
    let before = ORIGIN.saturating_duration_since(instant);
    AT_ORIGIN + instant.saturating_duration_since(*ORIGIN) - before
}

#[derive(Clone, Debug)]
pub(crate) struct Engine {
    runtime: Handle,
    /// The clock of the runtime is paused: the clock stands still while a task can go on, and leaps ahead when all tasks wait.
    is_paused: bool,
}

impl Engine {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("redis-lock".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Engine {
            runtime: handle,
            is_paused: false,
        })
    }

    /// The current runtime as an engine, if its clock is paused.
    pub(crate) fn of_paused_runtime() -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        let time = || tokio::time::Instant::now().into_std();
        // A running clock shows a time between `before` and `after`. A paused clock may do so once by chance, but not twice.
        let is_paused = (0..2).any(|_| {
            let (before, shown, after) = (Instant::now(), time(), Instant::now());
            shown < before || shown > after
        });
        is_paused.then(|| Engine { runtime, is_paused })
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The time on this engine's clock.
    pub(crate) fn now(&self) -> Time {
        if self.is_paused {
            let _engine = self.runtime.enter();
            time_at(tokio::time::Instant::now().into_std())
        } else {
            time_at(Instant::now())
        }
    }

    /// Sleeps until `time`, by this engine's clock. To be awaited in the engine.
    pub(crate) async fn sleep_until(&self, time: Time) {
        tokio::time::sleep(time.since(self.now())).await;
    }

    /// Runs a task that must not depend on the caller. Works anywhere, also outside of a runtime.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(task)
    }

    pub(crate) fn id(&self) -> Id {
        self.runtime.id()
    }

    /// As [`tokio::time::sleep`], by the engine's clock. May be awaited anywhere, also outside of tokio and in a runtime without
    /// timers, where a sleep of tokio would panic.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        let _engine = self.runtime.enter();
        tokio::time::sleep(duration)
    }

    /// Waits for a future, but not for longer than `limit`. May be awaited anywhere, as [`sleep`](Self::sleep).
    pub(crate) async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut sleep = pin!(self.sleep(limit));
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}
