//! A whole cycle on a probe key: a lock that is held alone, shared, waited for and handed over.
//!
//! The cycle also needs what only contention needs, such as a permission, so a fault shows before two processes meet. The
//! permissions are tried command by command, since Redis does not name the missing permission when a script is refused.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, Pipeline, RedisResult};

use crate::{
    api::{error::Error, options::Options},
    core::io::{Command, View, Want},
    link::{
        Link,
        code::{Class, class, no_reply},
        front::Front,
    },
    store::{self, Sent, redis::names::Names},
    threads::runtime::Engine,
    values::{
        key::Key,
        mode::Mode,
        session::{Pushes, SessionId},
        text::Shown,
        ticket::{Ticket, Tickets},
        time::ServerTime,
    },
};

/// What [`Locker::check`](crate::Locker::check) has found: the lock works.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let check = locker.check().await?;
/// println!("{check}");
/// assert!(check.wake_ups, "waiters hear of their turn by push");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The quickest round trip of a command that takes, renews or gives back a lock.
    pub round_trip: Duration,
    /// Whether the hand-over to a waiter was heard by push. If not, waiters poll.
    pub wake_ups: bool,
    /// The server's `maxmemory-policy`, if the user may read the setting. Every policy but `noeviction` may evict locks.
    pub maxmemory_policy: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.round_trip.as_secs_f64() * 1000.0;
        write!(f, "locks work, with a round trip of {millis:.1} ms")?;
        if !self.wake_ups {
            f.write_str("; no wake-ups, so waiters poll: they need RESP3 and the right to `redis-lock:*` channels")?;
        }
        match self.maxmemory_policy.as_deref() {
            None | Some("noeviction") => Ok(()),
            Some(policy) => write!(
                f,
                "; Redis may evict locks: set its maxmemory-policy from {} to noeviction",
                Shown(policy)
            ),
        }
    }
}

/// How long a message to a waiter may take.
const HEARD: Duration = Duration::from_millis(500);

/// Runs the cycle. Cancel safe: the rest of a dropped cycle is withdrawn in the background.
pub(crate) async fn check(link: Arc<Link>, options: Options) -> Result<Check, Error> {
    let key = Key::from(format!("check:{:032x}", rand::random::<u128>()));
    options.check(&key)?;
    let front = link.front();
    let engine = front.engine().map_err(Error::Engine)?.clone();
    let mut probe = Probe {
        engine,
        names: Names::new(&options.namespace, &key),
        link,
        options,
        key,
        front,
        sessions: Vec::new(),
        round_trip: Duration::MAX,
    };
    // Some commands are only needed after a process has died.
    let refused = probe.refused().await;
    if !refused.is_empty() {
        return Err(Error::Unusable {
            server: probe.link.server(),
            problem: format!(
                "this user lacks permissions that a lock needs: {}; the README has the ACL of a user that has them all",
                refused.join(", ")
            )
            .into(),
            cause: None,
        });
    }
    let wake_ups = probe.cycle().await;
    let wake_ups = wake_ups.map_err(|error| Error::failed(&probe.link, &probe.key, error))?;
    Ok(Check {
        wake_ups,
        round_trip: probe.round_trip,
        maxmemory_policy: probe.policy().await,
    })
}

struct Probe {
    engine: Engine,
    link: Arc<Link>,
    options: Options,
    key: Key,
    names: Names,
    /// The front that is to hear the hand-over.
    front: Arc<Front>,
    /// All sessions that have asked for the probe key.
    sessions: Vec<SessionId>,
    round_trip: Duration,
}

/// Each session of the probe has this ticket.
const TICKET: Tickets = Tickets {
    from: Ticket(1),
    to: Ticket(1),
};

