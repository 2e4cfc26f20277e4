//! Plays the files of `redis-lock/src/core/scenarios` against one lock of the core, without a server and without waiting.
//!
//! A file is a story. `at 1.5 s` lets the time pass, and each timer of the core comes on the way; `at 9 s after a pause` is a
//! process that stood still. A line behind two spaces is an event, a line behind four is an effect that the core is expected
//! to order. The server's clock shows the time of the story, so a token is that time in microseconds. Tickets count from 1.

mod read;
mod tell;

use std::{collections::BTreeSet, fs};

use crate::{
    core::{
        io::{Effect, Input, WaiterId},
        lock::{Estimate, Lock},
    },
    values::{
        loss::Loss,
        ticket::Ticket,
        time::{ServerTime, Time},
    },
};

use read::{input, number, request, time, unknown};
use tell::{shown, told};

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../redis-lock/src/core/scenarios"
);
const EFFECT: &str = "    > ";
/// More timers than this in one step of time: one of them does not go away.
const MOST_TIMERS: usize = 1000;

#[test]
fn each_goes_as_it_is_written() {
    let rewrites = std::env::var_os("REWRITE").is_some();
    let entries = fs::read_dir(FOLDER).expect("the folder of scenarios");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "only {} scenarios", paths.len());
    let mut failures: Vec<String> = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let written = fs::read_to_string(&path).expect("text");
        match play(&written) {
            Err(why) => failures.push(format!("{name}:{why}")),
            Ok(played) if played == written => {}
            Ok(played) if rewrites => fs::write(&path, played).expect("a file to be written"),
            Ok(played) => failures.extend(differences(&name, &written, &played)),
        }
    }
    assert!(
        failures.is_empty(),
        "\n{}\n\nIf that is right: REWRITE=1 cargo test -p redis-lock-sim scenarios",
        failures.join("\n")
    );
}

#[test]
fn what_is_not_understood_is_an_error_that_names_its_line() {
    for (line, why) in [
        ("  task 1 asks to sing", "3: unknown: `to sing`"),
        ("  task 1 is polled", "3: task 1 has not asked yet"),
        ("  call 1 fails", "3: call 1 was not made yet"),
        ("   pushes are heard", "3: `at`, two spaces or four"),
        ("at 1 ms", "3: the time is set back"),
        ("at noon", "3: unknown: `at noon`"),
        ("at 5 h", "3: no time: `5 h`"),
    ] {
        assert_eq!(play(&format!("# x\nat 1 s\n{line}\n")), Err(why.to_owned()));
    }
}

/// The scenario with the effects that it really has.
fn play(written: &str) -> Result<String, String> {
    if !written.starts_with("# ") {
        return Err("1: the first line is to say which rule this shows".to_owned());
    }
    let mut story = Story::new();
    let mut played = Vec::new();
    for (number, line) in written.lines().enumerate() {
        if line.starts_with(EFFECT) {
            continue;
        }
        let effects = story.line(line);
        let effects = effects.map_err(|why| format!("{}: {why}", number + 1))?;
        played.push(line.to_owned());
        played.extend(effects.iter().map(|effect| format!("{EFFECT}{effect}")));
    }
    Ok(played.join(
        "
",
    ) + "
")
}

/// Both texts have the same lines, apart from effects.
fn differences(name: &str, written: &str, played: &str) -> Vec<String> {
    let mut text = Vec::new();
    for (expected, found) in steps(written).into_iter().zip(steps(played)) {
        if expected.effects != found.effects {
            let (number, line) = (expected.number, expected.line.trim());
            text.push(format!("{name}:{number}: {line}"));
            for effect in &expected.effects {
                text.push(format!("    expected  {effect}"));
            }
            for effect in &found.effects {
                text.push(format!("    but       {effect}"));
            }
        }
    }
    text
}

struct Step<'a> {
    number: usize,
    line: &'a str,
    effects: Vec<&'a str>,
}

fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix(EFFECT), steps.last_mut()) {
            (Some(effect), Some(step)) => step.effects.push(effect),
            _ => steps.push(Step {
                number,
                line,
                effects: Vec::new(),
            }),
        }
    }
    steps
}

struct Story {
    lock: Lock,
    now: Time,
    tasks: BTreeSet<u64>,
    calls: u64,
}

