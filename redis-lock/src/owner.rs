//! Who asks for a lock: the value that acquisition, renewal and release share.

use std::{fmt, sync::Arc};

use redis::RedisError;

use crate::{
    connection::{Link, is_foreign},
    error::Error,
    key::{Key, Names},
    mode::Mode,
};

/// One acquisition, as Redis knows it.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) link: Arc<Link>,
    pub(crate) key: Key,
    pub(crate) names: Names,
    pub(crate) mode: Mode,
    pub(crate) id: Id,
}

impl Owner {
    pub(crate) fn new(link: Arc<Link>, namespace: &str, key: Key, mode: Mode) -> Self {
        Owner {
            link,
            names: Names::new(namespace, &key),
            key,
            mode,
            id: Id(rand::random()),
        }
    }

    /// What a failed command means for the lock.
    pub(crate) fn failed(&self, source: RedisError) -> Error {
        let key = self.key.clone();
        if is_foreign(&source) {
            Error::Foreign { key, source }
        } else {
            Error::Redis {
                key: Some(key),
                source,
            }
        }
    }
}

/// Random, and new for every acquisition: no two processes, tasks or retries of a user can be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u128);

impl Id {
    /// Back from its hexadecimal form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
