//! How long and how often: in full, or only to see that everything runs.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Quick,
}

impl Effort {
    pub(crate) fn rounds(self, full: usize) -> usize {
        match self {
            Effort::Full => full,
            Effort::Quick => 1,
        }
    }

    pub(crate) fn millis(self, full: u64) -> Duration {
        Duration::from_millis(match self {
            Effort::Full => full,
            Effort::Quick => (full / 8).max(60),
        })
    }

    pub(crate) fn number(self, full: usize) -> usize {
        match self {
            Effort::Full => full,
            Effort::Quick => full / 10,
        }
    }
}

/// All of them, beginning with another one in each round, so that none is always measured behind the same.
pub(crate) fn rotated<T: Copy>(all: &[T], round: usize) -> impl Iterator<Item = (usize, T)> {
    let order = (0..all.len()).map(move |i| (i + round) % all.len());
    order.map(|i| (i, all[i]))
}
