//! The scripts, typed. The only file that knows what a lock looks like in Redis.
//!
//! A script is called by its source until a call of it has been answered over that link, then by its hash. So each call is
//! one round trip, also the first. Only where a server has forgotten a script without a new connection (`SCRIPT FLUSH`,
//! another node of a cluster, a connection of the user's), the call by hash is followed by one by source.

use std::{sync::Arc, time::Duration};

use once_cell::sync::Lazy;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::{
    code::{is_cross_slot, is_unknown_script, no_reply},
    connection::{Link, Reply},
    engine::Engine,
    key::Names,
    mode::Mode,
    owner::{Id, Owner},
};

/// The answer to [`acquire`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Held {
        token: u64,
    },
    /// In line. `left`: when the leases of those who hold it now end, unless they are renewed.
    Queued {
        place: u32,
        left: Duration,
    },
    /// Not held, and nothing left behind.
    Busy,
    /// Let in with others of this process, which must know whose turn it is.
    InRun,
}

/// The answer to [`wait`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Of the first who waits yet.
    pub(crate) place: Option<u32>,
    /// When the leases of those who hold it now end, unless they are renewed.
    pub(crate) left: Duration,
    /// All grants after this have tokens above it.
    pub(crate) as_of: u64,
    /// Those of the askers that have been let in, with their tokens.
    pub(crate) granted: Vec<(Id, u64)>,
    /// Waiters that an earlier reply told of, and that Redis does not know any more.
    pub(crate) unknown: Vec<Id>,
}

/// What [`release`] found and gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Released {
    pub(crate) found: bool,
    /// The waiters, of any process, that now hold the lock; of a run, the first.
    pub(crate) granted: Vec<Id>,
}

/// Takes the lock, or a place in its queue (`waiter_lease` > 0), or neither.
pub(crate) fn acquire(
    owner: &Arc<Owner>,
    ttl: Duration,
    waiter_lease: Duration,
) -> Reply<Acquired> {
    let write = move |owner: &Owner, command: &mut Cmd| {
        command.arg(&owner.id.text()[..]).arg(owner.mode.letter());
        command.arg(millis(ttl)).arg(millis(waiter_lease));
        command.arg(owner.front.channel());
    };
    call(
        &ACQUIRE,
        Arc::clone(owner),
        write,
        |reply| match <Vec<i64>>::from_redis_value(reply)?[..] {
            [1, token] => Ok(Acquired::Held {
                token: token.cast_unsigned(),
            }),
            [0, place, left] => Ok(Acquired::Queued {
                place: u32::try_from(place).unwrap_or(u32::MAX),
                left: Duration::from_millis(left.cast_unsigned()),
            }),
            [-1, _] => Ok(Acquired::Busy),
            [2, _] => Ok(Acquired::InRun),
            _ => Err(unexpected("acquire")),
        },
    )
}

/// A waiter in a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    pub(crate) id: Id,
    pub(crate) mode: Mode,
    /// No reply has told of it yet, so the heartbeat may create it.
    pub(crate) is_new: bool,
}

/// The heartbeat of waiters of one lock. `owner` is any of them.
pub(crate) fn wait(
    owner: &Arc<Owner>,
    waiter_lease: Duration,
    waiters: Vec<Beat>,
) -> Reply<Waiting> {
    let write = move |owner: &Owner, command: &mut Cmd| {
        command.arg(millis(waiter_lease)).arg(owner.front.channel());
        for Beat { id, mode, is_new } in &waiters {
            let mode = if *is_new { mode.letter() } else { "=" };
            command.arg(&id.text()[..]).arg(mode);
        }
    };
    call(&WAIT, Arc::clone(owner), write, |reply| {
        let items = <Vec<Value>>::from_redis_value(reply)?;
        let mut items = items.into_iter();
        let mut number = || -> RedisResult<i64> {
            let item = items.next().ok_or_else(|| unexpected("wait"))?;
            Ok(i64::from_redis_value(item)?)
        };
        let (place, left, as_of) = (number()?, number()?, number()?);
        let mut granted = Vec::with_capacity(items.len() / 2);
        let mut unknown = Vec::new();
        while let (Some(id), Some(token)) = (items.next(), items.next()) {
            let id = Id::parse(&String::from_redis_value(id)?);
            let id = id.ok_or_else(|| unexpected("wait"))?;
            match i64::from_redis_value(token)? {
                -1 => unknown.push(id),
                token => granted.push((id, token.cast_unsigned())),
            }
        }
        Ok(Waiting {
            place: u32::try_from(place).ok(),
            left: Duration::from_millis(left.cast_unsigned()),
            as_of: as_of.cast_unsigned(),
            granted,
            unknown,
        })
    })
}

/// What else is known of what is given up.
#[derive(Clone, Debug)]
pub(crate) enum With {
    Nothing,
    /// It was taken while it was free, with this token and ttl: the gate may say no more than that.
    Gate {
        token: u64,
        ttl: Duration,
    },
    /// Those of its run that have had their turn, and go with it.
    Run(Arc<[Id]>),
}

