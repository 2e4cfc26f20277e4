//! The names that a lock uses in Redis.

use std::sync::Arc;

use crate::values::key::Key;

/// The names of one lock in Redis, `namespace:#<role><kind>:<body>`.
///
/// 1. All names are in one hash slot: only the braces of the body can count, and all names have the same body.
/// 2. No two locks share a name. A namespace has no `#`, so the first `#` of a name ends the namespace; the kind says how the
///    body was made of the key, so the key can be read back.
/// 3. A key without braces is in the same slot as a Redis key of that text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Names {
    /// The first name. The other names differ from it in one byte.
    gate: Arc<str>,
    role_at: usize,
}

/// One letter for each key in Redis, in the order of the scripts' KEYS.
const ROLES: [char; 5] = ['g', 'h', 'q', 'w', 'r'];

impl Names {
    pub(crate) const COUNT: usize = ROLES.len();

    pub(crate) fn new(namespace: &str, key: &Key) -> Self {
        let role = ROLES[0];
        // Not the `Display`, which is for people.
        let key = key.as_str();
        let gate = if has_hash_tag(key) {
            format!("{namespace}:#{role}t:{key}")
        } else if key.starts_with('}') {
            // The key begins with `}`: plain braces around the key would be the empty tag, which is no tag.
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

    /// The namespace in a lock's first name.
    pub(crate) fn namespace_of(word: &str) -> &str {
        word.split_once(":#")
            .map_or(word, |(namespace, _)| namespace)
    }

    /// The first name.
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

    /// About how long all names are together.
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

    /// The slot of a name, as the specification of Redis Cluster says.
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

    /// Mostly braces, and the characters of our names.
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
