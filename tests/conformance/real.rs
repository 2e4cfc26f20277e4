//! The scripts on a real server.

use std::{collections::BTreeMap, fmt::Write};

use redis::{Value, aio::MultiplexedConnection};
use redis_lock_tests::Server;

use crate::{
    core::io::{Command, View},
    values::session::{Pushes, SessionId},
    wire::{self, Reply},
};

const STATE: &str = include_str!("../../redis-lock/src/store/redis/state.lua");
const OPEN: &str = include_str!("../../redis-lock/src/store/redis/open.lua");
const SETTLE: &str = include_str!("../../redis-lock/src/store/redis/settle.lua");
const SCRIPTS: [&str; 4] = [
    include_str!("../../redis-lock/src/store/redis/acquire.lua"),
    include_str!("../../redis-lock/src/store/redis/heartbeat.lua"),
    include_str!("../../redis-lock/src/store/redis/renew.lua"),
    include_str!("../../redis-lock/src/store/redis/release.lua"),
];
/// The names of one lock, in the order of the scripts' KEYS.
pub(crate) const NAMES: [&str; 5] = [
    "{l}:word",
    "{l}:grants",
    "{l}:queue",
    "{l}:waiters",
    "{l}:records",
];

pub(crate) struct Real {
    server: Server,
    connection: MultiplexedConnection,
    hashes: Vec<String>,
}

impl Real {
    pub(crate) async fn start() -> Self {
        let server = Server::with_own_clock().await;
        let mut connection = server.connection().await;
        let mut hashes = Vec::new();
        for script in SCRIPTS {
            let script = script
                .replace("--@state", STATE)
                .replace("--@open", OPEN)
                .replace("--@settle", SETTLE);
            let hash = redis::cmd("SCRIPT")
                .arg("LOAD")
                .arg(script)
                .query_async(&mut connection)
                .await;
            hashes.push(hash.expect("the script is compiled"));
        }
        Real {
            server,
            connection,
            hashes,
        }
    }

    /// Stops the server's clock at this second.
    pub(crate) fn stop_clock(&self, second: u64) {
        self.server.stop_clock(second);
    }

    pub(crate) async fn flush(&mut self) {
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut self.connection)
            .await
            .expect("it flushes");
    }

    /// Executes a command, and returns what the session is told and everything that the server has then, as text.
    pub(crate) async fn execute(
        &mut self,
        session: SessionId,
        pushes: Pushes,
        command: &Command,
    ) -> (View, BTreeMap<String, String>) {
        let script = match command {
            Command::Acquire { .. } => 0,
            Command::Heartbeat { .. } => 1,
            Command::Renew { .. } => 2,
            Command::Release { .. } => 3,
        };
        let mut all = redis::pipe();
        let call = all.cmd("EVALSHA").arg(&self.hashes[script]);
        call.arg(NAMES.len()).arg(&NAMES);
        wire::arguments(session, pushes, command, |argument| {
            call.arg(argument);
        });
        all.cmd("GET").arg(NAMES[0]);
        for name in &NAMES[1..4] {
            all.cmd("ZRANGE")
                .arg(*name)
                .arg(0)
                .arg(-1)
                .arg("WITHSCORES");
        }
        all.cmd("HGETALL").arg(NAMES[4]);
        let ttls =
            "local t = {} for i, k in ipairs(KEYS) do t[i] = redis.call('PTTL', k) end return t";
        all.cmd("EVAL").arg(ttls).arg(NAMES.len()).arg(&NAMES);
        let replies = all.query_async(&mut self.connection).await;
        let replies: Replies = replies.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (reply, word, grants, queue, waiters, records, ttls) = replies;
        let reply = match reply {
            Value::Int(number) => Reply::Number(number),
            Value::BulkString(text) => Reply::Text(String::from_utf8(text).expect("text")),
            other => panic!("{command:?}: {other:?}"),
        };
        let view = wire::view(command, &reply);
        let view = view.unwrap_or_else(|| panic!("{command:?}: {reply:?}"));
        (view, dump(word, [grants, queue, waiters], records, ttls))
    }
}

type Members = Vec<(String, f64)>;
type Replies = (
    Value,
    Option<String>,
    Members,
    Members,
    Members,
    BTreeMap<String, String>,
    [i64; 5],
);

fn dump(
    word: Option<String>,
    sets: [Members; 3],
    records: BTreeMap<String, String>,
    ttls: [i64; 5],
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(word) = word else {
        return all;
    };
    all.insert("ttl".to_owned(), ttls[0].to_string());
    if word != "full" {
        // How a session hears matters only while it waits.
        let is_free = word.starts_with("free");
        let word = if is_free {
            word
        } else {
            format!("{}*", &word[..word.len() - 1])
        };
        all.insert("word".to_owned(), word);
        return all;
    }
    for (what, members) in ["grants", "queue", "waiters"].into_iter().zip(sets) {
        let mut text = String::new();
        for (member, score) in members {
            // The queue's scores only say the order.
            let score = if what == "queue" { 0.0 } else { score };
            let _ = write!(text, "{member}={score} ");
        }
        all.insert(what.to_owned(), text);
    }
    for (field, mut value) in records {
        // The mode of the grants is that of each of them.
        if field == "mode" {
            continue;
        }
        let is_session = field.len() == 32;
        if is_session && value.split(' ').skip(1).all(|range| range.contains('@')) {
            value.replace_range(..1, "*");
        }
        all.insert(format!("record {field}"), value);
    }
    for (name, ttl) in NAMES.iter().zip(ttls) {
        // -2: there is no such key now.
        if ttl != -2 && ttl != ttls[0] {
            all.insert(format!("ttl of {name}"), ttl.to_string());
        }
    }
    all
}
