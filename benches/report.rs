//! What a benchmark has to say: sections with tables and plots, and targets that are met or not.

use std::fmt::Write;

use crate::stats::{Rounds, short};

/// What one benchmark found.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// Markdown.
    pub(crate) text: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) plots: Vec<Plot>,
}

pub(crate) struct Plot {
    /// Of the file, without its ending.
    pub(crate) name: &'static str,
    pub(crate) svg: String,
}

/// A promise, and what became of it.
pub(crate) struct Target {
    what: String,
    limit: String,
    measured: String,
    spread: String,
    met: bool,
}

impl Target {
    /// The median must not be above the limit.
    pub(crate) fn at_most(what: impl Into<String>, limit: f64, unit: &str, found: &Rounds) -> Self {
        Self::new(what, '≤', limit, unit, found, found.median() <= limit)
    }

    /// The median must not be below the limit.
    pub(crate) fn at_least(
        what: impl Into<String>,
        limit: f64,
        unit: &str,
        found: &Rounds,
    ) -> Self {
        Self::new(what, '≥', limit, unit, found, found.median() >= limit)
    }

    /// All must be below the limit; the worst is shown.
    pub(crate) fn always_below(
        what: impl Into<String>,
        limit: f64,
        unit: &str,
        found: &Rounds,
    ) -> Self {
        let mut target = Self::new(what, '<', limit, unit, found, found.max() < limit);
        target.limit.push_str(", always");
        target.measured = with_unit(found.max(), unit);
        target
    }

    fn new(
        what: impl Into<String>,
        sign: char,
        limit: f64,
        unit: &str,
        found: &Rounds,
        met: bool,
    ) -> Self {
        Target {
            what: what.into(),
            limit: if limit == 0.0 {
                "0".to_owned()
            } else {
                format!("{sign} {}", with_unit(limit, unit))
            },
            measured: with_unit(found.median(), unit),
            spread: found.spread(),
            met,
        }
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    let number = short(value);
    let number = match number.split_once('.') {
        Some((whole, "0" | "00")) => whole,
        _ => &number,
    };
    match unit {
        "" => number.to_owned(),
        "×" => format!("{number} ×"),
        unit => format!("{number} {unit}"),
    }
}

impl Section {
    pub(crate) fn new(title: &'static str) -> Self {
        Section {
            title,
            ..Section::default()
        }
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}\n", paragraph(text));
    }

    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let _ = writeln!(self.text, "{}", table(head, rows));
    }

    pub(crate) fn plot(&mut self, name: &'static str, title: &str, svg: String) {
        let _ = writeln!(self.text, "![{title}](benches/plots/{name}.svg)\n");
        self.plots.push(Plot { name, svg });
    }
}

/// In one line, however it is broken in the source.
pub(crate) fn paragraph(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ")
}

/// The first column is text, all others are numbers.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|", head.join(" | "));
    for i in 0..head.len() {
        text.push_str(if i == 0 { " --- |" } else { " ---: |" });
    }
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// The whole document.
pub(crate) fn document(preface: &str, sections: &[Section]) -> String {
    let mut text = format!("# Benchmarks\n\n{preface}\n\n## Targets\n\n");
    let targets = sections.iter().flat_map(|section| &section.targets);
    let rows: Vec<_> = targets
        .map(|target| {
            let met = if target.met { "yes" } else { "**no**" };
            vec![
                target.what.clone(),
                target.limit.clone(),
                target.measured.clone(),
                target.spread.clone(),
                met.to_owned(),
            ]
        })
        .collect();
    text += &table(&["what", "target", "measured", "spread", "met"], &rows);
    for section in sections {
        let _ = write!(
            text,
            "\n## {}\n\n{}",
            section.title,
            section.text.trim_end()
        );
        text.push('\n');
    }
    text
}
