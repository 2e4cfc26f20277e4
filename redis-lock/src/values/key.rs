//! The name of a lock.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use crate::values::text::Shown;

/// The name of a lock: any text of 1 to 1024 bytes.
///
/// A key is checked when a lock is asked for, before anything is sent. In a Redis Cluster a key with a
/// [hash tag](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags) keeps
/// the tag (`{user:7}:cart` lives with `{user:7}`); otherwise the whole key decides.
///
/// ```
/// use redis_lock::Key;
///
/// let id = 42;
/// assert_eq!(Key::from(format!("order:{id}")), Key::from("order:42"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes.
    const LONGEST: usize = 1024;

    /// The text as it was given. In a log this text may forge a line; [`Display`](fmt::Display) escapes.
    ///
    /// ```
    /// let key = redis_lock::Key::from("order:\n42");
    /// assert_eq!(key.as_str(), "order:\n42");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why the key cannot name a lock, if so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.0.is_empty() {
            return Some("a key must not be empty");
        }
        if self.len() > Self::LONGEST {
            return Some("a key has at most 1024 bytes; hash long ones");
        }
        None
    }

    /// The key, cut for an error, which must not carry a megabyte around.
    pub(crate) fn shortened(&self) -> Key {
        match self.char_indices().nth(64) {
            Some((end, _)) => Key::from(format!("{}…", &self[..end])),
            None => self.clone(),
        }
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self
    }
}

/// For people and logs: characters that do not print are escaped, so that a key from a request cannot forge a line of a log. For
/// the text itself use [`Key::as_str`].
///
/// ```
/// use redis_lock::Key;
///
/// assert_eq!(Key::from("order:42").to_string(), "order:42");
/// assert_eq!(Key::from("order:\n42").to_string(), r"order:\n42");
/// ```
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Shown(self), f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl PartialEq<String> for Key {
    fn eq(&self, other: &String) -> bool {
        **self == **other
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Key(key.into())
    }
}

impl From<&&str> for Key {
    fn from(key: &&str) -> Self {
        Key::from(*key)
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Key(key.into())
    }
}

impl From<&String> for Key {
    fn from(key: &String) -> Self {
        Key(key.as_str().into())
    }
}

impl From<Cow<'_, str>> for Key {
    fn from(key: Cow<'_, str>) -> Self {
        Key(key.into())
    }
}

impl From<Box<str>> for Key {
    fn from(key: Box<str>) -> Self {
        Key(key.into())
    }
}

impl From<Arc<str>> for Key {
    fn from(key: Arc<str>) -> Self {
        Key(key)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}
