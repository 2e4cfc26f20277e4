//! What the code made by `#[redis_lock]` calls. Not for use by hand: it changes without notice.

pub use std::{format, time::Duration};

use std::{borrow::Borrow, future::Future};

pub use crate::{
    error::Error,
    held::{Held, HeldAll},
    key::Key,
    locker::Locker,
    mode::Mode,
    options::Wait,
};
use crate::{exec::Exec, nesting};

/// The attribute's options. What is not given is as the Locker in scope has it.
#[derive(Clone, Debug)]
pub struct Opts {
    mode: Mode,
    wait: Option<Wait>,
    ttl: Option<Duration>,
    max_hold: Option<Duration>,
    auto_extend: Option<bool>,
    locker: Option<Locker>,
}

impl Opts {
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Opts {
            mode,
            wait: None,
            ttl: None,
            max_hold: None,
            auto_extend: None,
            locker: None,
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

    #[must_use]
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.max_hold = Some(max_hold);
        self
    }

    #[must_use]
    pub fn auto_extend(mut self, auto_extend: bool) -> Self {
        self.auto_extend = Some(auto_extend);
        self
    }

    #[must_use]
    pub fn locker(mut self, locker: impl Borrow<Locker>) -> Self {
        self.locker = Some(locker.borrow().clone());
        self
    }

    fn into_locker(self) -> Result<Locker, Error> {
        let mut locker = match self.locker {
            Some(locker) => locker,
            None => crate::locker()?,
        };
        locker = locker.mode(self.mode);
        if let Some(wait) = self.wait {
            locker = locker.wait(wait);
        }
        if let Some(ttl) = self.ttl {
            locker = locker.ttl(ttl);
        }
        if let Some(max_hold) = self.max_hold {
            locker = locker.max_hold(max_hold);
        }
        if let Some(auto_extend) = self.auto_extend {
            locker = locker.auto_extend(auto_extend);
        }
        Ok(locker)
    }
}

/// Runs an annotated function's body under its locks.
pub fn run<R, F, M>(
    opts: Opts,
    keys: impl Into<Vec<Key>>,
    body: F,
    on_error: M,
) -> impl Future<Output = R>
where
    F: Future<Output = R>,
    M: FnOnce(Error) -> R,
{
    let keys = keys.into();
    let enter = async move { opts.into_locker()?.enter(keys).await };
    Exec::new(enter, body, on_error)
}

/// The lock that the body runs under which is being polled.
///
/// # Panics
///
/// Outside of a body.
#[must_use]
pub fn held() -> Held {
    let all = held_all();
    let first = all.iter().next().cloned();
    first.expect("a body runs under a lock")
}

/// All of them.
///
/// # Panics
///
/// Outside of a body.
#[must_use]
pub fn held_all() -> HeldAll {
    let scope = nesting::current().expect("called by the body, which runs under its locks");
    HeldAll::new(scope.iter().map(|frame| Held::new(&frame.hold)))
}

#[diagnostic::on_unimplemented(
    message = "a function under `#[redis_lock]` must return a `Result` whose error is `From<redis_lock::Error>`",
    label = "`{Self}` cannot say that the lock was not had or was lost",
    note = "return `Result<T, E>` where `E: From<redis_lock::Error>`: `redis_lock::Error` itself, `anyhow::Error`, `Box<dyn std::error::Error + Send + Sync>`, or an error of yours with a variant for it"
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
