//! What worker processes are told to do, as words on their command line.

use std::time::Duration;

use redis_lock::Mode;

use crate::{
    contender::{Contender, Retry},
    rhythm::{Rhythm, duration, micros, number},
};

#[derive(Clone, Debug)]
pub(crate) enum Job {
    Turns(Turns),
    Ping(Ping),
    Wait(Wait),
    Held(Held),
    Burn(Burn),
}

/// Waiters that take, hold and give back a lock again and again.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    pub(crate) contender: Contender,
    pub(crate) retry: Retry,
    pub(crate) mode: Mode,
    pub(crate) keys: u64,
    /// Of each key, in this process.
    pub(crate) waiters: u64,
    pub(crate) rhythm: Rhythm,
    pub(crate) time: Duration,
}

/// One round trip every few milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Ping {
    pub(crate) every: Duration,
    pub(crate) time: Duration,
}

/// Waiters for a lock that stays held.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) contender: Contender,
    pub(crate) waiters: u64,
    pub(crate) settle: Duration,
    pub(crate) time: Duration,
}

/// Many locks that are held for a while.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) locks: u64,
    pub(crate) ttl: Duration,
    pub(crate) warm_up: u64,
    /// Without other load, and again with it.
    pub(crate) half: Duration,
}

/// Threads that do nothing, as fast as they can.
#[derive(Clone, Debug)]
pub(crate) struct Burn {
    pub(crate) threads: u64,
    pub(crate) time: Duration,
}

/// The one key of all jobs that need only one; others have a number appended.
pub(crate) const KEY: &str = "bench";

impl Job {
    pub(crate) fn to_words(&self) -> Vec<String> {
        match self {
            Job::Turns(turns) => vec![
                "turns".to_owned(),
                turns.contender.name().to_owned(),
                word_of_retry(turns.retry),
                if turns.mode == Mode::Read { "r" } else { "w" }.to_owned(),
                turns.keys.to_string(),
                turns.waiters.to_string(),
                micros(turns.time),
            ]
            .into_iter()
            .chain(turns.rhythm.to_words())
            .collect(),
            Job::Ping(ping) => vec!["ping".to_owned(), micros(ping.every), micros(ping.time)],
            Job::Wait(wait) => vec![
                "wait".to_owned(),
                wait.contender.name().to_owned(),
                wait.waiters.to_string(),
                micros(wait.settle),
                micros(wait.time),
            ],
            Job::Held(held) => vec![
                "held".to_owned(),
                held.locks.to_string(),
                micros(held.ttl),
                held.warm_up.to_string(),
                micros(held.half),
            ],
            Job::Burn(burn) => vec![
                "burn".to_owned(),
                burn.threads.to_string(),
                micros(burn.time),
            ],
        }
    }

    pub(crate) fn from_words(words: &[String]) -> Self {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            [
                "turns",
                contender,
                retry,
                mode,
                keys,
                waiters,
                time,
                ref rhythm @ ..,
            ] => Job::Turns(Turns {
                contender: Contender::named(contender),
                retry: retry_of_word(retry),
                mode: if mode == "r" { Mode::Read } else { Mode::Write },
                keys: number(keys),
                waiters: number(waiters),
                rhythm: Rhythm::from_words(rhythm),
                time: duration(time),
            }),
            ["ping", every, time] => Job::Ping(Ping {
                every: duration(every),
                time: duration(time),
            }),
            ["wait", contender, waiters, settle, time] => Job::Wait(Wait {
                contender: Contender::named(contender),
                waiters: number(waiters),
                settle: duration(settle),
                time: duration(time),
            }),
            ["held", locks, ttl, warm_up, half] => Job::Held(Held {
                locks: number(locks),
                ttl: duration(ttl),
                warm_up: number(warm_up),
                half: duration(half),
            }),
            ["burn", threads, time] => Job::Burn(Burn {
                threads: number(threads),
                time: duration(time),
            }),
            _ => panic!("no such job: {words:?}"),
        }
    }
}

fn word_of_retry(retry: Retry) -> String {
    match retry {
        Retry::Default => "default".to_owned(),
        Retry::Shortest => "shortest".to_owned(),
    }
}

fn retry_of_word(word: &str) -> Retry {
    match word {
        "shortest" => Retry::Shortest,
        _ => Retry::Default,
    }
}
