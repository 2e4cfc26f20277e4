//! What a free lock costs the server.

use redis_lock::Mode;

use crate::{
    contender::{Client, Contender, Settings},
    effort::{Effort, rotated},
    free::runtime,
    plot::{Bar, bars},
    report::{Section, Target},
    server::Server,
    stats::Rounds,
};

const CASES: [(Contender, Mode); 7] = [
    (Contender::Ours, Mode::Write),
    (Contender::Ours, Mode::Read),
    (Contender::Trivial, Mode::Write),
    (Contender::RdsLock, Mode::Write),
    (Contender::RdsLock, Mode::Read),
    (Contender::AsyncRedisLock, Mode::Write),
    (Contender::Rslock, Mode::Write),
];

const TASKS: usize = 16;

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    let mut micros: Vec<Rounds> = CASES.iter().map(|_| Rounds::default()).collect();
    let mut calls = micros.clone();
    let pairs = effort.number(4000);
    for round in 0..effort.rounds(7) {
        for (i, (contender, mode)) in rotated(&CASES, round) {
            server.empty();
            let runtime = runtime(0);
            let client = runtime.block_on(contender.connect(&server.url, Settings::default()));
            runtime.block_on(take_and_give_back(&client, mode, effort.number(500)));
            server.forget_commands();
            runtime.block_on(take_and_give_back(&client, mode, pairs));
            let count = server.commands().sent_by(contender);
            let pairs = pairs / TASKS * TASKS;
            micros[i].push(count.micros_per(pairs));
            calls[i].push(count.calls_per(pairs));
        }
    }
    describe(&micros, &calls)
}

fn describe(micros: &[Rounds], calls: &[Rounds]) -> Section {
    let mut section = Section::new("Server time of a free lock");
    section.paragraph(
        "The time that Redis itself says it spent (`INFO commandstats`) in the commands of a pair that takes and gives
        back a free lock: scripts with all that they call, and commands that are sent by themselves. Wall time: a
        server that is interrupted looks slower, the same for all.",
    );
    let rds_lock = |mode| {
        let case = (Contender::RdsLock, mode);
        let position = CASES.iter().position(|other| *other == case);
        &micros[position.expect("it is measured")]
    };
    let label = |(contender, mode): (Contender, Mode)| {
        let mode = if mode == Mode::Read { "read" } else { "write" };
        format!("{}, {mode}", contender.name())
    };
    let rows: Vec<_> = CASES
        .iter()
        .enumerate()
        .map(|(i, (contender, mode))| {
            vec![
                label((*contender, *mode)),
                micros[i].shown(),
                calls[i].shown(),
                micros[i].over(rds_lock(*mode)).shown(),
            ]
        })
        .collect();
    section.table(
        &[
            "",
            "µs per pair",
            "commands per pair",
            "÷ rds_lock, same mode",
        ],
        &rows,
    );
    let bars: Vec<_> = CASES
        .iter()
        .zip(micros)
        .map(|(case, micros)| Bar {
            label: label(*case),
            value: micros.median(),
            spread: (micros.min(), micros.max()),
            ours: case.0.is_ours(),
        })
        .collect();
    let title = "Server time of taking and giving back a free lock";
    section.plot(
        "server-time",
        title,
        self::bars(title, "µs per pair", &bars),
    );
    section.targets.push(Target::at_most(
        "server time of a free write lock ÷ that of rds_lock",
        1.3,
        "×",
        &micros[0].over(rds_lock(Mode::Write)),
    ));
    section
}

async fn take_and_give_back(client: &Client, mode: Mode, pairs: usize) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for i in 0..pairs / TASKS {
                    let held = client
                        .acquire(&format!("cost:{task:02}:{i:05}"), mode)
                        .await;
                    held.expect("the lock is free").release().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task fails");
    }
}
