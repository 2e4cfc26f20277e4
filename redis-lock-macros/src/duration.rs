//! Lengths of time as people write them: `"500ms"`, `"30s"`, `"1m30s"`, `"1h"`.

use std::time::Duration;

/// The units, from long to short: the order in which they may follow each other.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Numbers with units, the longer unit first; the error says what is wrong with which part of `text`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.as_slice();
    loop {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(format!(
                "`{text}` is not a length of time: write a number with its unit, such as \"30s\""
            ));
        }
        if unit.is_empty() {
            return Err(format!(
                "`{number}` needs a unit: write \"{number}s\" for seconds, \"{number}ms\" for milliseconds"
            ));
        }
        let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(unknown_unit(unit));
        };
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(format!(
                "`{unit}` is out of place in `{text}`: each unit stands once, the longer one first, as in \"1m30s\""
            ));
        };
        units = &units[place + 1..];
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*millis)?.checked_add(total))
            .ok_or_else(|| format!("`{text}` is longer than can be counted in milliseconds"))?;
        if after.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = after;
    }
}

fn unknown_unit(unit: &str) -> String {
    let instead = match unit {
        "." | "," => "; only whole numbers can be written: \"1s500ms\" is one and a half seconds",
        _ if unit.chars().any(char::is_whitespace) => "; write it without spaces, as in \"1m30s\"",
        _ => "",
    };
    format!("unknown unit `{unit}`; the units are `h`, `m`, `s` and `ms`{instead}")
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1h2m3s4ms", 3_723_004),
            ("0s", 0),
            ("0m0s", 0),
            ("90m", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_explained() {
        for (text, part) in [
            ("", "write a number with its unit"),
            ("soon", "write a number with its unit"),
            ("-1s", "write a number with its unit"),
            ("30", "`30` needs a unit: write \"30s\""),
            ("1m30", "`30` needs a unit"),
            ("5sec", "unknown unit `sec`; the units are"),
            ("1.5s", "only whole numbers"),
            ("1m 30s", "without spaces"),
            ("30s1m", "`m` is out of place"),
            ("0s1s", "`s` is out of place"),
            ("18446744073709551615h", "longer than"),
            ("99999999999999999999s", "longer than"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
