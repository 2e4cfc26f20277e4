//! The Redis server: emptied between measurements, and asked what it had to do.

use std::collections::HashMap;

use redis::{Client, Connection, FromRedisValue, cmd};

use crate::{contender::Contender, stats::count};

pub(crate) struct Server {
    pub(crate) url: String,
    connection: Connection,
}

impl Server {
    pub(crate) fn new(url: &str) -> Self {
        let client = Client::open(url).expect("a URL of a server");
        Server {
            url: url.to_owned(),
            connection: client.get_connection().expect("the server answers"),
        }
    }

    /// Nothing of one contender is there when the next one comes.
    pub(crate) fn empty(&mut self) {
        self.ask::<()>("FLUSHALL", &[]);
    }

    pub(crate) fn forget_commands(&mut self) {
        self.ask::<()>("CONFIG", &["RESETSTAT"]);
    }

    /// What has been executed since [`Server::forget_commands`].
    pub(crate) fn commands(&mut self) -> Commands {
        let info: String = self.ask("INFO", &["commandstats"]);
        Commands(info.lines().filter_map(parse_command).collect())
    }

    /// Seconds of processor time used so far.
    pub(crate) fn cpu_time(&mut self) -> f64 {
        let info: String = self.ask("INFO", &["cpu"]);
        ["used_cpu_user:", "used_cpu_sys:"]
            .iter()
            .map(|name| field(&info, name).parse::<f64>().expect("seconds"))
            .sum()
    }

    pub(crate) fn version(&mut self) -> String {
        let info: String = self.ask("INFO", &["server"]);
        field(&info, "redis_version:").to_owned()
    }

    fn ask<T: FromRedisValue>(&mut self, name: &str, arguments: &[&str]) -> T {
        let reply = cmd(name).arg(arguments).query(&mut self.connection);
        reply.expect("the server answers")
    }
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut lines = info.lines();
    let found = lines.find_map(|line| line.strip_prefix(name));
    found.expect("every server says this")
}

/// `cmdstat_evalsha:calls=2,usec=34,…`
fn parse_command(line: &str) -> Option<(String, Count)> {
    let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let number = |field: &str| {
        let mut fields = rest.split(',').filter_map(|pair| pair.split_once('='));
        fields.find(|(name, _)| *name == field)?.1.parse().ok()
    };
    let count = Count {
        calls: number("calls")?,
        micros: number("usec")?,
    };
    Some((name.to_owned(), count))
}

/// Calls, and the time spent in them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) calls: f64,
    pub(crate) micros: f64,
}

pub(crate) struct Commands(HashMap<String, Count>);

impl Commands {
    /// Commands that no script can call. The server counts commands of scripts like others, and again within the time
    /// of their script; so only these, and what a contender is known to send by itself, are counted.
    const NEVER_IN_SCRIPTS: [&str; 16] = [
        "eval",
        "evalsha",
        "fcall",
        "multi",
        "exec",
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "blpop",
        "brpop",
        "blmove",
        "bzpopmin",
        "client|tracking",
    ];

    /// What clients sent for their locks.
    pub(crate) fn sent_by(&self, contender: Contender) -> Count {
        let names = Self::NEVER_IN_SCRIPTS.iter();
        names
            .chain(contender.plain_commands())
            .filter_map(|name| self.0.get(*name))
            .fold(Count::default(), |sum, count| Count {
                calls: sum.calls + count.calls,
                micros: sum.micros + count.micros,
            })
    }
}

impl Count {
    pub(crate) fn calls_per(self, number: usize) -> f64 {
        self.calls / count(number)
    }

    pub(crate) fn micros_per(self, number: usize) -> f64 {
        self.micros / count(number)
    }
}
