//! The bounds of options, and the texts for a value out of bounds. The attribute has the same bounds and texts, for compile time;
//! the attribute cannot depend on this crate, so a test compares the two.

#![allow(
    missing_docs,
    reason = "public for that test alone; the names and texts say it all"
)]

use std::time::Duration;

pub const SHORTEST_LEASE: Duration = Duration::from_millis(100);
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
pub const TTL_TOO_SHORT: &str = "at least 100 ms, since a renewal must fit in";
pub const TTL_TOO_LONG: &str = "at most a year: it is how long a dead holder blocks others";
pub const WAIT_TOO_LONG: &str = "at most a year; use `Wait::Forever`";
pub const MAX_HOLD_OUT_OF_BOUNDS: &str = "from 100 ms to a year";
pub const MIN_HOLD_TOO_LONG: &str = "at most a year";
pub const SHORTEST_COMMAND: Duration = Duration::from_millis(10);
pub const LONGEST_COMMAND: Duration = Duration::from_secs(60);
pub const COMMAND_TIMEOUT_OUT_OF_BOUNDS: &str = "from 10 ms to a minute";
pub const LONGEST_NAMESPACE: usize = 128;
pub const NAMESPACE_LENGTH: &str = "1 to 128 bytes";
pub const NOT_IN_NAMESPACE: [char; 3] = ['{', '}', '#'];
pub const NAMESPACE_CHARACTERS: &str = "it must not contain `{`, `}` or `#`";
