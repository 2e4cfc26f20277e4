//! Whether a lock is shared or exclusive.

use std::fmt;

/// How a lock is held: shared by readers, or by one writer alone.
///
/// ```
/// use redis_lock::Mode;
///
/// assert_eq!(Mode::W, Mode::Write);
/// assert_eq!(Mode::from(&Mode::R), Mode::Read);
/// assert_eq!(Mode::default(), Mode::Write);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Shared: any number of readers at a time, and no writer.
    Read,
    /// Exclusive: one writer alone. The default, since this is the safe choice.
    #[default]
    Write,
}

impl Mode {
    /// [`Mode::Read`], for short.
    pub const R: Mode = Mode::Read;
    /// [`Mode::Write`], for short.
    pub const W: Mode = Mode::Write;

    /// The letter that the scripts know this mode by.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Mode::Read => "r",
            Mode::Write => "w",
        }
    }
}

impl From<&Mode> for Mode {
    fn from(mode: &Mode) -> Self {
        *mode
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Read => "read",
            Mode::Write => "write",
        })
    }
}
