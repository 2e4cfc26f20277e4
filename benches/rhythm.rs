//! When a waiter asks, and for how long it holds.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use crate::stats::float;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Rhythm {
    /// Again and again, each for itself.
    Loop {
        hold: Duration,
        /// Between giving back and asking again: at least the first, and spread up to the second.
        rest: (Duration, Duration),
    },
    /// All together, each once, and again when the next batch begins: between two holders of a batch, somebody waits
    /// and nobody newly comes.
    Batches {
        hold: Duration,
        /// They ask at any time within this. The first holder holds until all are there.
        spread: Duration,
        /// From one batch to the next.
        period: Duration,
    },
}

/// For everybody to be in line.
const LAST_TO_COME: Duration = Duration::from_millis(20);

impl Rhythm {
    /// When a waiter asks for its next turn. The start is about the same for all.
    pub(crate) fn next(self, start: Instant, waiter: u64, turn: u64) -> Instant {
        let now = Instant::now();
        let fraction = fraction(waiter, turn);
        match self {
            Rhythm::Loop { .. } if turn == 0 => now,
            Rhythm::Loop {
                rest: (least, most),
                ..
            } => now + least + most.saturating_sub(least).mul_f64(fraction),
            Rhythm::Batches { spread, period, .. } => {
                let elapsed = now.saturating_duration_since(start);
                let batches = elapsed.as_secs_f64() / period.as_secs_f64();
                start + period.mul_f64(batches.ceil()) + spread.mul_f64(fraction)
            }
        }
    }

    /// Until when a turn lasts.
    pub(crate) fn held_until(self, start: Instant) -> Instant {
        let now = Instant::now();
        match self {
            Rhythm::Loop { hold, .. } => now + hold,
            Rhythm::Batches {
                hold,
                spread,
                period,
            } => {
                let elapsed = now.saturating_duration_since(start);
                let batches = elapsed.as_secs_f64() / period.as_secs_f64();
                let all_there = start + period.mul_f64(batches.floor()) + spread + LAST_TO_COME;
                all_there.max(now + hold)
            }
        }
    }

    pub(crate) fn to_words(self) -> [String; 4] {
        match self {
            Rhythm::Loop { hold, rest } => [
                "loop".to_owned(),
                micros(hold),
                micros(rest.0),
                micros(rest.1),
            ],
            Rhythm::Batches {
                hold,
                spread,
                period,
            } => [
                "batches".to_owned(),
                micros(hold),
                micros(spread),
                micros(period),
            ],
        }
    }

    pub(crate) fn from_words(words: &[&str]) -> Self {
        match words[..] {
            ["loop", hold, least, most] => Rhythm::Loop {
                hold: duration(hold),
                rest: (duration(least), duration(most)),
            },
            ["batches", hold, spread, period] => Rhythm::Batches {
                hold: duration(hold),
                spread: duration(spread),
                period: duration(period),
            },
            _ => panic!("no such rhythm: {words:?}"),
        }
    }
}

/// From 0 to 1, as if by chance.
fn fraction(waiter: u64, turn: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (waiter, turn).hash(&mut hasher);
    // As many bits as a float has.
    float(hasher.finish() >> 11) / float(u64::MAX >> 11)
}

pub(crate) fn micros(duration: Duration) -> String {
    duration.as_micros().to_string()
}

pub(crate) fn duration(word: &str) -> Duration {
    Duration::from_micros(number(word))
}

pub(crate) fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}
