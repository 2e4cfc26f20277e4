//! The name of a lock, and the names that the lock uses in Redis.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use crate::text::Shown;

/// The name of a lock: any text of 1 to 1024 bytes.
///
/// It is checked when a lock is asked for, before anything is sent. In a Redis Cluster a key with a
/// [hash tag](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags) keeps
/// it (`{user:7}:cart` lives with `{user:7}`); otherwise the whole key decides.
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

    /// The text as it was given. Shown to people it may forge a line of a log; [`Display`](fmt::Display) escapes.
    ///
    /// ```
    /// let key = redis_lock::Key::from("order:\n42");
    /// assert_eq!(key.as_str(), "order:\n42");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why it cannot name a lock, if it cannot.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.0.is_empty() {
            return Some("a key must not be empty");
        }
        if self.len() > Self::LONGEST {
            return Some("a key has at most 1024 bytes; hash long ones");
        }
        None
    }

    /// Short enough for an error, which must not carry a megabyte around.
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

/// For people and logs: what does not print is escaped, so that a key from a request cannot forge a line of a log. For the
/// text itself use [`Key::as_str`].
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

/// The names of one lock in Redis, `namespace:#<role><kind>:<body>`.
///
/// 1. All of them are in one hash slot: the body has the only braces that can count, and it is the same in all.
/// 2. No two locks share a name. A namespace has no `#`, so the first `#` of a name ends it; the kind says
///    how the body was made of the key, so the key can be read back.
/// 3. A key without braces is in the slot that a Redis key of that text is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Names {
    /// The gate's name; the others differ in one byte.
    gate: Arc<str>,
    role_at: usize,
}

/// One letter for each key in Redis, in the order of the scripts' KEYS.
const ROLES: [char; 5] = ['g', 'h', 'q', 'w', 'r'];

impl Names {
    pub(crate) const COUNT: usize = ROLES.len();

    pub(crate) fn new(namespace: &str, key: &Key) -> Self {
        let role = ROLES[0];
        // Not its `Display`, which is for people.
        let key = key.as_str();
        let gate = if has_hash_tag(key) {
            format!("{namespace}:#{role}t:{key}")
        } else if key.starts_with('}') {
            // Plain braces around it would be the empty tag, which is none.
            format!("{namespace}:#{role}p:{{.{key}}}")
        } else {
            format!("{namespace}:#{role}:{{{key}}}")
        };
        let role_at = namespace.len() + 2;
        Names {
            gate: gate.into(),
            role_at,
        }
    }

    /// The first of the names.
    pub(crate) fn word(&self) -> &Arc<str> {
        &self.gate
    }

    /// Hands out the name for each role, in the order of the scripts' KEYS.
    pub(crate) fn each(&self, mut take: impl FnMut(&str)) {
        let (before, after) = (&self.gate[..self.role_at], &self.gate[self.role_at + 1..]);
        let mut name = String::with_capacity(self.gate.len());
        for role in ROLES {
            name.clear();
            name.push_str(before);
            name.push(role);
            name.push_str(after);
            take(&name);
        }
    }

    /// About how long all of them are together.
    pub(crate) fn size(&self) -> usize {
        ROLES.len() * self.gate.len()
    }
}

/// Whether Redis Cluster finds a hash tag: text between the first `{` and the first `}` behind it.
fn has_hash_tag(key: &str) -> bool {
    key.split_once('{')
        .and_then(|(_, rest)| rest.find('}'))
        .is_some_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// What Redis Cluster does with a name, from its specification.
    fn slot(name: &str) -> u16 {
        let hashed = match name.split_once('{') {
            Some((_, rest)) => match rest.find('}') {
                Some(length) if length > 0 => &rest[..length],
                _ => name,
            },
            None => name,
        };
        crc16(hashed.as_bytes()) % 16384
    }

    /// CRC-16/XMODEM.
    fn crc16(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    (crc << 1) ^ 0x1021
                }
            })
        })
    }

    fn names(namespace: &str, key: &str) -> Vec<String> {
        let mut names = Vec::new();
        Names::new(namespace, &key.into()).each(|name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn names_are_what_the_documents_say() {
        assert_eq!(names("lock", "order:42")[0], "lock:#g:{order:42}");
        assert_eq!(names("lock", "{order}:42")[1], "lock:#ht:{order}:42");
        assert_eq!(names("a:b", "}{")[2], "a:b:#qp:{.}{}");
    }

    #[test]
    fn keys_that_look_alike_stay_apart() {
        let keys = [
            "a",
            "{a}",
            "{a",
            "a}",
            "}a",
            "{}a",
            "{a}:queue",
            "{{a}}",
            ".a",
            "}",
            "{",
            "{}",
            ".}",
            "#g:{a}",
            "t:{a}",
            "lock:#g:{a}",
        ];
        let mut owner = HashMap::new();
        for key in keys {
            for name in names("lock", key) {
                assert_eq!(owner.insert(name.clone(), key), None, "{name}");
            }
        }
    }

    fn namespace() -> impl Strategy<Value = String> {
        "[a:gtp.]{1,4}"
    }

    /// Mostly braces and the letters that our names are made of.
    fn key() -> impl Strategy<Value = String> {
        prop_oneof!["[{}a:#gtp.]{1,8}", "\\PC{1,20}"]
    }

    proptest! {
        #[test]
        fn all_names_of_a_lock_are_in_one_slot(ns in namespace(), key in key()) {
            let slots: Vec<_> = names(&ns, &key).iter().map(|name| slot(name)).collect();
            prop_assert!(slots.iter().all(|other| *other == slots[0]), "{slots:?}");
        }

        #[test]
        fn a_key_decides_its_slot_as_it_would_in_redis(ns in namespace(), key in key()) {
            prop_assume!(has_hash_tag(&key) || !key.contains('}'));
            prop_assert_eq!(slot(&names(&ns, &key)[0]), slot(&key));
        }

        #[test]
        fn different_locks_never_share_a_name(
            a in (namespace(), key()), b in (namespace(), key())
        ) {
            prop_assume!(a != b);
            let of_a = names(&a.0, &a.1);
            for name in names(&b.0, &b.1) {
                prop_assert!(!of_a.contains(&name), "{name}");
            }
        }
    }
}
