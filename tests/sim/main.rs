//! The simulator: several sessions and one lock, over connections that delay, lose, repeat and reorder, with crashes,
//! pauses, tasks that are not polled, and a server that forgets, fails over and has its clock set.
//!
//! A seed decides everything, so a run can be repeated. A run that fails is made smaller and printed as a story.

// The core and the store in memory are the library's. This program has no dependencies, so they have none either.
#[path = "../../redis-lock/src/core/mod.rs"]
#[allow(dead_code, reason = "the shell uses more of it")]
mod core;
#[path = "../../redis-lock/src/store/memory.rs"]
#[allow(dead_code, reason = "the library uses more of it")]
mod memory_store;
#[path = "../../redis-lock/src/values/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    rustdoc::broken_intra_doc_links,
    reason = "the library uses more of them, and some are public there"
)]
mod values;

mod plan;
mod random;
mod shrink;
mod world;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use plan::Plan;

fn main() -> ExitCode {
    let mut seed = 1;
    let mut count = u64::MAX;
    let mut limit = Duration::from_secs(60);
    let mut tells = false;
    let mut turns = 0;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--story" {
            tells = true;
            continue;
        }
        let value = words.next().unwrap_or_default();
        let number = value.trim_end_matches(['s', 'm', 'h']).parse::<u64>();
        match (word.as_str(), number) {
            ("--seed", Ok(number)) => seed = number,
            ("--count", Ok(number)) => count = number,
            ("--for", Ok(number)) => {
                let unit = match value.chars().last() {
                    Some('m') => 60,
                    Some('h') => 3600,
                    _ => 1,
                };
                limit = Duration::from_secs(number * unit);
            }
            _ => {
                eprintln!("usage: simulate [--seed N] [--count N] [--for 10m] [--story]");
                return ExitCode::from(2);
            }
        }
    }
    let started = Instant::now();
    let mut seen = world::Seen::default();
    let mut done = 0;
    while done < count && started.elapsed() < limit {
        let plan = Plan::from_seed(seed);
        let Ok(run) = world::run(&plan, tells) else {
            println!("{}", shrink::story(plan));
            println!("to see this run again: scripts/simulate --seed {seed} --count 1");
            return ExitCode::FAILURE;
        };
        for line in &run.story {
            println!("{line}");
        }
        seen.add(&run.seen);
        turns += run.turns.len();
        seed += 1;
        done += 1;
    }
    println!(
        "{done} schedules in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    println!("{turns} turns, {seen:?}");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
