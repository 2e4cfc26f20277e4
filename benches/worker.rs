//! Worker processes, from inside. Each has a current-thread runtime, and keeps what it sees in memory until its job is done.

use std::{fmt::Write, hint::black_box, io::stdin, thread, time::Instant};

use redis::cmd;
use redis_lock::Mode;
use tokio::{
    runtime::Runtime,
    time::{sleep, sleep_until, timeout_at},
};

use crate::{
    clock::{cpu_time, now},
    contender::{Client, Contender, Settings, manager},
    free::runtime,
    held,
    job::{Burn, Job, KEY, Ping, Turns, Wait},
    turn::Turn,
};

pub(crate) fn work(url: &str, job: Job) {
    let runtime = runtime(0);
    match job {
        Job::Turns(job) => turns(&runtime, url, &job),
        Job::Ping(job) => ping(&runtime, url, &job),
        Job::Wait(job) => wait(&runtime, url, &job),
        Job::Held(job) => held::work(&runtime, url, &job),
        Job::Burn(job) => burn(&job),
    }
}

/// Tells that everything is prepared, and waits to be let go.
pub(crate) fn await_start() {
    println!("ready");
    assert_eq!(read_line(), "go\n");
}

pub(crate) fn read_line() -> String {
    let mut line = String::new();
    stdin().read_line(&mut line).expect("lines of text");
    line
}

fn turns(runtime: &Runtime, url: &str, job: &Turns) {
    let settings = Settings {
        retry: job.retry,
        ..Settings::default()
    };
    let client = runtime.block_on(async {
        let client = job.contender.connect(url, settings).await;
        // Scripts are known to the server, and memory has been touched.
        for i in 0..50 {
            let key = format!("warm-up:{}:{i}", std::process::id());
            let held = client.acquire(&key, job.mode).await;
            held.expect("the lock is free").release().await;
        }
        client
    });
    await_start();
    let start = Instant::now();
    let turns = runtime.block_on(async {
        let mut tasks = Vec::new();
        for waiter in 0..job.waiters {
            for key in 0..job.keys {
                let turns = take_turns(client.clone(), job.clone(), key, waiter, start);
                tasks.push(tokio::spawn(turns));
            }
        }
        let mut turns = Vec::new();
        for task in tasks {
            turns.extend(task.await.expect("no task fails"));
        }
        turns
    });
    let mut log = String::new();
    for turn in turns {
        let _ = writeln!(log, "{}", turn.to_line());
    }
    print!("{log}");
}

async fn take_turns(
    client: Client,
    job: Turns,
    key: u64,
    waiter: u64,
    start: Instant,
) -> Vec<Turn> {
    let name = format!("{KEY}:{key}");
    let end = start + job.time;
    let mut turns = Vec::new();
    loop {
        // Other keys and processes have other rhythms.
        let who = waiter + 1000 * key + u64::from(std::process::id());
        let next = job.rhythm.next(start, who, turns.len() as u64);
        if next >= end {
            return turns;
        }
        until(next).await;
        let asked = now();
        let asking = client.acquire(&name, job.mode);
        let held = timeout_at(end.into(), asking).await;
        let acquired = now();
        let Ok(held) = held else {
            turns.push(Turn::in_vain(waiter, key, asked));
            return turns;
        };
        let held = held.expect("it waits for ever");
        let token = held.token();
        until(job.rhythm.held_until(start)).await;
        let unlocking = now();
        held.release().await;
        turns.push(Turn {
            process: 0,
            waiter,
            key,
            asked,
            acquired,
            unlocking,
            token,
        });
    }
}

/// Does not let others run if the time has come.
async fn until(time: Instant) {
    if time > Instant::now() {
        sleep_until(time.into()).await;
    }
}

fn ping(runtime: &Runtime, url: &str, job: &Ping) {
    let mut connection = runtime.block_on(manager(url));
    await_start();
    let end = Instant::now() + job.time;
    let log = runtime.block_on(async {
        let mut log = String::new();
        while Instant::now() < end {
            let sent = now();
            let reply: redis::RedisResult<String> = cmd("PING").query_async(&mut connection).await;
            let answered = now();
            reply.expect("the server answers");
            let _ = writeln!(log, "{sent} {answered}");
            sleep(job.every).await;
        }
        log
    });
    print!("{log}");
}

fn wait(runtime: &Runtime, url: &str, job: &Wait) {
    let client = runtime.block_on(job.contender.connect(url, Settings::default()));
    if job.contender == Contender::Ours {
        // Once, so that threads and scripts are there.
        let held = runtime.block_on(client.acquire("warm-up", Mode::Write));
        runtime.block_on(held.expect("the lock is free").release());
    }
    await_start();
    runtime.block_on(async {
        for _ in 0..job.waiters {
            let client = client.clone();
            tokio::spawn(async move { client.acquire(KEY, Mode::Write).await });
        }
        sleep(job.settle).await;
        let before = cpu_time();
        sleep(job.time).await;
        println!("{}", cpu_time() - before);
    });
}

fn burn(job: &Burn) {
    await_start();
    let end = Instant::now() + job.time;
    thread::scope(|scope| {
        for _ in 0..job.threads {
            scope.spawn(|| {
                while Instant::now() < end {
                    (0..10_000u32).for_each(|i| {
                        black_box(i);
                    });
                }
            });
        }
    });
}
