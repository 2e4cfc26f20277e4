//! Handing a lock over while others wait for it: between processes, and within one.

use std::time::Duration;

use crate::{
    contender::{Contender, Retry},
    effort::{Effort, rotated},
    report::{Section, Target},
    rhythm::Rhythm,
    scene::{Scene, idle_pings},
    server::Server,
    stats::{Rounds, count, percentile},
};

const WAITERS: [u64; 3] = [2, 16, 64];
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    contender: Contender,
    within_one: bool,
    waiters: u64,
    /// While holding; within one process also between turns.
    pause: Duration,
}

#[derive(Default)]
struct Cell {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    ping: Rounds,
    commands: Rounds,
    overtakes: usize,
}

/// Both in the same rounds, since one is compared with the other.
pub(crate) fn measure(server: &mut Server, effort: Effort) -> Vec<Section> {
    let cases = cases();
    let mut cells: Vec<Cell> = cases.iter().map(|_| Cell::default()).collect();
    let mut idle = Rounds::default();
    for round in 0..effort.rounds(ROUNDS) {
        idle.push(percentile(&idle_pings(server, effort.millis(300)), 50.0));
        for (i, case) in rotated(&cases, round) {
            cells[i].add(server, effort, case);
        }
    }
    let cell = |contender, within_one, waiters, pause| {
        let case = Case {
            contender,
            within_one,
            waiters,
            pause,
        };
        let position = cases.iter().position(|other| *other == case);
        &cells[position.expect("it is measured")]
    };
    let between = describe_between(
        |contender, waiters, pause| cell(contender, false, waiters, pause),
        &idle,
    );
    let mut within = describe_within(|waiters, pause| cell(Contender::Ours, true, waiters, pause));
    let no_pause = Duration::ZERO;
    within.targets.push(Target::at_least(
        "hand-overs per second, 64 waiters without pause: in one process ÷ between 4",
        10.0,
        "×",
        &cell(Contender::Ours, true, 64, no_pause)
            .rate
            .over(&cell(Contender::Ours, false, 64, no_pause).rate),
    ));
    vec![between, within]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for within_one in [false, true] {
        for waiters in WAITERS {
            for pause in PAUSES {
                cases.push(Case {
                    contender: Contender::Ours,
                    within_one,
                    waiters,
                    pause,
                });
                if !within_one {
                    cases.push(Case {
                        contender: Contender::Baton,
                        within_one,
                        waiters,
                        pause,
                    });
                }
            }
        }
    }
    cases
}

const PAUSES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(1)];

impl Cell {
    fn add(&mut self, server: &mut Server, effort: Effort, case: Case) {
        let rest = if case.within_one {
            case.pause
        } else {
            Duration::ZERO
        };
        let scene = Scene {
            contender: case.contender,
            retry: Retry::Default,
            processes: match case {
                Case {
                    within_one: true, ..
                } => 1,
                Case { waiters, .. } => waiters.min(4),
            },
            keys: 1,
            waiters: case.waiters,
            rhythm: Rhythm::Loop {
                hold: case.pause,
                rest: (rest, rest),
            },
            time: effort.millis(if case.within_one { 1000 } else { 1500 }),
        };
        let played = scene.play(server, effort);
        let turns = played.turns.in_window().count();
        let gaps = played.turns.gaps();
        self.rate.push(count(turns) / played.turns.seconds());
        self.p50.push(percentile(&gaps, 50.0));
        self.p99.push(percentile(&gaps, 99.0));
        self.ping.push(percentile(&played.pings, 50.0));
        let count = played.commands.sent_by(case.contender);
        self.commands.push(count.calls_per(turns));
        self.overtakes += played.turns.overtakes();
    }
}

fn pause_name(pause: Duration) -> &'static str {
    if pause.is_zero() {
        "no pause"
    } else {
        "1 ms held"
    }
}

fn describe_between<'a>(
    cell: impl Fn(Contender, u64, Duration) -> &'a Cell,
    idle: &Rounds,
) -> Section {
    let mut section = Section::new("Handing over between processes");
    section.paragraph(
        "2, 16 or 64 waiters in 2 or 4 processes, each in a loop: lock, hold (not at all, or 1 ms), unlock, lock again.
        The gap is the time from the call of `unlock` in one process to the return of `lock` in another one that
        waited already. Next to them an otherwise equal process sends a PING every 3 ms. The ratio is that of the
        medians of the same run. *Bare PUBLISH* is no lock: one script appends a name to a list, another takes the next
        name and publishes to it, both through redis-rs; it shows what a hand-over to another process costs at the least
        here. A PING wakes two sleeping processes, a hand-over three.",
    );
    section.paragraph(&format!(
        "With nobody else there, a PING takes {} µs (p50).",
        idle.shown()
    ));
    let mut rows = Vec::new();
    for pause in PAUSES {
        for waiters in WAITERS {
            let bare = cell(Contender::Baton, waiters, pause);
            let cell = cell(Contender::Ours, waiters, pause);
            let ratio = cell.p50.over(&cell.ping);
            rows.push(vec![
                format!("{waiters} waiters, {}", pause_name(pause)),
                cell.p50.shown(),
                cell.p99.shown(),
                cell.ping.shown(),
                ratio.shown(),
                bare.p50.shown(),
                cell.p50.over(&bare.p50).shown(),
                cell.commands.shown(),
                cell.rate.shown(),
            ]);
            section.targets.push(Target::at_most(
                format!(
                    "gap ÷ PING, between processes, p50: {waiters} waiters, {}",
                    pause_name(pause)
                ),
                1.5,
                "×",
                &ratio,
            ));
        }
    }
    for waiters in WAITERS {
        section.targets.push(Target::at_most(
            format!("commands per hand-over between processes: {waiters} waiters, 1 ms held"),
            3.0,
            "",
            &cell(Contender::Ours, waiters, PAUSES[1]).commands,
        ));
    }
    section.table(
        &[
            "",
            "gap p50, µs",
            "gap p99, µs",
            "PING p50, µs",
            "gap ÷ PING",
            "bare PUBLISH gap p50, µs",
            "gap ÷ that",
            "commands per hand-over",
            "hand-overs per second",
        ],
        &rows,
    );
    section
}

fn describe_within<'a>(cell: impl Fn(u64, Duration) -> &'a Cell) -> Section {
    let mut section = Section::new("Handing over within one process");
    section.paragraph(
        "The same with all waiters in one process, as tasks of a current-thread runtime on one connection; with a pause,
        they hold for 1 ms and rest for 1 ms before they ask again. *Overtakes* are holders that had asked later than
        the next one; tokens rose with every hand-over, or the measurement would have stopped.",
    );
    let mut rows = Vec::new();
    let mut overtakes = 0;
    for pause in PAUSES {
        for waiters in WAITERS {
            let cell = cell(waiters, pause);
            overtakes += cell.overtakes;
            rows.push(vec![
                format!("{waiters} waiters, {}", pause_name(pause)),
                cell.rate.shown(),
                cell.commands.shown(),
                cell.overtakes.to_string(),
            ]);
        }
    }
    section.table(
        &[
            "",
            "hand-overs per second",
            "commands per hand-over",
            "overtakes",
        ],
        &rows,
    );
    let overtakes: Rounds = [count(overtakes)].into_iter().collect();
    section.targets.push(Target::at_most(
        "overtakes within one process",
        0.0,
        "",
        &overtakes,
    ));
    section
}