impl Story {
    fn new() -> Self {
        let clock = Estimate {
            server: ServerTime(0),
            sent: Time(0),
        };
        Story {
            lock: Lock::new(Ticket(1), Some(clock), true, 0),
            now: Time(0),
            tasks: BTreeSet::new(),
            calls: 0,
        }
    }

    fn line(&mut self, line: &str) -> Result<Vec<String>, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(Vec::new());
        }
        // An event, and what is said of it behind a colon or commas.
        let phrases = line.split([':', ',']);
        let phrases: Vec<Vec<&str>> = phrases.map(|p| p.split_whitespace().collect()).collect();
        let (first, items) = phrases.split_first().ok_or("empty")?;
        let indent = line.len() - line.trim_start().len();
        let effects = match (indent, first.as_slice()) {
            (0, ["at", number, unit]) if items.is_empty() => {
                return self.passes(Time(0) + time(number, unit)?);
            }
            (0, ["at", number, unit, "after", "a", "pause"]) if items.is_empty() => {
                self.now = Time(0) + time(number, unit)?;
                return Ok(Vec::new());
            }
            (2, ["what", "is", "next"]) => {
                let next = self.lock.next_timeout(self.now);
                return Ok(vec![match next {
                    Some((at, timer)) => format!("{timer} at {}", shown(at.0)),
                    None if self.lock.is_idle() => "nothing: the lock is idle".to_owned(),
                    None => "nothing, until a message comes".to_owned(),
                }]);
            }
            (2, ["task", number, does @ ..]) => self.tasks_do([number, number], does, items)?,
            (2, ["tasks", first, "to", last, does @ ..]) => {
                self.tasks_do([first, last], does, items)?
            }
            (2, event) => self.input(input(event, items, self.now, self.calls)?)?,
            (0, _) => return Err(unknown(first)),
            _ => return Err("`at`, two spaces or four".to_owned()),
        };
        if effects.is_empty() {
            return Ok(vec!["nothing".to_owned()]);
        }
        Ok(told(&effects))
    }

    fn input(&mut self, input: Input) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        self.lock.handle(self.now, input, &mut effects);
        let calls = effects.iter();
        self.calls += calls.filter(|e| matches!(e, Effect::Call { .. })).count() as u64;
        let checked = self.lock.check();
        checked.map_err(|violation| format!("breaks an invariant: {violation:?}"))?;
        Ok(effects)
    }

    /// Until then, each timer comes when it is due.
    fn passes(&mut self, end: Time) -> Result<Vec<String>, String> {
        if end < self.now {
            return Err("the time is set back".to_owned());
        }
        let mut lines = Vec::new();
        for _ in 0..MOST_TIMERS {
            let next = self.lock.next_timeout(self.now);
            let Some((at, timer)) = next.filter(|(at, _)| *at <= end) else {
                self.now = end;
                return Ok(lines);
            };
            self.now = self.now.max(at);
            lines.push(format!("at {}, {timer}", shown(self.now.0)));
            lines.extend(told(&self.input(Input::TimeReached)?));
        }
        Err("a timer does not go away".to_owned())
    }

    fn tasks_do(
        &mut self,
        [first, last]: [&str; 2],
        does: &[&str],
        items: &[Vec<&str>],
    ) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        for task in number(first)?..=number(last)? {
            let waiter = WaiterId(task);
            let asks = matches!(does, ["asks" | "ask", ..]);
            if asks != self.tasks.insert(task) {
                let problem = if asks {
                    "asks again"
                } else {
                    "has not asked yet"
                };
                return Err(format!("task {task} {problem}"));
            }
            let input = match (does, items) {
                (["asks" | "ask", "to", mode], items) => request(waiter, mode, items, self.now)?,
                (["is" | "are", "polled"], []) => Input::Polled { waiter },
                (["is" | "are", "dropped"], []) => Input::Abandoned { waiter },
                (["unlocks" | "unlock"], []) => Input::Unlocked { waiter },
                (["is" | "are", "shut", "down"], []) => {
                    let why = Loss::ShutDown;
                    Input::Interrupted { waiter, why }
                }
                _ => return Err(unknown(&[&["task", first], does].concat())),
            };
            effects.extend(self.input(input)?);
        }
        Ok(effects)
    }
}
