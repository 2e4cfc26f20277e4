//! Why a hold ended before its holder gave it back.

use std::{error, fmt};

/// Why a hold ended before it was given back.
///
/// ```
/// use redis_lock::Loss;
///
/// assert_eq!(Loss::MaxHold.to_string(), "it was held for as long as `max_hold` allows");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// No renewal was answered in time: Redis was out of reach, or refused, until the lease had ended.
    Unreachable,
    /// This process stood still, so that no renewal was sent before the lease had ended.
    Paused,
    /// The ttl is over, and [`auto_extend`](crate::Locker::auto_extend) is off.
    TtlEnded,
    /// The lock was held for as long as [`max_hold`](crate::Locker::max_hold) allows.
    MaxHold,
    /// Redis does not know the hold any more: Redis was restarted, failed over or flushed, or the lock was taken away by hand.
    Forgotten,
    /// A value that this crate did not write is at one of the lock's names.
    Replaced,
    /// The Locker has been shut down, and the time that holders were given is over.
    ShutDown,
    /// A future that runs inside an outer hold was moved to another task, where the outer hold may end at any time.
    LeftScope,
}

/// Written by hand: the simulator compiles this file, and has no dependencies.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Unreachable => {
                "Redis was out of reach, or refused to renew it, until its lease had ended"
            }
            Loss::Paused => "this process stood still until its lease had ended",
            Loss::TtlEnded => "its ttl is over and `auto_extend` is off",
            Loss::MaxHold => "it was held for as long as `max_hold` allows",
            Loss::Forgotten => "Redis no longer knows it",
            Loss::Replaced => "a value that is not a lock's has replaced it in Redis",
            Loss::ShutDown => "this locker has been shut down",
            Loss::LeftScope => "it ran inside an outer hold, and was carried out of that",
        })
    }
}

impl error::Error for Loss {}
