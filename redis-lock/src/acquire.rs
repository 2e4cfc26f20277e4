//! Getting a lock: ask, stand in line, until it is ours or the time is up.
//!
//! 1. All commands of one acquisition carry one id, so an answer that was lost is asked for again.
//! 2. A free lock costs one command. Where others of this process wait already, a newcomer joins them at once.
//! 3. Whoever gives up, for whatever reason, leaves nothing behind: see [`Attempt`] and [`Waiter`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{RedisError, RedisResult};

use crate::{
    ask::{End, FAILED_PAUSE, LATEST_ARRIVAL, LONGEST_FAILED_PAUSE, Waiter},
    code::{Class, class, did_nothing, is_transient, no_reply},
    connection::{Link, Reply},
    engine::{Engine, engine},
    error::Error,
    guard::Guard,
    hold::Hold,
    key::Key,
    lease::Terms,
    line::{Turn, WAITER_LEASE},
    options::{Options, Wait},
    owner::Owner,
    pause::Pauses,
    release::withdraw,
    renewal::watch,
    run::Claim,
    script::{self, Acquired},
    unlock::give_back,
};

/// How long a login that is refused is taken for one that will be granted in a moment, by an acquisition that has nothing
/// yet.
const LOGIN_PATIENCE: Duration = Duration::from_secs(2);

/// Takes the lock as `options` say. The call ends within `wait` and one command's time limit, whatever happens.
///
/// Cancel safe: dropped at any time, it leaves neither a hold nor a place in the queue behind.
pub(crate) async fn acquire(link: Arc<Link>, options: Options, key: Key) -> Result<Guard, Error> {
    key.check()?;
    options.check(&key)?;
    let limit = options.limit(Instant::now());
    acquire_checked(link, options, key, limit).await
}

/// As [`acquire`], for a key and options that have been checked, within a limit for several locks.
pub(crate) async fn acquire_checked(
    link: Arc<Link>,
    options: Options,
    key: Key,
    limit: Option<Instant>,
) -> Result<Guard, Error> {
    let engine = engine()?;
    let owner = Arc::new(Owner::new(link, &options, key));
    let ending = Arc::clone(&owner.link.ending);
    let mut failures = Failures::new();
    // Boxed: what follows would store it several times over in the future of every acquisition.
    let attempt = Box::pin(attempt(engine, Arc::clone(&owner), &options, &mut failures));
    // Dropped, it is withdrawn in the background.
    let attempt = ending.unless_begun(attempt);
    let outcome = match limit {
        Some(limit) => {
            let left = limit.saturating_duration_since(Instant::now());
            engine.timeout(left, attempt).await
        }
        None => Some(attempt.await),
    };
    match outcome {
        Some(Some(result)) => result,
        Some(None) => Err(Error::ShutDown {
            key: owner.key.clone(),
        }),
        None => Err(owner.failed(failures.latest.unwrap_or_else(no_reply))),
    }
}

