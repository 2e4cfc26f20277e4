//! The bounds of options, and what is said of a value beyond them: as `redis_lock` has them, which this crate cannot
//! depend on. A test compares.

use std::time::Duration;

pub(crate) const SHORTEST_LEASE: Duration = Duration::from_millis(100);
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
pub(crate) const TTL_TOO_SHORT: &str = "at least 100 ms, since a renewal must fit in";
pub(crate) const TTL_TOO_LONG: &str = "at most a year: it is how long a dead holder blocks others";
pub(crate) const WAIT_TOO_LONG: &str = "at most a year; use `Wait::Forever`";
pub(crate) const MAX_HOLD_OUT_OF_BOUNDS: &str = "from 100 ms to a year";
pub(crate) const MIN_HOLD_TOO_LONG: &str = "at most a year";
pub(crate) const SHORTEST_COMMAND: Duration = Duration::from_millis(10);
pub(crate) const LONGEST_COMMAND: Duration = Duration::from_secs(60);
pub(crate) const COMMAND_TIMEOUT_OUT_OF_BOUNDS: &str = "from 10 ms to a minute";
pub(crate) const LONGEST_NAMESPACE: usize = 128;
pub(crate) const NAMESPACE_LENGTH: &str = "1 to 128 bytes";
pub(crate) const NOT_IN_NAMESPACE: [char; 3] = ['{', '}', '#'];
pub(crate) const NAMESPACE_CHARACTERS: &str = "it must not contain `{`, `}` or `#`";

#[cfg(test)]
mod tests {
    use redis_lock::__private::bounds as library;

    #[test]
    fn the_bounds_are_those_of_the_library() {
        assert_eq!(super::SHORTEST_LEASE, library::SHORTEST_LEASE);
        assert_eq!(super::LONGEST, library::LONGEST);
        assert_eq!(super::TTL_TOO_SHORT, library::TTL_TOO_SHORT);
        assert_eq!(super::TTL_TOO_LONG, library::TTL_TOO_LONG);
        assert_eq!(super::WAIT_TOO_LONG, library::WAIT_TOO_LONG);
        assert_eq!(
            super::MAX_HOLD_OUT_OF_BOUNDS,
            library::MAX_HOLD_OUT_OF_BOUNDS
        );
        assert_eq!(super::MIN_HOLD_TOO_LONG, library::MIN_HOLD_TOO_LONG);
        assert_eq!(super::SHORTEST_COMMAND, library::SHORTEST_COMMAND);
        assert_eq!(super::LONGEST_COMMAND, library::LONGEST_COMMAND);
        assert_eq!(
            super::COMMAND_TIMEOUT_OUT_OF_BOUNDS,
            library::COMMAND_TIMEOUT_OUT_OF_BOUNDS
        );
        assert_eq!(super::LONGEST_NAMESPACE, library::LONGEST_NAMESPACE);
        assert_eq!(super::NAMESPACE_LENGTH, library::NAMESPACE_LENGTH);
        assert_eq!(super::NOT_IN_NAMESPACE, library::NOT_IN_NAMESPACE);
        assert_eq!(super::NAMESPACE_CHARACTERS, library::NAMESPACE_CHARACTERS);
    }
}
