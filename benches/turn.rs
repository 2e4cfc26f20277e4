//! One turn with a lock as its holder saw it, and what follows from many of them.

use std::ops::Range;

use crate::stats::{count, float};

/// Times are of the clock of [`crate::clock::now`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) process: usize,
    pub(crate) waiter: u64,
    pub(crate) key: u64,
    pub(crate) asked: u64,
    /// Later than everything if the run ended before.
    pub(crate) acquired: u64,
    pub(crate) unlocking: u64,
    /// 0 of contenders that have none.
    pub(crate) token: u64,
}

impl Turn {
    /// It was still waited for in the end.
    pub(crate) fn in_vain(waiter: u64, key: u64, asked: u64) -> Self {
        Turn {
            process: 0,
            waiter,
            key,
            asked,
            acquired: u64::MAX,
            unlocking: u64::MAX,
            token: 0,
        }
    }

    pub(crate) fn to_line(self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.waiter, self.key, self.asked, self.acquired, self.unlocking, self.token
        )
    }

    pub(crate) fn from_line(process: usize, line: &str) -> Self {
        let numbers = line.split(' ').map(|word| word.parse().expect("a number"));
        let numbers: Vec<u64> = numbers.collect();
        let [waiter, key, asked, acquired, unlocking, token] = numbers[..] else {
            panic!("not a turn: {line}");
        };
        Turn {
            process,
            waiter,
            key,
            asked,
            acquired,
            unlocking,
            token,
        }
    }
}

/// All turns of a run, of each key in the order of acquisition.
pub(crate) struct Turns {
    all: Vec<Turn>,
    /// Behind the warm-up, and before the first waiters leave.
    window: Range<u64>,
}

impl Turns {
    pub(crate) fn new(mut all: Vec<Turn>, window: Range<u64>) -> Self {
        all.sort_by_key(|turn| (turn.key, turn.acquired));
        let turns = Turns { all, window };
        for (one, next) in turns.neighbours() {
            assert!(one.unlocking < next.acquired, "two held the lock at once");
            assert!(
                one.token == 0 || one.token < next.token,
                "a token is not new"
            );
        }
        turns
    }

    pub(crate) fn seconds(&self) -> f64 {
        float(self.window.end - self.window.start) / 1e9
    }

    pub(crate) fn in_window(&self) -> impl Iterator<Item = &Turn> {
        let turns = self.all.iter();
        turns.filter(|turn| self.window.contains(&turn.acquired))
    }

    /// From asking for a hand-over to its end, in µs: the next holder, in another process, waited already.
    pub(crate) fn gaps(&self) -> Vec<f64> {
        self.neighbours()
            .filter(|(one, next)| one.process != next.process && next.asked <= one.unlocking)
            .map(|(one, next)| float(next.acquired - one.unlocking) / 1e3)
            .collect()
    }

    /// From one acquisition to the next, in µs, on average.
    pub(crate) fn mean_cycle(&self) -> f64 {
        self.seconds() * 1e6 / count(self.in_window().count())
    }

    /// Of all that waited for some of the time, in µs; not what they waited behind it.
    pub(crate) fn waits(&self) -> Vec<f64> {
        let end = self.window.end;
        let turns = self.all.iter();
        turns
            .filter(|turn| turn.asked < end && turn.acquired > self.window.start)
            .map(|turn| float(turn.acquired.min(end) - turn.asked) / 1e3)
            .collect()
    }

    /// How often somebody got the lock who had asked later than the one that got it next.
    pub(crate) fn overtakes(&self) -> usize {
        let neighbours = self.neighbours();
        neighbours
            .filter(|(one, next)| one.asked > next.asked)
            .count()
    }

    fn neighbours(&self) -> impl Iterator<Item = (&Turn, &Turn)> {
        let pairs = self.all.iter().zip(self.all.iter().skip(1));
        pairs.filter(|(one, next)| {
            one.key == next.key
                && self.window.contains(&one.acquired)
                && self.window.contains(&next.acquired)
        })
    }
}
