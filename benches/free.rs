//! A lock that is free: how fast it is taken and given back.

use std::time::{Duration, Instant};

use redis_lock::Mode;
use tokio::runtime::{Builder, Runtime};

use crate::{
    contender::{Client, Contender, Settings},
    effort::{Effort, rotated},
    plot::{Bar, bars},
    report::{Section, Target},
    server::Server,
    stats::{Rounds, count, percentile},
};

/// Where it runs.
#[derive(Clone, Copy)]
struct Setting {
    title: &'static str,
    /// 0: all on the thread that measures.
    threads: usize,
    tasks: usize,
    rounds: usize,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        title: "1 task, current-thread runtime",
        threads: 0,
        tasks: 1,
        rounds: 14,
    },
    Setting {
        title: "64 tasks, current-thread runtime",
        threads: 0,
        tasks: 64,
        rounds: 14,
    },
    Setting {
        title: "1 task, multi-thread runtime with 2 workers",
        threads: 2,
        tasks: 1,
        rounds: 7,
    },
    Setting {
        title: "64 tasks, multi-thread runtime with 2 workers",
        threads: 2,
        tasks: 64,
        rounds: 7,
    },
];

const PLOTS: [Option<&str>; 4] = [Some("free-1"), Some("free-64"), None, None];

/// One contender in one setting.
#[derive(Default)]
struct Cell {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
}

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let mut section = Section::new("Taking and giving back a free lock");
    section.paragraph(
        "Every task takes and gives back a write lock again and again, each time with a new key; all tasks share one
        connection. *Bare* is no library at all: the commands that this library sends for a free lock (the same
        scripts, KEYS and ARGV), or a script `return 1` with the same KEYS and ARGV, through a `ConnectionManager`.
        Ratios are of the rates, within each round.",
    );
    for (setting, plot) in SETTINGS.into_iter().zip(PLOTS) {
        let cells = measure_setting(server, effort, setting);
        describe(&mut section, setting, &cells, plot);
    }
    section
}

fn measure_setting(server: &mut Server, effort: Effort, setting: Setting) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Contender::FREE.iter().map(|_| Cell::default()).collect();
    for round in 0..effort.rounds(setting.rounds) {
        for (i, contender) in rotated(&Contender::FREE, round) {
            server.empty();
            let runtime = runtime(setting.threads);
            let client = runtime.block_on(contender.connect(&server.url, Settings::default()));
            run(&runtime, &client, setting.tasks, effort.millis(80));
            let pairs = run(&runtime, &client, setting.tasks, effort.millis(200));
            cells[i].rate.push(pairs.per_second);
            cells[i].p50.push(percentile(&pairs.micros, 50.0));
            cells[i].p99.push(percentile(&pairs.micros, 99.0));
        }
    }
    cells
}

fn describe(section: &mut Section, setting: Setting, cells: &[Cell], plot: Option<&'static str>) {
    let cell = |contender| {
        let position = Contender::FREE.iter().position(|other| *other == contender);
        &cells[position.expect("all are measured")]
    };
    let ours = cell(Contender::Ours);
    let bare = cell(Contender::SameScripts);
    let rows: Vec<_> = Contender::FREE
        .iter()
        .map(|contender| {
            let cell = cell(*contender);
            vec![
                contender.name().to_owned(),
                cell.rate.shown(),
                cell.p50.shown(),
                cell.p99.shown(),
                cell.rate.over(&bare.rate).shown(),
                ours.rate.over(&cell.rate).shown(),
            ]
        })
        .collect();
    section.paragraph(&format!("### {}", setting.title));
    section.table(
        &[
            "",
            "pairs per second",
            "p50, µs",
            "p99, µs",
            "rate ÷ bare",
            "our rate ÷ its",
        ],
        &rows,
    );
    if let Some(name) = plot {
        let bars: Vec<_> = Contender::FREE
            .iter()
            .map(|contender| Bar {
                label: contender.name().to_owned(),
                value: cell(*contender).rate.median(),
                spread: (cell(*contender).rate.min(), cell(*contender).rate.max()),
                ours: contender.is_ours(),
            })
            .collect();
        let title = format!("Free lock, {}", setting.title);
        section.plot(name, &title, self::bars(&title, "pairs per second", &bars));
    }
    section.targets.push(Target::at_least(
        format!("free lock, rate ÷ bare same scripts: {}", setting.title),
        0.95,
        "×",
        &ours.rate.over(&bare.rate),
    ));
    let fastest = Contender::PEERS.into_iter().max_by(|a, b| {
        let rate = |contender: &Contender| cell(*contender).rate.median();
        rate(a).total_cmp(&rate(b))
    });
    let fastest = fastest.expect("there are peers");
    section.targets.push(Target::at_least(
        format!(
            "free lock, rate ÷ fastest peer ({}): {}",
            fastest.name(),
            setting.title
        ),
        1.0,
        "×",
        &ours.rate.over(&cell(fastest).rate),
    ));
}

struct Pairs {
    per_second: f64,
    /// Of each pair.
    micros: Vec<f64>,
}

fn run(runtime: &Runtime, client: &Client, tasks: usize, time: Duration) -> Pairs {
    runtime.block_on(async {
        let started = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|task| tokio::spawn(take_turns(client.clone(), task, started + time)))
            .collect();
        let mut micros = Vec::new();
        for task in tasks {
            micros.extend(task.await.expect("no task fails"));
        }
        Pairs {
            per_second: count(micros.len()) / started.elapsed().as_secs_f64(),
            micros,
        }
    })
}

/// Takes and gives back until the time is up. What each pair took, in µs.
async fn take_turns(client: Client, task: usize, end: Instant) -> Vec<f64> {
    let mut micros = Vec::new();
    loop {
        let key = format!("free:{task:02}:{:05}", micros.len());
        let started = Instant::now();
        let held = client.acquire(&key, Mode::Write).await;
        held.expect("the lock is free").release().await;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
        if Instant::now() >= end {
            return micros;
        }
    }
}

pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build().expect("a runtime starts")
}
