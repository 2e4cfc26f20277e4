//! A whole cycle on a probe key: what a lock does when it is alone, shared, waited for and handed over.
//!
//! The cycle finds what only contention needs, such as a permission, before two processes meet. What a user may not run is
//! looked for command by command, since Redis does not name it where a script is refused.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, Pipeline, RedisResult};

use crate::{
    code::{Class, class, no_reply},
    connection::{Link, Reply},
    engine::{Engine, engine},
    error::Error,
    key::{Key, Names},
    line::WAITER_LEASE,
    mode::Mode,
    options::Options,
    owner::Owner,
    release::withdraw,
    script::{self, Acquired, Beat, Renewal, With},
    text::Shown,
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
    /// The server's `maxmemory-policy`, if the user may read it. Any other than `noeviction` may evict locks.
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

/// Runs the cycle. Cancel safe: what is left of it is withdrawn in the background.
pub(crate) async fn check(link: Arc<Link>, options: Options) -> Result<Check, Error> {
    let key = Key::from(format!("check:{:032x}", rand::random::<u128>()));
    options.check(&key)?;
    let engine = engine()?;
    let mut probe = Probe {
        engine,
        link,
        options,
        key,
        owners: Vec::new(),
        round_trip: Duration::MAX,
    };
    // Some commands are run only where a process has died.
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
    let owner = probe.owner(Mode::Write);
    let wake_ups = probe.cycle().await.map_err(|error| owner.failed(error))?;
    Ok(Check {
        wake_ups,
        round_trip: probe.round_trip,
        maxmemory_policy: probe.policy().await,
    })
}

struct Probe {
    engine: &'static Engine,
    link: Arc<Link>,
    options: Options,
    key: Key,
    /// Everything that has asked for the probe key.
    owners: Vec<Arc<Owner>>,
    round_trip: Duration,
}

impl Probe {
    /// Returns whether the hand-over was heard.
    async fn cycle(&mut self) -> RedisResult<bool> {
        let (first, second) = (self.owner(Mode::Write), self.owner(Mode::Write));
        self.acquire(&first, true, |reply| matches!(reply, Acquired::Held { .. }))
            .await?;
        self.acquire(&second, true, |reply| {
            matches!(reply, Acquired::Queued { .. })
        })
        .await?;
        let beat = Beat {
            id: second.id,
            mode: Mode::Write,
            is_new: false,
        };
        self.reply(script::wait(&second, WAITER_LEASE, vec![beat]))
            .await?;
        let renewal = Renewal {
            owner: Arc::clone(&first),
            ttl: self.options.ttl,
            behind: None,
        };
        let (engine, link) = (self.engine, Arc::clone(&self.link));
        let renewals = Box::pin(async move { script::renew(engine, &link, vec![renewal]).await });
        for renewed in self.reply(renewals).await? {
            expect(renewed?, "the lease of the probe key was not renewed")?;
        }
        let mut heard = second.front.heard();
        heard.mark_unchanged();
        self.release(&first).await?;
        let wake_ups = !second.front.channel().is_empty()
            && self.engine.timeout(HEARD, heard.changed()).await.is_some();
        self.release(&second).await?;

        let (reader, other) = (self.owner(Mode::Read), self.owner(Mode::Read));
        let (writer, tries) = (self.owner(Mode::Write), self.owner(Mode::Write));
        for reader in [&reader, &other] {
            self.acquire(reader, true, |reply| matches!(reply, Acquired::Held { .. }))
                .await?;
        }
        self.acquire(&tries, false, |reply| matches!(reply, Acquired::Busy))
            .await?;
        self.acquire(&writer, true, |reply| {
            matches!(reply, Acquired::Queued { .. })
        })
        .await?;
        for owner in [&reader, &other, &writer] {
            self.release(owner).await?;
        }
        Ok(wake_ups)
    }

    fn owner(&mut self, mode: Mode) -> Arc<Owner> {
        let options = Options {
            mode,
            ..self.options.clone()
        };
        let owner = Owner::new(Arc::clone(&self.link), &options, self.key.clone());
        let owner = Arc::new(owner);
        self.owners.push(Arc::clone(&owner));
        owner
    }

    async fn acquire(
        &mut self,
        owner: &Arc<Owner>,
        may_wait: bool,
        is_right: fn(&Acquired) -> bool,
    ) -> RedisResult<()> {
        let lease = if may_wait {
            WAITER_LEASE
        } else {
            Duration::ZERO
        };
        let reply = self
            .reply(script::acquire(owner, self.options.ttl, lease))
            .await?;
        expect(
            is_right(&reply),
            "the probe key was taken by another client",
        )
    }

    async fn release(&mut self, owner: &Arc<Owner>) -> RedisResult<()> {
        let released = self.reply(script::release(owner, With::Nothing)).await?;
        expect(released.found, "the probe key was lost")
    }

    async fn reply<T>(&mut self, reply: Reply<T>) -> RedisResult<T> {
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
        // In one go: what the first one makes must go, also if this is dropped in between.
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
        let until = Instant::now() + self.options.command_timeout;
        for owner in self.owners.drain(..) {
            withdraw(self.engine, owner, None, None, until);
        }
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
const ROLES: [&str; 5] = ["<gate>", "<holders>", "<queue>", "<waiters>", "<records>"];

/// Each command that a script runs, in a form that changes nothing. `PUBLISH` is not among them: a lock works without it.
const TRIALS: &[&str] = &[
    "EVAL return(1) 0",
    "EVALSHA 0000000000000000000000000000000000000000 0",
    "TIME",
    "GET <gate>",
    "PTTL <gate>",
    "SET <gate> probe XX PX 1",
    "PEXPIRE <gate> 1",
    "ZADD <holders> XX 1 probe",
    "ZCARD <holders>",
    "ZCOUNT <holders> 0 0",
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
            include_str!("script/acquire.lua"),
            include_str!("script/book.lua"),
            include_str!("script/release.lua"),
            include_str!("script/renew.lua"),
            include_str!("script/wait.lua"),
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
