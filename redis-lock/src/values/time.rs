//! Points in time: a type for the local clock, and a type for the server's clock. The two are never compared.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A point on this process's monotonic clock, in microseconds since some origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time(pub(crate) u64);

/// A point on the server's wall clock, in microseconds since 1970. The server's clock may be set back or forth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerTime(pub(crate) u64);

impl Time {
    /// The time from `earlier` to this time; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl ServerTime {
    /// The time from `earlier` to this time; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: ServerTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Whole microseconds, rounded down, and at most `u64::MAX`.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded up: what is left of a lease must not become nothing before its time.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(micros(duration)))
    }
}

impl Add<Duration> for ServerTime {
    type Output = ServerTime;

    fn add(self, duration: Duration) -> ServerTime {
        ServerTime(self.0.saturating_add(micros(duration)))
    }
}

/// In seconds.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