/// Gives up the hold or the place in the queue, if there is one, and lets in who is next.
pub(crate) fn release(owner: &Arc<Owner>, with: With) -> Reply<Released> {
    let write = move |owner: &Owner, command: &mut Cmd| {
        let id = owner.id.text();
        command.arg(&id[..]);
        match &with {
            With::Nothing => {}
            With::Gate { token, ttl } => {
                let id = String::from_utf8_lossy(&id);
                command.arg(format!("W {id} {token} {}", millis(*ttl)));
                command.arg(format!("F {token}")).arg(token / 1000);
            }
            With::Run(run) => {
                for id in run.iter().filter(|id| **id != owner.id) {
                    command.arg(&id.text()[..]);
                }
            }
        }
    };
    call(&RELEASE, Arc::clone(owner), write, |reply| {
        let items = <Vec<String>>::from_redis_value(reply)?;
        let [status, ids @ ..] = &items[..] else {
            return Err(unexpected("release"));
        };
        Ok(Released {
            found: status != "0",
            granted: ids.iter().filter_map(|id| Id::parse(id)).collect(),
        })
    })
}

/// A lease that is to be set, with those of its run.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) owner: Arc<Owner>,
    pub(crate) ttl: Duration,
    /// Those behind it in its run, and what they are to have at the least.
    pub(crate) behind: Option<(Duration, Vec<Id>)>,
}

impl Renewal {
    fn command(&self, verb: &str, script: &str) -> Cmd {
        let count = self.behind.as_ref().map_or(0, |(_, ids)| ids.len());
        let mut command = command(verb, script, &self.owner, count + 3);
        command.arg(&self.owner.id.text()[..]).arg(millis(self.ttl));
        if let Some((ttl, ids)) = &self.behind {
            command.arg(millis(*ttl));
            for id in ids {
                command.arg(&id.text()[..]);
            }
        }
        command
    }
}

/// Sets leases, each from now. False: it is gone. One that fails does not hinder the others.
pub(crate) async fn renew(
    engine: &Engine,
    link: &Arc<Link>,
    renewals: Vec<Renewal>,
) -> RedisResult<Vec<RedisResult<bool>>> {
    let all: Vec<_> = renewals.iter().collect();
    let mut replies = renew_once(engine, link, &all).await?;
    // The first of these that is sent by source makes the others known.
    let unknown: Vec<_> = (0..replies.len())
        .filter(|i| replies[*i].as_ref().is_err_and(is_unknown_script))
        .collect();
    if !unknown.is_empty() {
        link.forgets(&RENEW.hash);
        let some: Vec<_> = unknown.iter().map(|i| &renewals[*i]).collect();
        let again = renew_once(engine, link, &some).await?;
        for (i, reply) in unknown.into_iter().zip(again) {
            replies[i] = reply;
        }
    }
    if replies.iter().any(Result::is_ok) {
        link.learns(&RENEW.hash);
    }
    let read = |reply: RedisResult<Value>| Ok(bool::from_redis_value(reply?)?);
    Ok(replies.into_iter().map(read).collect())
}

async fn renew_once(
    engine: &Engine,
    link: &Arc<Link>,
    renewals: &[&Renewal],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let by_source = |renewal: &Renewal| renewal.command("EVAL", &RENEW.source);
    let by_hash = |renewal: &Renewal| renewal.command("EVALSHA", &RENEW.hash);
    let is_known = link.knows(&RENEW.hash);
    let mut pipeline = Pipeline::with_capacity(renewals.len());
    pipeline.ignore_errors();
    for (i, renewal) in renewals.iter().enumerate() {
        // A pipeline is executed in order: what follows a call by source knows the script.
        let command = if is_known || i > 0 {
            by_hash(renewal)
        } else {
            by_source(renewal)
        };
        pipeline.add_command(command);
    }
    match link.send_all(pipeline).await {
        // A cluster has no pipelines over several slots; then each for itself, at the same time.
        Err(error) if is_cross_slot(&error) => {
            let alone: Vec<_> = renewals
                .iter()
                .map(|renewal| {
                    if is_known {
                        by_hash(renewal)
                    } else {
                        by_source(renewal)
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

static ACQUIRE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/acquire.lua")));
static WAIT: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/wait.lua")));
static RELEASE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/release.lua")));
static RENEW: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/renew.lua")));

impl Script {
    fn new(source: &str) -> Self {
        let source = source.replace("--@book", include_str!("script/book.lua"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Script { source, hash }
    }
}

fn call<T: 'static>(
    script: &'static Script,
    owner: Arc<Owner>,
    write: impl Fn(&Owner, &mut Cmd) + Send + Sync + 'static,
    read: fn(Value) -> RedisResult<T>,
) -> Reply<T> {
    Box::pin(async move {
        let send = |verb, script| {
            const ARGUMENTS: usize = 5;
            let mut command = command(verb, script, &owner, ARGUMENTS);
            write(&owner, &mut command);
            owner.link.send(command)
        };
        if owner.link.knows(&script.hash) {
            match send("EVALSHA", &script.hash).await {
                Err(error) if is_unknown_script(&error) => {}
                reply => return read(reply?),
            }
        }
        let reply = send("EVAL", &script.source).await?;
        owner.link.learns(&script.hash);
        read(reply)
    })
}

fn command(verb: &str, script: &str, owner: &Owner, arguments: usize) -> Cmd {
    const ID: usize = 32;
    let size = verb.len() + script.len() + owner.names.size() + arguments * ID;
    let mut command = Cmd::with_capacity(3 + Names::COUNT + arguments, size);
    command.arg(verb).arg(script).arg(Names::COUNT);
    owner.names.each(|name| {
        command.arg(name);
    });
    command
}

/// Rounded up: what is left of a lease must not become nothing before its time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn unexpected(script: &'static str) -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "unexpected reply of a script",
        script.to_owned(),
    )
        .into()
}
