//! The name of a session. To Redis, sessions hold locks and wait for locks.

use std::fmt;

/// Random, so that no two processes can be confused. A session's channel of pushes has the session's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u128);

impl SessionId {
    /// In hexadecimal, always 32 digits.
    pub(crate) fn digits(self) -> Digits {
        let mut digits = [0; 32];
        for (place, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            place[0] = HEX[usize::from(byte >> 4)];
            place[1] = HEX[usize::from(byte & 15)];
        }
        Digits(digits)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(crate) struct Digits([u8; 32]);

impl Digits {
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits().as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a session hears of its grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pushes {
    /// Not by push: the session asks again and again.
    None,
    /// By push, and `PUBLISH` counts receivers: without a receiver the session's connection is lost.
    Counted,
    /// By push, but the count of `PUBLISH` says nothing: in a Redis Cluster another node may have the subscriber.
    Uncounted,
}
