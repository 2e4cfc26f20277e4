//! Medians, percentiles and ratios, and how numbers are written.

/// What was measured, once in each round, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        percentile(&self.0, 50.0)
    }

    pub(crate) fn min(&self) -> f64 {
        percentile(&self.0, 0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        percentile(&self.0, 100.0)
    }

    /// The ratio within each round: what changes from round to round (other load, the weather) is in both.
    pub(crate) fn over(&self, other: &Rounds) -> Rounds {
        let pairs = self.0.iter().zip(&other.0);
        Rounds(pairs.map(|(a, b)| a / b).collect())
    }

    /// `median (min–max)`
    pub(crate) fn shown(&self) -> String {
        format!("{} ({})", short(self.median()), self.spread())
    }

    /// `min–max`; of a single round, that it was one.
    pub(crate) fn spread(&self) -> String {
        match self.0.len() {
            0 | 1 => "one run".to_owned(),
            _ => format!("{}–{}", short(self.min()), short(self.max())),
        }
    }
}

impl FromIterator<f64> for Rounds {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Rounds(values.into_iter().collect())
    }
}

/// Between neighbours it is interpolated. Of nothing it is not a number, which meets no target.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = count(last) * percent / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the length"
    )]
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    let fraction = at - at.floor();
    if fraction == 0.0 {
        sorted[below]
    } else {
        sorted[below] * (1.0 - fraction) + sorted[above] * fraction
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of minutes are far below 2^53"
)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn count(number: usize) -> f64 {
    float(number as u64)
}

/// Three digits that count, or all that are in front of the point, in groups.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "–".to_owned()
    } else if value.is_infinite() {
        "∞".to_owned()
    } else if size >= 99.95 {
        grouped(&format!("{value:.0}"))
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
