//! The scripts on a real server against the store in memory: random commands of a few sessions, with leases that end, clocks
//! that are set, repeated and outdated commands. Every reply and the whole state afterwards must be the same.

#[path = "../../redis-lock/src/core/mod.rs"]
#[allow(dead_code, reason = "only the commands and views are needed")]
mod core;
#[path = "../../redis-lock/src/store/memory.rs"]
#[allow(dead_code, reason = "the library uses more of it")]
mod memory_store;
#[path = "../sim/random.rs"]
#[allow(dead_code, reason = "the simulator uses more of it")]
mod random;
#[path = "../../redis-lock/src/values/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    rustdoc::broken_intra_doc_links,
    reason = "the library uses more of them, and some are public there"
)]
mod values;
#[path = "../../redis-lock/src/store/redis/wire.rs"]
#[allow(dead_code, reason = "the library uses more of it")]
mod wire;

mod real;
mod sequence;

use std::{process::ExitCode, time::Instant};

use sequence::Sequence;

/// `conformance [sequences] [seed]`
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let count = words.next().and_then(Result::ok).unwrap_or(1000);
    let seed = words.next().and_then(Result::ok).unwrap_or(1);
    let started = Instant::now();
    let mut real = real::Real::start().await;
    let mut seen = sequence::Seen::default();
    for seed in seed..seed + count {
        if let Err(difference) = Sequence::new(seed).compare(&mut real, &mut seen).await {
            println!("seed {seed}: {difference}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{count} sequences in {:.1} s: {seen:?}",
        started.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scripts_do_what_the_store_in_memory_does() {
        let mut real = real::Real::start().await;
        let mut seen = sequence::Seen::default();
        for seed in 1..=600 {
            if let Err(difference) = Sequence::new(seed).compare(&mut real, &mut seen).await {
                panic!("seed {seed}: {difference}");
            }
        }
        println!("{seen:?}");
        assert!(seen.all(), "{seen:?}");
    }
}
