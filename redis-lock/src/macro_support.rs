//! Functions for the code that `#[redis_lock]` makes. Not for use by hand: this module changes without notice.

pub use std::{format, time::Duration};

use std::{borrow::Borrow, future::Future, marker::PhantomData, sync::Arc};

pub use crate::{
    api::{
        error::Error,
        exec::Ours,
        held::{Held, HeldAll},
        locker::Locker,
        options::Wait,
        request::LockRequest,
    },
    values::{key::Key, mode::Mode},
};
/// Bounds that a test compares with the attribute's.
pub mod bounds {
    pub use crate::api::bounds::*;
}

use crate::api::{
    exec::Run,
    nesting::{self, Scope},
};

/// The attribute's options. The Locker in scope has the options that are not given.
#[derive(Clone, Debug)]
pub struct Opts {
    mode: Mode,
    wait: Option<Wait>,
    ttl: Option<Duration>,
    max_hold: Option<Duration>,
    min_hold: Option<Duration>,
    auto_extend: Option<bool>,
    command_timeout: Option<Duration>,
    namespace: Option<Arc<str>>,
    locker: Option<Locker>,
}

impl Opts {
    #[must_use]
    pub fn new(mode: impl Into<Mode>) -> Self {
        Opts {
            mode: mode.into(),
            wait: None,
            ttl: None,
            max_hold: None,
            min_hold: None,
            auto_extend: None,
            command_timeout: None,
            namespace: None,
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
    pub fn min_hold(mut self, min_hold: Duration) -> Self {
        self.min_hold = Some(min_hold);
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
    pub fn command_timeout(mut self, command_timeout: Duration) -> Self {
        self.command_timeout = Some(command_timeout);
        self
    }

    #[must_use]
    pub fn namespace(mut self, namespace: impl AsRef<str>) -> Self {
        self.namespace = Some(namespace.as_ref().into());
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
        if let Some(min_hold) = self.min_hold {
            locker = locker.min_hold(min_hold);
        }
        if let Some(auto_extend) = self.auto_extend {
            locker = locker.auto_extend(auto_extend);
        }
        if let Some(command_timeout) = self.command_timeout {
            locker = locker.command_timeout(command_timeout);
        }
        if let Some(namespace) = self.namespace {
            locker = locker.namespace(namespace);
        }
        Ok(locker)
    }
}

/// A lock in the mode of the options.
#[must_use]
pub fn request(key: Key) -> LockRequest {
    key.into()
}

/// A lock in a mode of its own.
#[must_use]
pub fn request_in(mode: Mode, key: Key) -> LockRequest {
    (key, mode).into()
}

/// Runs an annotated function's body under its locks.
///
/// The two parts without a size that a `Run` begins with are returned beside the `Run`, to be kept until the `Run` is done: so
/// the compiler finds them one step earlier.
pub fn run<R, F: Future<Output = R>>(
    opts: Opts,
    requests: impl Into<Vec<LockRequest>>,
    body: F,
) -> (
    PhantomData<Ours>,
    PhantomData<F>,
    impl Future<Output = Result<R, Error>>,
) {
    let requests = requests.into();
    let enter = async move { opts.into_locker()?.enter(requests).await };
    let run = Run::new(enter, Box::pin(body));
    (PhantomData, PhantomData, run)
}

/// The function's result, from the result of [`run`].
pub fn finish<R, F>(
    _: PhantomData<Ours>,
    _: PhantomData<F>,
    outcome: Result<R, Error>,
    on_error: impl FnOnce(Error) -> R,
) -> R {
    outcome.unwrap_or_else(on_error)
}

/// The lock of the body that is being polled.
///
/// # Panics
///
/// Outside of a body.
#[must_use]
pub fn held() -> Held {
    nesting::held(&scope())
}

/// All locks of the body that is being polled.
///
/// # Panics
///
/// Outside of a body.
#[must_use]
pub fn held_all() -> HeldAll {
    nesting::held_all(&scope())
}

fn scope() -> Scope {
    nesting::current().expect("called by the body, which runs under its locks")
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

impl<T, E: LockError> LockOutput for Result<T, E> {
    fn from_lock(error: Error) -> Self {
        Err(error.into())
    }
}

#[diagnostic::on_unimplemented(
    message = "the lock's errors cannot become `{Self}`: it is not `From<redis_lock::Error>`",
    label = "needs `impl From<redis_lock::Error> for {Self}`, or `map_err` in the attribute",
    note = "write `#[redis_lock(.., map_err = MyError::Lock)]`, with a variant, function or closure that makes the function's error of a `redis_lock::Error`"
)]
pub trait LockError: From<Error> {}

// The compiler is to report this trait, whose message names `map_err`, and not `From`.
#[diagnostic::do_not_recommend]
impl<E: From<Error>> LockError for E {}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}
