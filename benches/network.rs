//! A free lock over a link with a delay, which loopback does not have: what `TCP_NODELAY` is good for.

use crate::{
    contender::{Contender, Settings},
    effort::{Effort, rotated},
    free::{run, runtime},
    report::{Section, Target},
    server::Server,
    stats::Rounds,
};

const TASKS: [usize; 5] = [1, 2, 8, 32, 64];

/// The same library and the same commands; its own connection has `TCP_NODELAY`, one of redis-rs has not.
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
        "As above, in a current-thread runtime, with the server in another network namespace, behind a link on which a
        packet takes 0.5 ms, either way. `Locker::connect` sets `TCP_NODELAY`; a `ConnectionManager` of redis-rs, given to
        `Locker::new`, does not have it, so a command waits for the answer to the one before.",
    );
    let mut server = Server::new(url);
    let rows = TASKS.map(|tasks| {
        let mut rates = [Rounds::default(), Rounds::default()];
        for round in 0..effort.rounds(7) {
            for (i, contender) in rotated(&COMPARED, round) {
                server.empty();
                let runtime = runtime(0);
                let client = runtime.block_on(contender.connect(url, Settings::default()));
                run(&runtime, &client, tasks, effort.millis(150));
                let pairs = run(&runtime, &client, tasks, effort.millis(500));
                rates[i].push(pairs.per_second);
            }
        }
        let [with, without] = rates;
        let gain = with.over(&without);
        let what =
            format!("free lock over a network, rate with ÷ without TCP_NODELAY: {tasks} tasks");
        // One task has never a second command under way: nothing to gain, and nothing to lose but noise.
        let limit = if tasks == 1 { 0.95 } else { 1.0 };
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
        &[
            "tasks",
            "pairs per second, with",
            "without",
            "with ÷ without",
        ],
        &rows,
    );
    section
}
