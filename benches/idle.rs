//! What it costs to wait for a lock that stays held.

use std::{thread, time::Duration};

use redis_lock::Mode;

use crate::{
    contender::{Contender, Settings},
    effort::Effort,
    fleet::Fleet,
    free::runtime,
    job::{Job, KEY, Wait},
    report::{Section, Target},
    server::Server,
    stats::Rounds,
};

const WAITERS: u64 = 64;

#[derive(Default)]
struct Cell {
    /// Per second.
    commands: Rounds,
    /// Of one core.
    percent: Rounds,
}

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let mut ours = Cell::default();
    let mut peers = Cell::default();
    ours.add(server, Contender::Ours, effort.millis(5000));
    peers.add(server, Contender::RdsLock, effort.millis(2000));
    let mut section = Section::new("Waiting");
    section.paragraph(
        "64 waiters in one process for one lock that another process holds, after they have settled for 1.5 s: commands
        that reach the server, and processor time of the process that waits. The holder sends none meanwhile.",
    );
    let row = |name: &str, cell: &Cell| {
        vec![name.to_owned(), cell.commands.shown(), cell.percent.shown()]
    };
    section.table(
        &["", "commands per second", "processor, % of a core"],
        &[row("redis-lock", &ours), row("rds_lock", &peers)],
    );
    section.targets.push(Target::at_most(
        "64 waiters of one process: commands per second",
        1.0,
        "",
        &ours.commands,
    ));
    section
}

impl Cell {
    fn add(&mut self, server: &mut Server, contender: Contender, time: Duration) {
        const SETTLE: Duration = Duration::from_millis(1500);

        server.empty();
        let settings = Settings {
            // It is not renewed in the time of this measurement.
            ttl: Some(Duration::from_secs(60)),
            ..Settings::default()
        };
        let runtime = runtime(0);
        let client = runtime.block_on(contender.connect(&server.url, settings));
        let held = runtime.block_on(client.acquire(KEY, Mode::Write));
        let waiting = Job::Wait(Wait {
            contender,
            waiters: WAITERS,
            settle: SETTLE,
            time,
        });
        let mut fleet = Fleet::start(&server.url, &[waiting]);
        fleet.go();
        thread::sleep(SETTLE);
        server.forget_commands();
        thread::sleep(time);
        let count = server.commands().sent_by(contender);
        let seconds: f64 = fleet.line(0).parse().expect("a number");
        self.commands.push(count.calls / time.as_secs_f64());
        self.percent.push(seconds * 100.0 / time.as_secs_f64());
        drop(fleet);
        runtime.block_on(held.expect("the lock is free").release());
    }
}
