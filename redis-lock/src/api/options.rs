//! The options of a Locker: defaults, and checks.

use std::{sync::Arc, time::Duration};

use crate::{
    api::{
        bounds::{
            COMMAND_TIMEOUT_OUT_OF_BOUNDS, LONGEST, LONGEST_COMMAND, LONGEST_NAMESPACE,
            MAX_HOLD_OUT_OF_BOUNDS, MIN_HOLD_TOO_LONG, NAMESPACE_CHARACTERS, NAMESPACE_LENGTH,
            NOT_IN_NAMESPACE, SHORTEST_COMMAND, SHORTEST_LEASE, TTL_TOO_LONG, TTL_TOO_SHORT,
            WAIT_TOO_LONG,
        },
        error::Error,
    },
    values::{key::Key, mode::Mode},
};

/// How long to queue for a lock.
///
/// ```
/// use std::time::Duration;
/// use redis_lock::Wait;
///
/// assert_eq!(Wait::from(Duration::from_secs(5)), Wait::For(Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// At most this long. [`Duration::ZERO`] is one try, which never queues.
    For(Duration),
    /// Until the lock is granted.
    Forever,
}

impl From<Duration> for Wait {
    fn from(duration: Duration) -> Self {
        Wait::For(duration)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) ttl: Duration,
    pub(crate) wait: Wait,
    pub(crate) command_timeout: Duration,
    pub(crate) auto_extend: bool,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) min_hold: Option<Duration>,
    pub(crate) namespace: Arc<str>,
}

impl Options {
    /// Invalid options and keys are errors and never corrected.
    pub(crate) fn check(&self, key: &Key) -> Result<(), Error> {
        if let Some(reason) = key.problem() {
            let key = key.shortened();
            return Err(Error::InvalidKey { key, reason });
        }
        let invalid = |option, value: String, reason| {
            Err(Error::InvalidOptions {
                key: key.clone(),
                option,
                value,
                reason,
            })
        };
        if self.ttl < SHORTEST_LEASE {
            return invalid("ttl", format!("{:?}", self.ttl), TTL_TOO_SHORT);
        }
        if self.ttl > LONGEST {
            return invalid("ttl", format!("{:?}", self.ttl), TTL_TOO_LONG);
        }
        if let Wait::For(wait) = self.wait
            && wait > LONGEST
        {
            return invalid("wait", format!("{wait:?}"), WAIT_TOO_LONG);
        }
        if !(SHORTEST_COMMAND..=LONGEST_COMMAND).contains(&self.command_timeout) {
            return invalid(
                "command_timeout",
                format!("{:?}", self.command_timeout),
                COMMAND_TIMEOUT_OUT_OF_BOUNDS,
            );
        }
        if let Some(max_hold) = self.max_hold
            && !(SHORTEST_LEASE..=LONGEST).contains(&max_hold)
        {
            return invalid("max_hold", format!("{max_hold:?}"), MAX_HOLD_OUT_OF_BOUNDS);
        }
        if let Some(min_hold) = self.min_hold
            && min_hold > LONGEST
        {
            return invalid("min_hold", format!("{min_hold:?}"), MIN_HOLD_TOO_LONG);
        }
        let namespace = &*self.namespace;
        if namespace.is_empty() || namespace.len() > LONGEST_NAMESPACE {
            // An error must not carry a megabyte around.
            let beginning: String = namespace.chars().take(32).collect();
            return invalid("namespace", format!("{beginning:?}"), NAMESPACE_LENGTH);
        }
        if namespace.contains(NOT_IN_NAMESPACE) {
            return invalid("namespace", format!("{namespace:?}"), NAMESPACE_CHARACTERS);
        }
        Ok(())
    }

    /// The options for a further lock in `mode`, when `waited` of the wait is over.
    pub(crate) fn rest(&self, waited: Duration, mode: Mode) -> Self {
        let wait = match self.wait {
            Wait::For(wait) => Wait::For(wait.saturating_sub(waited)),
            Wait::Forever => Wait::Forever,
        };
        Options {
            mode,
            wait,
            ..self.clone()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Write,
            ttl: Duration::from_secs(10),
            wait: Wait::For(Duration::from_secs(1)),
            command_timeout: Duration::from_secs(1),
            auto_extend: true,
            max_hold: None,
            min_hold: None,
            namespace: "lock".into(),
        }
    }
}
