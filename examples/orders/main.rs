//! Several processes compete for a few orders, and one of them is killed while it holds a lock.
//!
//! This is the parent: it starts the processes (the same program, with the argument `worker`), kills one, and prints
//! what they say as a time line. Writers exclude everybody else, readers share, and what the killed process held is
//! taken over when its lease has run out. At the end it checks all that. `scripts/demo` runs it.

mod time_line;
mod worker;

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::{Context, ensure};

use time_line::TimeLine;
use worker::{Event, Task};

/// How long the unlucky worker holds its lock before it is killed: several renewals of its lease.
const UNTIL_THE_KILL: Duration = Duration::from_millis(1200);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(),
        ["worker", namespace, task] => worker::run(namespace, task.parse()?),
        _ => anyhow::bail!("takes no arguments"),
    }
}

fn show() -> anyhow::Result<()> {
    // So that two demonstrations on one Redis do not meet.
    let namespace = format!("orders-demo-{}", std::process::id());
    let (sender, events) = channel();
    let mut time_line = TimeLine::default();

    println!("one worker takes an order and never gives it back; three others do their work ...");
    let mut unlucky = Worker::start(&namespace, Task::Stuck, &sender)?;
    time_line.add(events.recv().context("the unlucky worker takes its lock")?);
    let steady = (0..3)
        .map(|number| Worker::start(&namespace, Task::Steady(number), &sender))
        .collect::<anyhow::Result<Vec<_>>>()?;
    drop(sender);

    sleep(UNTIL_THE_KILL);
    unlucky.process.kill()?;
    unlucky.process.wait()?;
    time_line.kill(unlucky.process.id());
    println!("... now it was killed (process {})", unlucky.process.id());

    for mut worker in steady {
        ensure!(
            worker.process.wait()?.success(),
            "process {} failed",
            worker.process.id()
        );
    }
    collect(&mut time_line, &events);
    println!("{time_line}");
    println!("ok: {}", time_line.check()?);
    Ok(())
}

struct Worker {
    process: Child,
    /// A worker ends when this does, so none is left when the demonstration is interrupted.
    _lifeline: Option<ChildStdin>,
}

impl Worker {
    fn start(namespace: &str, task: Task, events: &Sender<Event>) -> anyhow::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["worker", namespace, &task.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("stdout is a pipe")?).lines();
        let events = events.clone();
        spawn(move || {
            for event in lines
                .map_while(Result::ok)
                .filter_map(|line| line.parse().ok())
            {
                if events.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            _lifeline: process.stdin.take(),
            process,
        })
    }
}

/// Until the last worker has closed its output.
fn collect(time_line: &mut TimeLine, events: &Receiver<Event>) {
    for event in events {
        time_line.add(event);
    }
}
