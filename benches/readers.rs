//! A writer that wants in among many readers that overlap.

use std::{
    thread,
    time::{Duration, Instant},
};

use redis_lock::Mode;

use crate::{
    contender::{Contender, Retry, Settings},
    effort::Effort,
    fleet::Fleet,
    free::runtime,
    job::{Job, KEY, Turns},
    plot::distribution,
    report::{Section, Target},
    rhythm::Rhythm,
    server::Server,
    stats::{Rounds, percentile, short},
};

const READERS: u64 = 32;
const HOLD: Duration = Duration::from_millis(20);
/// Between two tries of the writer. Readers that it kept waiting come in together: until they are out of step again.
const BETWEEN: Duration = Duration::from_millis(100);
/// How long a writer that starves is watched. The default of `rds_lock`.
const LIMIT: Duration = Duration::from_secs(1);

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let ours = tries(server, Contender::Ours, effort.number(50));
    let peers = tries(server, Contender::RdsLock, effort.number(10));
    let mut section = Section::new("A writer among readers");
    section.paragraph(
        "32 readers in 2 processes hold a lock for 20 ms each, rest for 0 to 20 ms, and ask again, out of step: some of
        them hold it at any time. A writer in a third process asks, again and again. How long it waits, in holds of a
        reader (20 ms). It gives up after one second.",
    );
    let row = |name: &str, tries: &Tries| {
        vec![
            name.to_owned(),
            tries.holds.len().to_string(),
            tries.failed.to_string(),
            short(percentile(&tries.holds, 50.0)),
            short(percentile(&tries.holds, 100.0)),
        ]
    };
    section.table(
        &[
            "",
            "tries",
            "given up",
            "wait, p50, holds",
            "longest wait, holds",
        ],
        &[row("redis-lock", &ours), row("rds_lock", &peers)],
    );
    let title = "How long a writer waits among 32 readers";
    let curves = [
        ("redis-lock".to_owned(), ours.holds.clone()),
        ("rds_lock (gives up at 50)".to_owned(), peers.holds),
    ];
    let svg = distribution(title, "holds of a reader", &curves);
    section.plot("writer-wait", title, svg);
    section.targets.push(Target::always_below(
        "wait of a writer among 32 readers",
        2.0,
        "holds",
        &ours.holds.into_iter().collect::<Rounds>(),
    ));
    section
}

struct Tries {
    /// Each wait, as a multiple of a reader's hold.
    holds: Vec<f64>,
    failed: usize,
}

fn tries(server: &mut Server, contender: Contender, number: usize) -> Tries {
    server.empty();
    let settings = Settings {
        limit: Some(LIMIT),
        ..Settings::default()
    };
    let runtime = runtime(0);
    let client = runtime.block_on(contender.connect(&server.url, settings));
    let most = (BETWEEN + LIMIT) * u32::try_from(number).expect("a few");
    let readers = Job::Turns(Turns {
        contender,
        retry: Retry::Default,
        mode: Mode::Read,
        keys: 1,
        waiters: READERS / 2,
        rhythm: Rhythm::Loop {
            hold: HOLD,
            rest: (Duration::ZERO, HOLD),
        },
        time: most,
    });
    // They are ended with the fleet.
    let mut fleet = Fleet::start(&server.url, &[readers.clone(), readers]);
    fleet.go();
    thread::sleep(BETWEEN * 3);
    let key = format!("{KEY}:0");
    let mut tries = Tries {
        holds: Vec::new(),
        failed: 0,
    };
    for _ in 0..number {
        thread::sleep(BETWEEN);
        runtime.block_on(async {
            let asked = Instant::now();
            let held = client.acquire(&key, Mode::Write).await;
            let waited = asked.elapsed();
            tries.holds.push(waited.as_secs_f64() / HOLD.as_secs_f64());
            match held {
                Some(held) => held.release().await,
                None => tries.failed += 1,
            }
        });
    }
    tries
}