async fn attempt(
    engine: &'static Engine,
    owner: Arc<Owner>,
    options: &Options,
    failures: &mut Failures,
) -> Result<Guard, Error> {
    let terms = Terms {
        ttl: options.ttl,
        auto_extend: options.auto_extend,
        max_hold: options.max_hold,
        command_timeout: options.command_timeout,
    };
    let started = Instant::now();
    let end = match options.wait {
        Wait::For(wait) => Some(started + wait),
        Wait::Forever => None,
    };
    let is_over = |at| end.is_some_and(|end| at >= end);
    let mut waiter = (!is_over(started)).then(|| Waiter::new(&owner));
    let mut attempt = Attempt::new(engine, owner, terms);
    let mut failed_before = false;
    loop {
        if let Some(waiter) = waiter.as_mut().filter(|waiter| waiter.is_in_line())
            && let Some(result) = attempt.wait_in_line(waiter, end).await
        {
            return result;
        }
        let sent = Instant::now();
        // The last command does not queue, and takes back the place in the queue.
        let last = is_over(sent);
        if last {
            // A push may have made it its turn already.
            if let Some(result) = waiter.take().and_then(|waiter| attempt.leaves(waiter)) {
                return result;
            }
        } else if let Some(waiter) = &waiter {
            waiter.asks(sent);
        }
        let answer = attempt.ask(!last).await;
        let fails = answer.is_err();
        failures.note(sent, answer.as_ref().err());
        let pause = match answer {
            Ok(Acquired::Held { token }) => {
                let owner = Arc::clone(&attempt.owner);
                let mut hold = Hold::new(owner, token, terms, sent, attempt.doubt);
                if !hold.is_lost() {
                    let claim = Claim::new(sent, terms.first_ttl());
                    let in_run = match &mut waiter {
                        Some(waiter) => waiter.holds(claim),
                        None => Some(false),
                    };
                    if let Some(in_run) = in_run {
                        attempt.unsettled = false;
                        hold.in_run = in_run;
                        let hold = Arc::new(hold);
                        watch(&hold);
                        return Ok(Guard::new(hold));
                    }
                    // A push has put it into a run, which knows better.
                    continue;
                }
                // The answer came too late to be of use. Asking again makes the lease a full one.
                Duration::ZERO
            }
            Ok(Acquired::Queued { place, left }) => {
                attempt.owner.link.waits();
                if let Some(waiter) = &mut waiter {
                    waiter.queued(sent, place, left, attempt.doubt);
                }
                Duration::ZERO
            }
            Ok(Acquired::InRun) if !last => {
                if let Some(waiter) = &mut waiter {
                    waiter.let_in(attempt.doubt);
                }
                Duration::ZERO
            }
            // Let in at this very moment, but not as the one whose turn it is: given back.
            Ok(Acquired::InRun | Acquired::Busy) => {
                attempt.unsettled &=
                    attempt.doubt.is_some() || matches!(answer, Ok(Acquired::InRun));
                let (key, mode) = (attempt.owner.key.clone(), attempt.owner.mode);
                let waited = started.elapsed();
                return Err(Error::Contended { key, mode, waited });
            }
            // A link that broke is often back at the second try; so that one is always made.
            Err(error)
                if is_transient(&error) && !(last && failed_before) && !failures.are_hopeless() =>
            {
                attempt
                    .owner
                    .trouble(error, "acquisition failed; trying again");
                failures.pauses.next()
            }
            Err(error) => return Err(attempt.owner.failed(error)),
        };
        failed_before = fails;
        if !pause.is_zero() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let pause = match left {
                Some(left) if !last => pause.min(left),
                _ => pause,
            };
            engine.sleep(pause).await;
        }
    }
}

/// The commands of one acquisition that failed one after another.
struct Failures {
    pauses: Pauses,
    since: Option<Instant>,
    latest: Option<RedisError>,
}

impl Failures {
    fn new() -> Self {
        Failures {
            pauses: Pauses::new(FAILED_PAUSE, LONGEST_FAILED_PAUSE),
            since: None,
            latest: None,
        }
    }

    /// A command that was sent at `sent` has had its answer, or will have none.
    fn note(&mut self, sent: Instant, error: Option<&RedisError>) {
        self.latest = error.cloned();
        if error.is_some() {
            self.since.get_or_insert(sent);
        } else {
            *self = Failures::new();
        }
    }

    /// Whether the login has been refused for so long that the password must be wrong.
    fn are_hopeless(&self) -> bool {
        let is_login = self
            .latest
            .as_ref()
            .is_some_and(|error| class(error) == Class::Login);
        is_login
            && self
                .since
                .is_some_and(|since| since.elapsed() >= LOGIN_PATIENCE)
    }
}

/// An acquisition under way. Dropped before it is settled, it is withdrawn in the background: the command
/// that is on its way is waited for, and what it got is given back.
struct Attempt {
    engine: &'static Engine,
    owner: Arc<Owner>,
    terms: Terms,
    in_flight: Option<Reply<Acquired>>,
    /// Something was sent, and may have left something behind.
    unsettled: bool,
    /// Until when a command that was not answered may yet be executed.
    doubt: Option<Instant>,
}

