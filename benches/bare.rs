//! The commands of a free lock without a library around them: a lower bound for what the library can reach.
//!
//! They are not written down here but listened to, so they are the library's own: the same scripts, KEYS and ARGV.

use std::sync::{Arc, Mutex};

use redis::{
    Arg, Cmd, Pipeline, RedisFuture, Script, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use redis_lock::Locker;

/// The key that is replaced by others in what was heard. As long as those that are measured.
const PLACEHOLDER: &str = "free:00:00000";

/// Two commands, taking and giving back, for any key.
#[derive(Clone)]
pub(crate) struct Bare {
    connection: ConnectionManager,
    pair: Arc<[Template; 2]>,
}

/// A command, as the texts around each occurrence of the key in its arguments.
struct Template(Vec<Vec<String>>);

/// In place of the token that was heard, and of its milliseconds.
const TOKEN: &str = "<token>";
const MILLIS: &str = "<millis>";
/// Later than any clock: what was heard goes out of date.
const ANY_TIME: &str = "9999999999999999";

impl Bare {
    /// What the library sends for a write lock that is free.
    pub(crate) async fn same_scripts(connection: ConnectionManager) -> Self {
        let ear = Ear {
            connection: connection.clone(),
            heard: Arc::default(),
        };
        let locker = Locker::new(ear.clone());
        // The first time, the server does not know the scripts.
        let mut token = 0;
        for _ in 0..2 {
            ear.heard.lock().expect("nobody panics with it").clear();
            let guard = locker.write(PLACEHOLDER).await.expect("the lock is free");
            token = guard.token();
            guard.unlock().await.expect("the lock is held");
        }
        let heard = std::mem::take(&mut *ear.heard.lock().expect("nobody panics with it"));
        let pair = heard.try_into().unwrap_or_else(|heard: Vec<_>| {
            panic!("a free lock takes {} commands, not two", heard.len())
        });
        let [mut acquire, mut release]: [Template; 2] = pair;
        let (token, millis) = (token.to_string(), (token / 1000).to_string());
        for part in acquire.0.iter_mut().flatten() {
            if part.len() == ANY_TIME.len() && part.parse::<u64>().is_ok() {
                ANY_TIME.clone_into(part);
            }
        }
        for part in release.0.iter_mut().flatten() {
            *part = part.replace(&token, TOKEN).replace(&millis, MILLIS);
        }
        let pair = [acquire, release];
        Bare {
            connection,
            pair: Arc::new(pair),
        }
    }

    /// The same, but the script returns at once: what the round trips alone cost.
    pub(crate) async fn trivial(connection: ConnectionManager) -> Self {
        let mut bare = Self::same_scripts(connection).await;
        let script = Script::new("return 1");
        let loaded = script.load_async(&mut bare.connection).await;
        loaded.expect("the server takes a script");
        let pair = [0, 1].map(|i| {
            let mut arguments = bare.pair[i].0.clone();
            arguments[1] = vec![script.get_hash().to_owned()];
            Template(arguments)
        });
        bare.pair = Arc::new(pair);
        bare
    }

    /// Returns the token.
    pub(crate) async fn acquire(&self, key: &str) -> u64 {
        let reply = self.send(0, key, 0).await;
        redis::from_redis_value(reply).unwrap_or_default()
    }

    pub(crate) async fn release(&self, key: &str, token: u64) {
        std::hint::black_box(self.send(1, key, token).await);
    }

    async fn send(&self, which: usize, key: &str, token: u64) -> Value {
        let command = self.pair[which].with(key, token);
        let mut connection = self.connection.clone();
        let reply = command.query_async(&mut connection).await;
        reply.expect("the script runs")
    }
}

impl Template {
    fn of(command: &Cmd) -> Self {
        let arguments = command.args_iter().map(|argument| match argument {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes)
                .split(PLACEHOLDER)
                .map(str::to_owned)
                .collect(),
            _ => panic!("the library sends plain arguments"),
        });
        Template(arguments.collect())
    }

    fn with(&self, key: &str, token: u64) -> Cmd {
        let mut command = Cmd::new();
        for parts in &self.0 {
            match &parts[..] {
                [whole] if whole.contains('<') => {
                    let text = whole.replace(TOKEN, &token.to_string());
                    command.arg(text.replace(MILLIS, &(token / 1000).to_string()))
                }
                [whole] => command.arg(whole),
                parts => command.arg(parts.join(key)),
            };
        }
        command
    }
}

/// A connection that writes down what it is told to send.
#[derive(Clone)]
struct Ear {
    connection: ConnectionManager,
    heard: Arc<Mutex<Vec<Template>>>,
}

impl ConnectionLike for Ear {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut heard = self.heard.lock().expect("nobody panics with it");
        heard.push(Template::of(command));
        drop(heard);
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
