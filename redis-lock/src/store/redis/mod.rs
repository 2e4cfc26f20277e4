//! Calls of the scripts. Only this folder knows what a lock looks like in Redis.
//!
//! A script is called by its source until a call was answered over the same link, then by its hash. So each call is one round
//! trip, also the first. If the server does not know the hash (`SCRIPT FLUSH`, a new node of a cluster, a user's connection that
//! leads to a new server), a call by source follows.

pub(crate) mod names;
pub(crate) mod wire;

use std::{future::Future, sync::Arc};

use once_cell::sync::Lazy;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::{
    core::io::{Command, View},
    link::{
        Link,
        code::{is_cross_slot, is_unknown_script, no_reply},
    },
    store::{Sent, redis::names::Names},
    threads::runtime::Engine,
};

impl Sent {
    fn script(&self) -> &'static Script {
        match self.command {
            Command::Acquire { .. } => &ACQUIRE,
            Command::Heartbeat { .. } => &HEARTBEAT,
            Command::Renew { .. } => &RENEW,
            Command::Release { .. } => &RELEASE,
        }
    }

    fn by_source(&self) -> Cmd {
        self.cmd("EVAL", &self.script().source)
    }

    fn by_hash(&self) -> Cmd {
        self.cmd("EVALSHA", &self.script().hash)
    }

    fn cmd(&self, verb: &str, script: &str) -> Cmd {
        const ARGUMENTS: usize = 9;
        const SIZE: usize = 256;
        let size = SIZE + verb.len() + script.len() + self.names.size();
        let mut command = Cmd::with_capacity(3 + Names::COUNT + ARGUMENTS, size);
        command.arg(verb).arg(script).arg(Names::COUNT);
        self.names.each(|name| {
            command.arg(name);
        });
        wire::arguments(self.session, self.pushes, &self.command, |argument| {
            command.arg(argument);
        });
        command
    }

    fn read(&self, reply: Value) -> RedisResult<View> {
        let reply = match reply {
            Value::Int(number) => wire::Reply::Number(number),
            other => wire::Reply::Text(String::from_redis_value(other)?),
        };
        wire::view(&self.command, &reply).ok_or_else(unexpected)
    }
}

/// Calls the script of a command.
pub(crate) fn call(
    link: &Arc<Link>,
    sent: Box<Sent>,
) -> impl Future<Output = RedisResult<View>> + Send + use<> {
    let link = Arc::clone(link);
    let hash: &'static str = &sent.script().hash;
    // The command goes out from the current runtime.
    let first = if link.knows(hash) {
        link.send(sent.by_hash())
    } else {
        link.send(sent.by_source())
    };
    let was_by_hash = link.knows(hash);
    async move {
        match first.await {
            Err(error) if was_by_hash && is_unknown_script(&error) => {
                link.forgets(hash);
            }
            reply => {
                let view = sent.read(reply?)?;
                link.learns(hash);
                return Ok(view);
            }
        }
        let view = sent.read(link.send(sent.by_source()).await?)?;
        link.learns(hash);
        Ok(view)
    }
}

/// Calls several scripts. A call that fails does not hinder the rest.
pub(crate) async fn call_all(
    engine: &Engine,
    link: &Arc<Link>,
    calls: &[Sent],
) -> RedisResult<Vec<RedisResult<View>>> {
    let mut replies = call_once(engine, link, calls).await?;
    // The first call by source makes the script known to the rest.
    let unknown: Vec<_> = (0..replies.len())
        .filter(|i| replies[*i].as_ref().is_err_and(is_unknown_script))
        .collect();
    if !unknown.is_empty() {
        let again: Vec<_> = unknown.iter().map(|i| calls[*i].clone()).collect();
        for call in &again {
            link.forgets(&call.script().hash);
        }
        let again = call_once(engine, link, &again).await?;
        for (i, reply) in unknown.into_iter().zip(again) {
            replies[i] = reply;
        }
    }
    let mut views = Vec::with_capacity(replies.len());
    for (call, reply) in calls.iter().zip(replies) {
        if reply.is_ok() {
            link.learns(&call.script().hash);
        }
        views.push(reply.and_then(|reply| call.read(reply)));
    }
    Ok(views)
}

async fn call_once(
    engine: &Engine,
    link: &Arc<Link>,
    calls: &[Sent],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut sourced: Vec<&str> = Vec::new();
    let mut pipeline = Pipeline::with_capacity(calls.len());
    pipeline.ignore_errors();
    for call in calls {
        let hash = &*call.script().hash;
        // A pipeline is executed in order: after a call by source the server knows the script.
        if link.knows(hash) || sourced.contains(&hash) {
            pipeline.add_command(call.by_hash());
        } else {
            sourced.push(hash);
            pipeline.add_command(call.by_source());
        }
    }
    match link.send_all(pipeline).await {
        // A cluster has no pipelines over several slots: send the calls one by one, at the same time.
        Err(error) if is_cross_slot(&error) => {
            let alone: Vec<_> = calls
                .iter()
                .map(|call| {
                    if link.knows(&call.script().hash) {
                        call.by_hash()
                    } else {
                        call.by_source()
                    }
                })
                .map(|command| engine.spawn(link.send(command)))
                .collect();
            let mut replies = Vec::with_capacity(alone.len());
            for reply in alone {
                replies.push(reply.await.unwrap_or_else(|_| Err(no_reply())));
            }
            Ok(replies)
        }
        replies => replies,
    }
}

struct Script {
    source: String,
    hash: String,
}

static ACQUIRE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("acquire.lua")));
static HEARTBEAT: Lazy<Script> = Lazy::new(|| Script::new(include_str!("heartbeat.lua")));
static RENEW: Lazy<Script> = Lazy::new(|| Script::new(include_str!("renew.lua")));
static RELEASE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("release.lua")));

impl Script {
    fn new(source: &str) -> Self {
        let source = source
            .replace("--@state", include_str!("state.lua"))
            .replace("--@open", include_str!("open.lua"))
            .replace("--@settle", include_str!("settle.lua"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Script { source, hash }
    }
}

fn unexpected() -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "unexpected reply of a script",
    )
        .into()
}