impl Attempt {
    fn new(engine: &'static Engine, owner: Arc<Owner>, terms: Terms) -> Self {
        Attempt {
            engine,
            owner,
            terms,
            in_flight: None,
            unsettled: false,
            doubt: None,
        }
    }

    /// Until it is its turn; `None`: the time is up, or its turn was over before anybody looked.
    async fn wait_in_line(
        &mut self,
        waiter: &mut Waiter,
        end: Option<Instant>,
    ) -> Option<Result<Guard, Error>> {
        loop {
            // Whatever has been sent is the waiter's to see to.
            self.unsettled = false;
            match waiter.turn(self.engine, end).await {
                End::Turn(turn, owner, doubt) => {
                    if let Some(guard) = self.takes(turn, owner, doubt) {
                        return Some(Ok(guard));
                    }
                    *waiter = Waiter::new(&self.owner);
                    if !waiter.is_in_line() {
                        return None;
                    }
                }
                End::Failed(error) => return Some(Err(error)),
                End::Over {
                    owner,
                    asked,
                    doubt,
                } => {
                    self.owner = owner;
                    self.doubt = doubt;
                    self.unsettled = asked || doubt.is_some();
                    return None;
                }
            }
        }
    }

    /// Its time is up, and it has not been in a line. `Some`: it has something all the same.
    fn leaves(&mut self, mut waiter: Waiter) -> Option<Result<Guard, Error>> {
        match waiter.leave()? {
            End::Turn(turn, owner, doubt) => {
                self.unsettled = false;
                self.takes(turn, owner, doubt.max(self.doubt)).map(Ok)
            }
            End::Failed(error) => Some(Err(error)),
            End::Over { owner, .. } => {
                self.goes_on_as(owner);
                None
            }
        }
    }

    /// `None`: the claim had ended before anybody looked; it goes on under another id.
    fn takes(&mut self, turn: Turn, owner: Arc<Owner>, doubt: Option<Instant>) -> Option<Guard> {
        let hold = Arc::new(Hold::claimed(owner, turn, self.terms, doubt));
        if hold.is_lost() {
            give_back(hold);
            self.goes_on_as(Arc::new(self.owner.anew()));
            return None;
        }
        watch(&hold);
        Some(Guard::new(hold))
    }

    /// What it had under its old id, if that is another, is withdrawn.
    fn goes_on_as(&mut self, owner: Arc<Owner>) {
        if owner.id != self.owner.id {
            *self = Attempt::new(self.engine, owner, self.terms);
        }
    }

    async fn ask(&mut self, may_wait: bool) -> RedisResult<Acquired> {
        let waiter_lease = if may_wait {
            WAITER_LEASE
        } else {
            Duration::ZERO
        };
        let patience = self.terms.patience();
        let was_unsettled = std::mem::replace(&mut self.unsettled, true);
        let ttl = self.terms.first_ttl();
        let reply = self
            .in_flight
            .insert(script::acquire(&self.owner, ttl, waiter_lease));
        let answer = self.owner.link.within(patience, reply).await;
        if answer.is_some() {
            self.in_flight = None;
        }
        let answer = answer.unwrap_or_else(|| Err(no_reply()));
        match &answer {
            Ok(_) => {}
            Err(error) if did_nothing(error) => self.unsettled = was_unsettled,
            Err(_) => self.doubt = Some(Instant::now() + LATEST_ARRIVAL),
        }
        answer
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.unsettled {
            let owner = Arc::clone(&self.owner);
            let until = Instant::now() + self.terms.first_ttl().clamp(WAITER_LEASE, LATEST_ARRIVAL);
            let in_flight = self.in_flight.take();
            withdraw(self.engine, owner, in_flight, self.doubt, until);
        }
    }
}
