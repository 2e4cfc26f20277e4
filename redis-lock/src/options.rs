//! What a Locker can be told, its defaults, and what makes no sense.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{error::Error, key::Key, mode::Mode};

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
    /// Until the lock is ours.
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
    pub(crate) namespace: Arc<str>,
}

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const SHORTEST_COMMAND: Duration = Duration::from_millis(10);
const LONGEST_COMMAND: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Options {
    /// Invalid options are errors and never corrected.
    pub(crate) fn check(&self, key: &Key) -> Result<(), Error> {
        let invalid = |option, value: String, reason| {
            Err(Error::InvalidOptions {
                key: key.clone(),
                option,
                value,
                reason,
            })
        };
        if self.ttl < SHORTEST_LEASE {
            return invalid(
                "ttl",
                format!("{:?}", self.ttl),
                "at least 100 ms, since a renewal must fit in",
            );
        }
        if self.ttl > LONGEST {
            return invalid(
                "ttl",
                format!("{:?}", self.ttl),
                "at most a year: it is how long a dead holder blocks others",
            );
        }
        if let Wait::For(wait) = self.wait
            && wait > LONGEST
        {
            return invalid(
                "wait",
                format!("{wait:?}"),
                "at most a year; use `Wait::Forever`",
            );
        }
        if !(SHORTEST_COMMAND..=LONGEST_COMMAND).contains(&self.command_timeout) {
            return invalid(
                "command_timeout",
                format!("{:?}", self.command_timeout),
                "from 10 ms to a minute",
            );
        }
        if let Some(max_hold) = self.max_hold
            && !(SHORTEST_LEASE..=LONGEST).contains(&max_hold)
        {
            return invalid("max_hold", format!("{max_hold:?}"), "from 100 ms to a year");
        }
        let namespace = &*self.namespace;
        if namespace.is_empty() || namespace.len() > 128 {
            // An error must not carry a megabyte around.
            let beginning: String = namespace.chars().take(32).collect();
            return invalid("namespace", format!("{beginning:?}"), "1 to 128 bytes");
        }
        if namespace.contains(['{', '}', '#']) {
            return invalid(
                "namespace",
                format!("{namespace:?}"),
                "it must not contain `{`, `}` or `#`",
            );
        }
        Ok(())
    }

    /// When a call that began at `started` has to end, whatever happens.
    pub(crate) fn limit(&self, started: Instant) -> Option<Instant> {
        match self.wait {
            Wait::For(wait) => Some(started + wait + self.command_timeout),
            Wait::Forever => None,
        }
    }

    /// As they are for whoever began to wait at `started`.
    pub(crate) fn rest(&self, started: Instant) -> Self {
        let wait = match self.wait {
            Wait::For(wait) => Wait::For(wait.saturating_sub(started.elapsed())),
            Wait::Forever => Wait::Forever,
        };
        Options {
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
            namespace: "lock".into(),
        }
    }
}
