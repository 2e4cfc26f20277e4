//! Pauses between attempts. Pauses grow, so that a server which is away is not asked all the time, and have jitter, so that many
//! clients do not come back in the same instant.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Pauses {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// `first`, twice that, and so on up to `longest`, each shortened by up to a half.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Pauses {
            first,
            next: first,
            longest,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// An attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_the_longest_and_begin_anew_after_a_success() {
        let millis = Duration::from_millis;
        let mut pauses = Pauses::new(millis(20), millis(100));
        for length in [20, 40, 80, 100, 100] {
            let pause = pauses.next();
            assert!(
                pause >= millis(length) / 2 && pause < millis(length),
                "{pause:?} of {length}"
            );
        }
        pauses.reset();
        assert!(pauses.next() < millis(20));
    }
}
