//! Many waiters for one lock: whether all get the same, and nobody waits for long.

use std::{collections::HashMap, time::Duration};

use crate::{
    contender::{Contender, Retry},
    effort::{Effort, rotated},
    report::{Section, Target},
    rhythm::Rhythm,
    scene::Scene,
    server::Server,
    stats::{Rounds, float, percentile},
    turn::Turns,
};

const WAITERS: u64 = 64;
const PROCESSES: u64 = 4;

const CASES: [(Contender, Duration); 4] = [
    (Contender::Ours, Duration::from_millis(1)),
    (Contender::Ours, Duration::ZERO),
    (Contender::RdsLock, Duration::from_millis(1)),
    (Contender::AsyncRedisLock, Duration::from_millis(1)),
];

#[derive(Default)]
struct Cell {
    most: Rounds,
    fewest: Rounds,
    shares: Rounds,
    waits: Rounds,
}

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let mut cells: Vec<Cell> = CASES.iter().map(|_| Cell::default()).collect();
    for round in 0..effort.rounds(3) {
        for (i, (contender, hold)) in rotated(&CASES, round) {
            // Those that poll are only here to compare.
            if contender == Contender::Ours || round == 0 {
                let scene = Scene {
                    contender,
                    retry: Retry::Default,
                    processes: PROCESSES,
                    keys: 1,
                    waiters: WAITERS,
                    rhythm: Rhythm::Loop {
                        hold,
                        rest: (Duration::ZERO, Duration::ZERO),
                    },
                    time: effort.millis(if hold.is_zero() { 2000 } else { 4000 }),
                };
                cells[i].add(&scene.play(server, effort).turns);
            }
        }
    }
    describe(&cells)
}

impl Cell {
    fn add(&mut self, turns: &Turns) {
        let mut gets: HashMap<(usize, u64), u64> = (0..WAITERS)
            .map(|i| {
                (
                    (place(i / (WAITERS / PROCESSES)), i % (WAITERS / PROCESSES)),
                    0,
                )
            })
            .collect();
        for turn in turns.in_window() {
            *gets.entry((turn.process, turn.waiter)).or_default() += 1;
        }
        let most = float(gets.values().copied().max().unwrap_or_default());
        let fewest = float(gets.values().copied().min().unwrap_or_default());
        self.most.push(most);
        self.fewest.push(fewest);
        self.shares.push(most / fewest);
        let fair = turns.mean_cycle() * float(WAITERS);
        self.waits.push(percentile(&turns.waits(), 100.0) / fair);
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("a handful of processes")
}

fn describe(cells: &[Cell]) -> Section {
    let mut section = Section::new("Fairness");
    section.paragraph(
        "64 waiters in 4 processes, all of them always wanting the lock. Acquisitions of the waiter with the most and
        of the one with the fewest; and the longest time that anybody waited, as a multiple of 64 mean cycles (from one
        acquisition to the next), which is what a strict order of arrival gives.",
    );
    let mut rows = Vec::new();
    for ((contender, hold), cell) in CASES.iter().zip(cells) {
        let held = if hold.is_zero() {
            "no pause"
        } else {
            "1 ms held"
        };
        rows.push(vec![
            format!("{}, {held}", contender.name()),
            cell.most.shown(),
            cell.fewest.shown(),
            cell.shares.shown(),
            cell.waits.shown(),
        ]);
        if *contender == Contender::Ours {
            section.targets.push(Target::at_most(
                format!("64 waiters in 4 processes, {held}: most ÷ fewest acquisitions"),
                1.5,
                "×",
                &cell.shares,
            ));
            section.targets.push(Target::at_most(
                format!("64 waiters in 4 processes, {held}: longest wait ÷ 64 mean cycles"),
                2.0,
                "×",
                &cell.waits,
            ));
        }
    }
    section.table(
        &[
            "",
            "most",
            "fewest",
            "most ÷ fewest",
            "longest wait ÷ 64 cycles",
        ],
        &rows,
    );
    section
}
