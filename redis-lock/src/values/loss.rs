//! Why a hold ended before its holder gave it back.

/// What ended a hold before it was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// No renewal was answered in time.
    Unreachable,
    /// This process stood still, so that no renewal was sent in time.
    Paused,
    /// The ttl is over, and `auto_extend` is off.
    TtlEnded,
    /// The hold has lasted for as long as `max_hold` allows.
    MaxHold,
    /// The store does not know the grant any more.
    Forgotten,
    /// A foreign value is at one of the lock's names.
    Replaced,
    /// The Locker has been shut down.
    ShutDown,
}
