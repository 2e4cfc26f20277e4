//! A free lock over a link with a delay, which loopback does not have: what `TCP_NODELAY` is good for.

use std::time::{Duration, Instant};

use redis_lock::Mode;
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    contender::{Client, Contender, Settings},
    effort::{Effort, rotated},
    free::runtime,
    report::{Section, Target},
    server::Server,
    stats::{Rounds, percentile},
};

const TASKS: [usize; 5] = [1, 2, 8, 32, 64];

/// The same library and the same commands; a connection of ours has `TCP_NODELAY`, one of redis-rs has not.
const COMPARED: [Contender; 2] = [Contender::Ours, Contender::OursGiven];

/// `url`: a server behind such a link; `None` if there is none.
pub(crate) fn measure(url: Option<&str>, effort: Effort) -> Section {
    let mut section = Section::new("A free lock over a network");
    let Some(url) = url else {
        section.paragraph(
            "Not measured: a link with a delay between two network namespaces needs root, `ip`, `python3` and
            `/dev/net/tun`.",
        );
        return section;
    };
    section.paragraph(
        "Every task takes a write lock, holds it for 4 to 12 ms, and gives it back, each time with a new key. The server is in
        another network namespace, behind a link on which a packet takes 0.5 ms, either way. Measured is what taking and
        giving back take together, two round trips. `Locker::connect` sets `TCP_NODELAY`; a `ConnectionManager` of redis-rs,
        given to `Locker::new`, does not have it, so while one command is under way the next one waits.
        The link is a process that passes packets on, on the same processors: with 64 tasks it is what is waited for.",
    );
    let mut server = Server::new(url);
    let rows = TASKS.map(|tasks| {
        let mut times = [Rounds::default(), Rounds::default()];
        for round in 0..effort.rounds(7) {
            for (i, contender) in rotated(&COMPARED, round) {
                server.empty();
                let runtime = runtime(0);
                let client = runtime.block_on(contender.connect(url, Settings::default()));
                run(&runtime, &client, tasks, effort.millis(200));
                let micros = run(&runtime, &client, tasks, effort.millis(800));
                times[i].push(percentile(&micros, 50.0));
            }
        }
        let [with, without] = times;
        let gain = without.over(&with);
        let what =
            format!("free lock over a network, time without ÷ with TCP_NODELAY, tasks: {tasks}");
        // One task has never a second command under way: nothing to gain, and nothing to lose but noise.
        let limit = if tasks == 1 { 0.9 } else { 1.0 };
        section
            .targets
            .push(Target::at_least(what, limit, "×", &gain));
        vec![
            tasks.to_string(),
            with.shown(),
            without.shown(),
            gain.shown(),
        ]
    });
    section.table(
        &["tasks", "p50 with, µs", "p50 without, µs", "without ÷ with"],
        &rows,
    );
    section
}

/// What each taking and giving back took together, in µs.
fn run(runtime: &Runtime, client: &Client, tasks: usize, time: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let end = Instant::now() + time;
        let tasks: Vec<_> = (0..tasks)
            .map(|task| tokio::spawn(take_turns(client.clone(), task, end)))
            .collect();
        let mut micros = Vec::new();
        for task in tasks {
            micros.extend(task.await.expect("no task fails"));
        }
        micros
    })
}

/// Tasks that do nothing in between send all their commands in step, and have one packet.
async fn take_turns(client: Client, task: usize, end: Instant) -> Vec<f64> {
    let mut micros = Vec::new();
    while Instant::now() < end {
        let key = format!("free:{task:02}:{:05}", micros.len());
        let taking = Instant::now();
        let held = client.acquire(&key, Mode::Write).await;
        let held = held.expect("the lock is free");
        let taken = taking.elapsed();
        // Different from task to task and from turn to turn.
        let hold = 4 + (task * 7 + micros.len() * 5) % 9;
        sleep(Duration::from_millis(hold.try_into().expect("4 to 12"))).await;
        let releasing = Instant::now();
        held.release().await;
        micros.push((taken + releasing.elapsed()).as_secs_f64() * 1e6);
    }
    micros
}
