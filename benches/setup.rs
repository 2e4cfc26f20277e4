//! The head of the report: what was measured, where, and how.

use std::{fs, thread::available_parallelism};

use crate::{report::paragraph, server::Server};

/// Versions are those that were really built.
const LOCK_FILE: &str = include_str!("../Cargo.lock");

pub(crate) fn preface(server: &mut Server, date: &str) -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let versions: Vec<_> = ["redis", "tokio", "rds_lock", "async-redis-lock", "rslock"]
        .iter()
        .map(|name| format!("{name} {}", versions(name).join(" and ")))
        .collect();
    let what = format!(
        "Measured on {date} with `scripts/bench`, which starts a Redis of its own ({}, nothing saved, loopback) and
        writes this file: on a machine with {cores} cores ({}) that the server, all clients and the measurement share.
        {}; the older redis is the one that `rds_lock` uses.",
        server.version(),
        processor(),
        versions.join(", "),
    );
    let how = "Everything is measured in several rounds, in which those that are compared take turns, in another order
        in each round. A number is the median over the rounds, and in parentheses the smallest and the largest; a ratio
        is taken within each round, and then the median of the ratios. Each measurement has a warm-up, an empty server
        and a release build; what was measured only once says so. All contenders have their default settings, except
        that they wait for the lock without a limit, and where something else is said (rslock has no default ttl and
        gets ours, 10 s). Processes other than the measurement itself are real ones, each with a
        current-thread runtime and one connection; their times are of `CLOCK_MONOTONIC`, which they share.";
    let again = "To measure again, on Debian with Rust: `scripts/bench`. On two cores without other load it takes less than
        ten minutes with building. `scripts/bench --quick` only shows that all of it runs; `scripts/bench free cost`
        measures these items and prints them.";
    [paragraph(&what), paragraph(how), paragraph(again)].join("\n\n")
}

/// Of a package that is in the lock file, all of them.
fn versions(name: &str) -> Vec<&'static str> {
    let head = format!("name = \"{name}\"");
    let mut lines = LOCK_FILE.lines();
    let mut found = Vec::new();
    while lines.by_ref().any(|line| line == head) {
        let version = lines
            .next()
            .and_then(|line| line.strip_prefix("version = "));
        found.extend(version.map(|version| version.trim_matches('"')));
    }
    found.reverse();
    found
}

/// What the processors call themselves.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}