impl Probe {
    /// Returns whether the hand-over was heard.
    async fn cycle(&mut self) -> RedisResult<bool> {
        let first = self.session();
        let second = self.front.session();
        self.sessions.push(second);
        let taken = "the probe key was taken by another client";
        let view = self.acquire(first, Mode::Write, false).await?;
        expect(view.grant.is_some(), taken)?;
        let view = self.acquire(second, Mode::Write, false).await?;
        expect(view.queued.len() == 1, taken)?;
        let heartbeat = Command::Heartbeat {
            done_below: TICKET.from,
            keeps_grant: false,
        };
        self.send(second, heartbeat).await?;
        let renewal = Command::Renew {
            ticket: TICKET.from,
            ttl: self.options.ttl,
            epoch: 1,
        };
        let view = self.send(first, renewal).await?;
        let renewed = "the lease of the probe key was not renewed";
        expect(view.grant.is_some(), renewed)?;
        let mut heard = self.front.heard();
        heard.mark_unchanged();
        self.release(first).await?;
        let wake_ups = !self.front.channel().is_empty()
            && self.engine.timeout(HEARD, heard.changed()).await.is_some();
        self.release(second).await?;

        let (reader, other) = (self.session(), self.session());
        let (writer, tries) = (self.session(), self.session());
        for reader in [reader, other] {
            let view = self.acquire(reader, Mode::Read, false).await?;
            expect(view.grant.is_some(), taken)?;
        }
        let view = self.acquire(tries, Mode::Write, true).await?;
        expect(view.grant.is_none() && view.queued.is_empty(), taken)?;
        let view = self.acquire(writer, Mode::Write, false).await?;
        expect(view.queued.len() == 1, taken)?;
        for session in [reader, other, writer] {
            self.release(session).await?;
        }
        Ok(wake_ups)
    }

    fn session(&mut self) -> SessionId {
        let session = SessionId(rand::random());
        self.sessions.push(session);
        session
    }

    async fn acquire(&mut self, session: SessionId, mode: Mode, is_try: bool) -> RedisResult<View> {
        let want = Want {
            mode,
            tickets: TICKET,
            is_try,
        };
        let acquire = Command::Acquire {
            wants: vec![want],
            done_below: TICKET.from,
            ttl: self.options.ttl,
            // Whatever the server's clock shows.
            not_after: Some(ServerTime(9_999_999_999_999_999)),
        };
        self.send(session, acquire).await
    }

    async fn release(&mut self, session: SessionId) -> RedisResult<()> {
        let view = self.send(session, release()).await?;
        expect(view.found, "the probe key was lost")
    }

    async fn send(&mut self, session: SessionId, command: Command) -> RedisResult<View> {
        let pushes = if session == self.front.session() && self.front.is_listening() {
            self.front.pushes()
        } else {
            Pushes::None
        };
        let names = self.names.clone();
        let sent = Sent {
            names,
            session,
            pushes,
            command,
        };
        let reply = store::call(&self.link, Box::new(sent));
        self.reply(reply).await
    }

    async fn reply<T>(&mut self, reply: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let sent = Instant::now();
        let reply = self.link.within(self.options.command_timeout, reply).await;
        self.round_trip = self.round_trip.min(sent.elapsed());
        reply.unwrap_or_else(|| Err(no_reply()))
    }

