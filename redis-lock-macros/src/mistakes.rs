//! How mistakes are collected and worded: all of them in one go, each with what to write instead.

use std::fmt::Display;

use proc_macro2::Span;
use syn::Error;

/// Every mistake found so far. Parsing and checking go on after one, so that nobody has to compile twice to see two.
#[derive(Default)]
pub(crate) struct Mistakes(Option<Error>);

impl Mistakes {
    pub(crate) fn add(&mut self, span: Span, message: impl Display) {
        self.push(Error::new(span, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, or `None` and one mistake more.
    pub(crate) fn ok<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// " (did you mean `name`?)", if one of the names is so near that it can only be a slip.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let slips = (written.chars().count() / 3).max(1);
    let (distance, nearest) = names
        .into_iter()
        .map(|name| (edit_distance(written, name), name))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= slips).then(|| format!(" (did you mean `{nearest}`?)"))
}

/// "`a`, `b` and `c`".
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() {
        last
    } else {
        format!("{} and {last}", names.join(", "))
    }
}

/// How many characters must be added, removed or replaced (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(edit_distance("key", "key"), 0);
        assert_eq!(edit_distance("kay", "key"), 1);
        assert_eq!(edit_distance("ky", "key"), 1);
        assert_eq!(edit_distance("", "key"), 3);
        assert_eq!(edit_distance("order_id", "ordr_ids"), 2);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["key", "mode", "wait"];
        assert_eq!(
            did_you_mean("keys", names).as_deref(),
            Some(" (did you mean `key`?)")
        );
        assert_eq!(did_you_mean("timeout", names), None);
        assert_eq!(did_you_mean("key", []), None);
    }

    #[test]
    fn lists_read_as_prose() {
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
