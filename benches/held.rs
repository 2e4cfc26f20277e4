//! Ten thousand locks, held for a while: none may be lost, and they should cost little.

use std::{thread, time::Duration};

use redis_lock::{Guard, Locker};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    clock::{cpu_time, resident},
    effort::Effort,
    fleet::Fleet,
    free::runtime,
    job::{Burn, Held, Job},
    report::{Section, Target},
    server::Server,
    stats::{Rounds, float, short},
    worker::{await_start, read_line},
};

/// As many commands at a time when they are taken, looked for and given back.
const AT_A_TIME: u64 = 64;

pub(crate) fn measure(server: &mut Server, effort: Effort) -> Section {
    server.empty();
    let locks = match effort {
        Effort::Full => 10_000,
        Effort::Quick => 1000,
    };
    let half = effort.millis(10_000);
    let holder = Job::Held(Held {
        locks,
        ttl: Duration::from_secs(10),
        warm_up: 1000,
        half,
    });
    let burner = Job::Burn(Burn {
        threads: 2,
        time: half,
    });
    let mut holder = Fleet::start(&server.url, &[holder]);
    let mut burner = Fleet::start(&server.url, &[burner]);
    let before = server.cpu_time();
    holder.go();
    thread::sleep(half);
    let of_the_server = server.cpu_time() - before;
    burner.go();
    let numbers = holder.line(0);
    let numbers = numbers
        .split(' ')
        .map(|word| word.parse().expect("a number"));
    let numbers: Vec<f64> = numbers.collect();
    let [bytes, bytes_later, seconds, lost] = numbers[..] else {
        panic!("not what a holder says: {numbers:?}");
    };
    let free = how_many_are_free(&server.url, locks);
    drop(burner);
    drop(holder);

    let per_lock = bytes.max(bytes_later) / float(locks);
    let percent = |seconds: f64| seconds * 100.0 / half.as_secs_f64();
    let mine = percent(seconds);
    let its = percent(of_the_server);
    let mut section = Section::new("Many locks held");
    section.paragraph(
        "One process takes 10,000 write locks with a ttl of 10 s and holds them for 20 s. In the second half two threads
        of another process keep both cores busy. A lock is lost if its guard says so, or if somebody else could take it at
        the end. Memory is what is resident more than before, after 1,000 other locks had been taken and given back;
        it includes the measurement's own list of guards and whatever the allocator keeps, so it is an upper bound.
        Processor time is that of the first, quiet half.",
    );
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    section.table(
        &["", ""],
        &[
            row("guards that say they are lost", short(lost)),
            row("locks that somebody else could take", short(float(free))),
            row(
                "memory per lock when all are taken, bytes",
                short(bytes / float(locks)),
            ),
            row(
                "the same after the quiet half, bytes",
                short(bytes_later / float(locks)),
            ),
            row("processor of the holder, % of a core", short(mine)),
            row("processor of the server, % of a core", short(its)),
        ],
    );
    let one = |value: f64| [value].into_iter().collect::<Rounds>();
    section.targets = vec![
        Target::at_most(
            "10,000 locks held for 20 s: lost",
            0.0,
            "",
            &one(lost + float(free)),
        ),
        Target::at_most(
            "10,000 locks held: memory per lock",
            1024.0,
            "bytes",
            &one(per_lock),
        ),
        Target::at_most(
            "10,000 locks held: processor of the holder",
            2.0,
            "% of a core",
            &one(mine),
        ),
    ];
    section
}

/// Tries to take each of them as somebody else.
fn how_many_are_free(url: &str, locks: u64) -> u64 {
    runtime(0).block_on(async {
        let locker = Locker::connect(url).await.expect("the server answers");
        let tasks: Vec<_> = (0..AT_A_TIME)
            .map(|task| {
                let locker = locker.clone();
                tokio::spawn(async move {
                    let mut free = 0;
                    for i in (task..locks).step_by(step()) {
                        let guard = locker.try_write(name("held", i)).await;
                        free += u64::from(guard.expect("the server answers").is_some());
                    }
                    free
                })
            })
            .collect();
        let mut free = 0;
        for task in tasks {
            free += task.await.expect("no task fails");
        }
        free
    })
}

/// The process that holds them.
pub(crate) fn work(runtime: &Runtime, url: &str, job: &Held) {
    let locker = runtime.block_on(Locker::connect(url));
    let locker = locker.expect("the server answers").ttl(job.ttl);
    runtime.block_on(async {
        for guard in take(&locker, "warm-up", job.warm_up).await {
            guard.unlock().await.expect("the lock is held");
        }
    });
    let before = resident();
    let guards = runtime.block_on(take(&locker, "held", job.locks));
    let taken = resident().saturating_sub(before);
    await_start();
    runtime.block_on(async {
        let start = cpu_time();
        sleep(job.half).await;
        let seconds = cpu_time() - start;
        let later = resident().saturating_sub(before);
        sleep(job.half).await;
        let lost = guards.iter().filter(|guard| guard.is_lost()).count();
        println!("{taken} {later} {seconds} {lost}");
    });
    // Until the process is ended from outside.
    read_line();
}

async fn take(locker: &Locker, what: &'static str, locks: u64) -> Vec<Guard> {
    let tasks: Vec<_> = (0..AT_A_TIME)
        .map(|task| {
            let locker = locker.clone();
            tokio::spawn(async move {
                let mut guards = Vec::new();
                for i in (task..locks).step_by(step()) {
                    let guard = locker.write(name(what, i)).await;
                    guards.push(guard.expect("the lock is free"));
                }
                guards
            })
        })
        .collect();
    let mut guards = Vec::new();
    for task in tasks {
        guards.extend(task.await.expect("no task fails"));
    }
    guards
}

fn name(what: &str, number: u64) -> String {
    format!("{what}:{number:05}")
}

fn step() -> usize {
    usize::try_from(AT_A_TIME).expect("a small number")
}
