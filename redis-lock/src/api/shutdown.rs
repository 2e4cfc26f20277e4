//! The result of a shutdown.

use std::fmt;

use crate::values::{key::Key, text::Quoted};

/// What [`Locker::shutdown`](crate::Locker::shutdown) could not do in time.
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn f(locker: redis_lock::Locker) {
/// let shutdown = locker.shutdown(Duration::from_secs(10)).await;
/// if !shutdown.is_complete() {
///     eprintln!("{shutdown}"); // 1 lock ends with its ttl, since Redis has not confirmed its release: "order:42"
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// How many holds were lost, since the lock was not given back when the grace period ended.
    pub interrupted: usize,
    /// Locks whose release Redis has not confirmed. Such a lock ends with its ttl; while the process lives, the release is
    /// tried again in the background.
    pub left: Vec<Key>,
}

impl Shutdown {
    /// Whether Redis has confirmed that everything was given back.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 10;

        match self.left.len() {
            0 => f.write_str("everything was given back")?,
            1 => {
                f.write_str(
                    "1 lock ends with its ttl, since Redis has not confirmed its release:",
                )?;
            }
            count => write!(
                f,
                "{count} locks end with their ttl, since Redis has not confirmed their release:"
            )?,
        }
        for (index, key) in self.left.iter().take(NAMED).enumerate() {
            write!(f, "{} {}", if index > 0 { "," } else { "" }, Quoted(key))?;
        }
        if self.left.len() > NAMED {
            f.write_str(", …")?;
        }
        if self.interrupted > 0 {
            write!(f, "; {} holders were interrupted", self.interrupted)?;
        }
        Ok(())
    }
}
