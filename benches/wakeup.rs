//! How soon a waiter gets a lock that has become free: this library, which is woken, and those that poll.

use std::time::Duration;

use crate::{
    contender::{Contender, Retry},
    effort::{Effort, rotated},
    plot::distribution,
    report::Section,
    rhythm::Rhythm,
    scene::Scene,
    server::Server,
    stats::{Rounds, percentile},
};

/// In batches. In a loop, whoever gives a lock back and asks again at once mostly gets it again where there is no
/// order of arrival, and nobody is woken.
struct Case {
    title: &'static str,
    plot: &'static str,
    processes: u64,
    keys: u64,
    waiters: u64,
    period: Duration,
    batches: u32,
}

const CASES: [Case; 2] = [
    Case {
        title: "2 waiters in 2 processes",
        plot: "wake-up-2",
        processes: 2,
        keys: 16,
        waiters: 2,
        period: Duration::from_millis(350),
        batches: 6,
    },
    Case {
        title: "16 waiters in 4 processes",
        plot: "wake-up-16",
        processes: 4,
        keys: 2,
        waiters: 16,
        period: Duration::from_millis(650),
        batches: 3,
    },
];

/// As long as the pause of most of those that poll, so that they are as much out of step as they can be.
const SPREAD: Duration = Duration::from_millis(100);

const CONTENDERS: [(Contender, Retry); 7] = [
    (Contender::Ours, Retry::Default),
    (Contender::RdsLock, Retry::Default),
    (Contender::AsyncRedisLock, Retry::Default),
    (Contender::Rslock, Retry::Default),
    (Contender::RdsLock, Retry::Shortest),
    (Contender::AsyncRedisLock, Retry::Shortest),
    (Contender::Rslock, Retry::Shortest),
];

#[derive(Default)]
struct Cell {
    p50: Rounds,
    p99: Rounds,
    commands: Rounds,
    /// Of all rounds, in µs.
    gaps: Vec<f64>,
}

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let mut section = Section::new("Waking up");
    section.paragraph(
        "The gap as above, from the call of `unlock` in one process to the return of `lock` in another, but with the
        others for comparison, as they come (they ask again every 100 ms; rslock after 0 to 199 ms) and with the
        shortest pause between two tries that they take (1 ms; rslock 0 or 1 ms). They keep no order of arrival: who
        asks again at once mostly gets the lock back. So that it is handed over at all, the waiters come in batches:
        all ask within 100 ms, the first holds until the last is there, all others for 1 ms, and each comes back only
        with the next batch. This is on 16 locks side by side with 2 waiters, on 2 with 16.",
    );
    for case in CASES {
        let mut cells: Vec<Cell> = CONTENDERS.iter().map(|_| Cell::default()).collect();
        for round in 0..effort.rounds(2) {
            for (i, (contender, retry)) in rotated(&CONTENDERS, round) {
                cells[i].add(&case, contender, retry, server, effort);
            }
        }
        describe(&mut section, &case, cells);
    }
    section
}

impl Cell {
    fn add(
        &mut self,
        case: &Case,
        contender: Contender,
        retry: Retry,
        server: &mut Server,
        effort: Effort,
    ) {
        let scene = Scene {
            contender,
            retry,
            processes: case.processes,
            keys: case.keys,
            waiters: case.waiters,
            rhythm: Rhythm::Batches {
                hold: Duration::from_millis(1),
                spread: SPREAD,
                period: case.period,
            },
            time: match effort {
                Effort::Full => case.period * case.batches,
                Effort::Quick => case.period * 2,
            },
        };
        let played = scene.play(server, effort);
        let gaps = played.turns.gaps();
        self.p50.push(percentile(&gaps, 50.0) / 1e3);
        self.p99.push(percentile(&gaps, 99.0) / 1e3);
        let count = played.commands.sent_by(contender);
        let turns = played.turns.in_window().count();
        self.commands.push(count.calls_per(turns));
        self.gaps.extend(gaps);
    }
}

fn describe(section: &mut Section, case: &Case, cells: Vec<Cell>) {
    let label = |(contender, retry): (Contender, Retry)| match retry {
        Retry::Default => contender.name().to_owned(),
        Retry::Shortest => format!("{}, shortest pause", contender.name()),
    };
    let rows: Vec<_> = CONTENDERS
        .iter()
        .zip(&cells)
        .map(|(contender, cell)| {
            vec![
                label(*contender),
                cell.gaps.len().to_string(),
                cell.p50.shown(),
                cell.p99.shown(),
                cell.commands.shown(),
            ]
        })
        .collect();
    section.paragraph(&format!("### {}", case.title));
    section.table(
        &[
            "",
            "hand-overs",
            "gap p50, ms",
            "gap p99, ms",
            "commands per hand-over",
        ],
        &rows,
    );
    let curves: Vec<_> = CONTENDERS
        .iter()
        .zip(cells)
        .map(|(contender, cell)| (label(*contender), cell.gaps))
        .filter(|(_, gaps)| !gaps.is_empty())
        .map(|(label, gaps)| (label, gaps.iter().map(|gap| gap / 1e3).collect()))
        .collect();
    let title = format!("Wake-up: {}", case.title);
    let svg = distribution(&title, "ms from unlock to the next holder", &curves);
    section.plot(case.plot, &title, svg);
}
