//! Waiters in several processes that hand a lock to one another for a while.

use std::{thread, time::Duration};

use redis_lock::Mode;

use crate::{
    clock::now,
    contender::{Contender, Retry},
    effort::Effort,
    fleet::Fleet,
    job::{self, Job, Ping},
    rhythm::Rhythm,
    server::{Commands, Server},
    stats::float,
    turn::{Turn, Turns},
};

#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) contender: Contender,
    pub(crate) retry: Retry,
    pub(crate) processes: u64,
    pub(crate) keys: u64,
    /// Of each key, in all processes together.
    pub(crate) waiters: u64,
    pub(crate) rhythm: Rhythm,
    pub(crate) time: Duration,
}

pub(crate) struct Played {
    pub(crate) turns: Turns,
    pub(crate) commands: Commands,
    /// Round trips of an otherwise equal process meanwhile, in µs.
    pub(crate) pings: Vec<f64>,
}

impl Scene {
    pub(crate) fn play(&self, server: &mut Server, effort: Effort) -> Played {
        /// The waiters leave this long behind the end of what is counted, or a little later.
        const MARGIN: Duration = Duration::from_millis(100);

        server.empty();
        let warm_up = effort.millis(300);
        let whole = warm_up + self.time + MARGIN;
        let turns = Job::Turns(job::Turns {
            contender: self.contender,
            retry: self.retry,
            mode: Mode::Write,
            keys: self.keys,
            waiters: self.waiters / self.processes,
            rhythm: self.rhythm,
            time: whole,
        });
        let mut jobs: Vec<_> = (0..self.processes).map(|_| turns.clone()).collect();
        jobs.push(pings(whole));
        let mut fleet = Fleet::start(&server.url, &jobs);
        fleet.go();
        thread::sleep(warm_up);
        server.forget_commands();
        let start = now();
        thread::sleep(self.time);
        let commands = server.commands();
        let window = start..now();
        let logs = fleet.logs();
        let (pings, logs) = logs.split_last().expect("the pings are there");
        let all = logs
            .iter()
            .enumerate()
            .flat_map(|(process, log)| log.lines().map(move |line| Turn::from_line(process, line)));
        Played {
            turns: Turns::new(all.collect(), window),
            commands,
            pings: round_trips(pings),
        }
    }
}

/// Round trips, in µs, while nobody else does anything.
pub(crate) fn idle_pings(server: &Server, time: Duration) -> Vec<f64> {
    let mut fleet = Fleet::start(&server.url, &[pings(time)]);
    fleet.go();
    round_trips(&fleet.logs()[0])
}

fn pings(time: Duration) -> Job {
    Job::Ping(Ping {
        every: Duration::from_millis(3),
        time,
    })
}

fn round_trips(log: &str) -> Vec<f64> {
    let trips = log.lines().map(|line| {
        let (sent, answered) = line.split_once(' ').expect("two times");
        let number = |word: &str| -> u64 { word.parse().expect("a number") };
        float(number(answered) - number(sent)) / 1e3
    });
    trips.collect()
}
