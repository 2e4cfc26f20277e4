//! One thread with a runtime of its own, for what must go on whatever becomes of the user's.
//!
//! A runtime of the user's may end, be blocked, or not be there at all (in a `Drop`).

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    thread,
    time::Duration,
};

use once_cell::sync::OnceCell;
use tokio::{
    runtime::{Builder, Handle, Id},
    task::JoinHandle,
    time::Sleep,
};

static ENGINE: OnceCell<Engine> = OnceCell::new();

/// The engine of this process, started when it is first asked for.
pub(crate) fn engine() -> io::Result<&'static Engine> {
    ENGINE.get_or_try_init(Engine::start)
}

#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Handle,
}

impl Engine {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("redis-lock".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Engine { runtime: handle })
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

    /// As [`tokio::time::sleep`], by the engine's clock: it may be awaited anywhere, also in a runtime without timers and
    /// outside of tokio, where tokio's own would panic.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        let _engine = self.runtime.enter();
        tokio::time::sleep(duration)
    }

    /// Waits for a future, but not for longer than `limit`. As for where it may be awaited, see [`sleep`](Self::sleep).
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
