//! What the code made by `#[redis_lock]` calls. Not for use by hand: it changes without notice.

pub use std::{format, time::Duration};

use std::future::Future;

pub use crate::{error::Error, key::Key, mode::Mode, options::Wait};
use crate::{exec::Exec, locker::locker};

/// The attribute's options. What is not given is as the Locker in scope has it.
#[derive(Clone, Copy, Debug)]
pub struct Opts {
    mode: Mode,
    wait: Option<Wait>,
    ttl: Option<Duration>,
}

impl Opts {
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Opts {
            mode,
            wait: None,
            ttl: None,
        }
    }

    #[must_use]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.wait = Some(wait.into());
        self
    }

    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Runs an annotated function's body under its lock.
pub fn run<R, F, M>(opts: Opts, key: Key, body: F, on_error: M) -> impl Future<Output = R>
where
    F: Future<Output = R>,
    M: FnOnce(Error) -> R,
{
    let acquire = async move {
        let mut locker = locker()?.mode(opts.mode);
        if let Some(wait) = opts.wait {
            locker = locker.wait(wait);
        }
        if let Some(ttl) = opts.ttl {
            locker = locker.ttl(ttl);
        }
        locker.lock(key).await
    };
    Exec::new(acquire, body, on_error)
}

/// What an annotated function can return: something that can say that there was no lock.
#[diagnostic::on_unimplemented(
    message = "a function under `#[redis_lock]` must return a `Result` whose error is `From<redis_lock::Error>`",
    label = "`{Self}` cannot say that the lock was not had or was lost",
    note = "return `Result<T, E>` where `E: From<redis_lock::Error>`: `redis_lock::Error` itself, `anyhow::Error`, `Box<dyn std::error::Error>`, or an error of yours with a variant for it"
)]
pub trait LockOutput: sealed::Sealed + Sized {
    /// The lock's error as the function's result.
    fn from_lock(error: Error) -> Self;
}

impl<T, E: From<Error>> LockOutput for Result<T, E> {
    fn from_lock(error: Error) -> Self {
        Err(error.into())
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}