    async fn policy(&mut self) -> Option<String> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let reply = self.link.send(info);
        let text: String = redis::from_redis_value(self.reply(reply).await.ok()?).ok()?;
        let mut lines = text.lines();
        let policy = lines.find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
        Some(policy.to_owned())
    }

    /// The commands that this user may not run on the names of a lock in this namespace, as an ACL names them.
    async fn refused(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        Names::new(&self.options.namespace, &self.key).each(|name| names.push(name.to_owned()));
        let command = |trial: &str| {
            let mut command = Cmd::new();
            for word in trial.split(' ') {
                let role = ROLES.iter().position(|role| *role == word);
                command.arg(role.map_or(word, |role| &names[role]));
            }
            command
        };
        let mut replies = Vec::new();
        for trial in TRIALS {
            let reply = self.link.send(command(trial));
            replies.push((*trial, self.reply(reply).await));
        }
        // In one pipeline: the last commands remove what the first commands make, also if this future is dropped in between.
        let mut pipeline = Pipeline::new();
        pipeline.ignore_errors();
        for trial in LAST_TRIALS {
            pipeline.add_command(command(trial));
        }
        let last = self.link.send_all(pipeline);
        if let Ok(last) = self.reply(last).await {
            replies.extend(LAST_TRIALS.iter().copied().zip(last));
        }
        let mut refused = Vec::new();
        for (trial, reply) in replies {
            let Some(error) = reply
                .err()
                .filter(|error| class(error) == Class::Permission)
            else {
                continue;
            };
            let text = error.detail().unwrap_or_default();
            if text.contains("key") && !text.contains("command") {
                return vec![format!("the keys ~{}:*", Shown(&self.options.namespace))];
            }
            let name = trial.split(' ').next().unwrap_or_default();
            let permission = format!("+{}", name.to_lowercase());
            if !refused.contains(&permission) {
                refused.push(permission);
            }
        }
        refused
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        for session in self.sessions.drain(..) {
            let link = Arc::clone(&self.link);
            let limit = self.options.command_timeout;
            let sent = Sent {
                names: self.names.clone(),
                session,
                pushes: Pushes::None,
                command: release(),
            };
            self.engine.spawn(async move {
                let reply = store::call(&link, Box::new(sent));
                link.within(limit, reply).await
            });
        }
    }
}

fn release() -> Command {
    Command::Release {
        tickets: TICKET,
        keep_out: Duration::ZERO,
        untouched: None,
    }
}

fn expect(is_right: bool, what: &'static str) -> RedisResult<()> {
    if is_right {
        Ok(())
    } else {
        Err((redis::ErrorKind::UnexpectedReturnType, what).into())
    }
}

/// The five names of a lock, as the trials call them.
const ROLES: [&str; 5] = ["<word>", "<grants>", "<queue>", "<waiters>", "<records>"];

/// Each command that a script runs, in a form that changes nothing. Without `PUBLISH`, which a lock does not need.
const TRIALS: &[&str] = &[
    "EVAL return(1) 0",
    "EVALSHA 0000000000000000000000000000000000000000 0",
    "TIME",
    "GET <word>",
    "PTTL <word>",
    "SET <word> probe XX PX 1",
    "PEXPIRE <word> 1",
    "ZADD <grants> XX 1 probe",
    "ZCARD <grants>",
    "ZCOUNT <grants> 0 0",
    "ZRANGE <queue> 0 0",
    "ZREVRANGE <queue> 0 0",
    "ZRANGEBYSCORE <waiters> 0 0",
    "ZRANK <queue> probe",
    "ZSCORE <queue> probe",
    "ZREM <queue> probe",
    "HGET <records> probe",
    "HMGET <records> probe",
    "HDEL <records> probe",
];
const LAST_TRIALS: &[&str] = &[
    "HSET <records> probe 1",
    "PEXPIRE <records> 1000",
    "DEL <records>",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_the_scripts_has_its_trial() {
        let scripts = [
            include_str!("../store/redis/acquire.lua"),
            include_str!("../store/redis/heartbeat.lua"),
            include_str!("../store/redis/release.lua"),
            include_str!("../store/redis/renew.lua"),
            include_str!("../store/redis/state.lua"),
        ];
        let mut count = 0;
        for call in scripts
            .iter()
            .flat_map(|script| script.split("call('").skip(1))
        {
            let (name, _) = call.split_once('\'').expect("a name ends");
            let mut trials = TRIALS.iter().chain(LAST_TRIALS);
            let has_trial = trials.any(|trial| trial.split(' ').next() == Some(name));
            assert!(has_trial || name == "PUBLISH", "{name}");
            count += 1;
        }
        assert!(count > 40, "{count} calls");
    }
}
