//! Who asks for a lock: the value that acquisition, renewal and release share.

use std::{sync::Arc, time::Duration};

use redis::RedisError;
use tracing::Level;

use crate::{
    code::is_foreign,
    connection::Link,
    error::Error,
    front::Front,
    key::{Key, Names},
    mode::Mode,
    options::Options,
    report::report,
};

/// One acquisition, as Redis knows it.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) link: Arc<Link>,
    /// Where it hears of its turn: that of the runtime that it began in.
    pub(crate) front: Arc<Front>,
    pub(crate) key: Key,
    pub(crate) names: Names,
    pub(crate) mode: Mode,
    pub(crate) id: Id,
    /// How long one command may take.
    pub(crate) command_timeout: Duration,
}

impl Owner {
    pub(crate) fn new(link: Arc<Link>, options: &Options, key: Key) -> Self {
        Owner {
            front: link.front(),
            link,
            names: Names::new(&options.namespace, &key),
            key,
            mode: options.mode,
            id: Id::new(),
            command_timeout: options.command_timeout,
        }
    }

    /// The same once more, as somebody whom Redis does not know yet.
    pub(crate) fn anew(&self) -> Self {
        Owner {
            id: Id::new(),
            ..self.clone()
        }
    }

    /// Logs a failure that is dealt with elsewhere.
    pub(crate) fn trouble(self: &Arc<Self>, error: RedisError, what: &'static str) {
        let owner = Arc::clone(self);
        report(Level::DEBUG, move || {
            tracing::debug!(key = %owner.key, error = %owner.failed(error), "{what}");
        });
    }

    /// What a failed command means for the lock.
    pub(crate) fn failed(&self, source: RedisError) -> Error {
        let key = self.key.clone();
        if is_foreign(&source) {
            Error::Foreign { key, cause: source }
        } else {
            Error::Redis {
                key: Some(key),
                server: self.link.server(),
                cause: source,
            }
        }
    }
}

/// Random, and new for every acquisition: no two processes, tasks or retries of a user can be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u128);

impl Id {
    fn new() -> Self {
        Id(rand::random())
    }

    /// In hexadecimal.
    pub(crate) fn text(self) -> [u8; 32] {
        let mut text = [0; 32];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            digits[0] = HEXADECIMAL[usize::from(byte >> 4)];
            digits[1] = HEXADECIMAL[usize::from(byte & 15)];
        }
        text
    }

    /// Back from its hexadecimal form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Id)
    }
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
