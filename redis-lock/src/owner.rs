//! Who asks for a lock: what acquisition and its errors need to know.

use std::sync::Arc;

use redis::RedisError;

use crate::{
    code::is_foreign,
    connection::Link,
    error::Error,
    front::Front,
    key::{Key, Names},
    mode::Mode,
    options::Options,
};

#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) link: Arc<Link>,
    /// Where it hears of its turn: that of the runtime that it began in.
    pub(crate) front: Arc<Front>,
    pub(crate) key: Key,
    pub(crate) names: Names,
    pub(crate) mode: Mode,
}

impl Owner {
    pub(crate) fn new(link: Arc<Link>, options: &Options, key: Key) -> Self {
        Owner {
            front: link.front(),
            link,
            names: Names::new(&options.namespace, &key),
            key,
            mode: options.mode,
        }
    }

    /// What a failed command means for the lock.
    pub(crate) fn failed(&self, source: RedisError) -> Error {
        failed(&self.link, &self.key, source)
    }
}

/// What a failed command means for a lock.
pub(crate) fn failed(link: &Link, key: &Key, source: RedisError) -> Error {
    let key = key.clone();
    if is_foreign(&source) {
        Error::Foreign { key, cause: source }
    } else {
        Error::Redis {
            key: Some(key),
            server: link.server(),
            cause: source,
        }
    }
}
