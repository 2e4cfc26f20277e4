//! Getting a lock: ask, stand in line, ask again, until it is ours or the time is up.
//!
//! 1. All commands of one acquisition carry one id, so an answer that was lost is asked for again.
//! 2. A waiter asks again before its waiter lease ends, whatever else it may hear: that is its place in
//!    line. Without wake-ups from outside it asks the more often the nearer it is to the head.
//! 3. Whoever gives up, for whatever reason, leaves nothing behind: see [`Attempt`].

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::RedisResult;
use tokio::time::timeout;

use crate::{
    connection::{Link, Reply, did_nothing, is_transient, no_reply},
    error::Error,
    guard::Guard,
    hold::Hold,
    key::Key,
    lease::Terms,
    options::{Options, Wait},
    owner::Owner,
    release::withdraw,
    renewal::{Engine, engine},
    script::{self, Acquired},
    wakeup::Waiter,
};

/// How long a waiter that has died keeps its place. Short, since it blocks those behind it; long enough
/// for a heartbeat that is not answered and another one.
const WAITER_LEASE: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEAT_PATIENCE: Duration = Duration::from_millis(750);
const _: () = assert!(
    HEARTBEAT.as_millis() + 2 * HEARTBEAT_PATIENCE.as_millis() + LONGEST_PAUSE.as_millis()
        < WAITER_LEASE.as_millis()
);

/// How long a command that was not answered may still be on its way. TCP may take longer; this covers links that were
/// slow, not those that were dead.
const LATEST_ARRIVAL: Duration = Duration::from_secs(30);

/// Pauses between asking, for the head of the line. They grow with the time waited.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Takes the lock as `options` say.
///
/// Cancel safe: dropped at any time, it leaves neither a hold nor a place in the queue behind.
pub(crate) async fn acquire(link: Arc<Link>, options: Options, key: Key) -> Result<Guard, Error> {
    key.check()?;
    options.check(&key)?;
    let engine = engine()?;
    let terms = Terms {
        ttl: options.ttl,
        auto_extend: options.auto_extend,
        max_hold: options.max_hold,
    };
    let started = Instant::now();
    let end = match options.wait {
        Wait::For(wait) => Some(started + wait),
        Wait::Forever => None,
    };
    let owner = Owner::new(link, &options.namespace, key, options.mode);
    let mut attempt = Attempt::new(engine, owner, terms);
    let mut waiter = None;
    let mut failed_before = false;
    loop {
        let sent = Instant::now();
        // The last command does not queue, and takes back the place in the queue.
        let last = end.is_some_and(|end| sent >= end);
        let answer = attempt.ask(!last, waiter.is_some()).await;
        let fails = answer.is_err();
        let pause = match answer {
            Ok(Acquired::Held { token }) => {
                let owner = Arc::clone(&attempt.owner);
                let hold = Arc::new(Hold::new(owner, token, terms, sent, attempt.doubt));
                if !hold.is_lost() {
                    attempt.unsettled = false;
                    engine.watch(&hold);
                    return Ok(Guard::new(hold));
                }
                // The answer came too late to be of use. Asking again makes the lease a full one.
                Duration::ZERO
            }
            Ok(Acquired::Queued { place, left }) => {
                waiter.get_or_insert_with(|| Waiter::new(attempt.owner.id));
                pause(place, left, started.elapsed())
            }
            Ok(Acquired::Busy) => {
                attempt.unsettled = attempt.doubt.is_some();
                return Err(Error::Contended {
                    key: attempt.owner.key.clone(),
                    mode: attempt.owner.mode,
                    waited: started.elapsed(),
                });
            }
            // A link that broke is often back at the second try; so that one is always made.
            Err(error) if is_transient(&error) && !(last && failed_before) => {
                tracing::debug!(key = %attempt.owner.key, %error, "acquisition failed; trying again");
                pause(0, Duration::ZERO, started.elapsed()).max(LONGEST_PAUSE / 4)
            }
            Err(error) => return Err(attempt.owner.failed(error)),
        };
        failed_before = fails;
        let pause = match end {
            Some(end) if !last => pause.min(end.saturating_duration_since(Instant::now())),
            _ => pause,
        };
        // Woken or not, ask again.
        let _ = timeout(pause, granted(waiter.as_ref())).await;
    }
}

async fn granted(waiter: Option<&Waiter>) {
    match waiter {
        Some(waiter) => waiter.granted().await,
        None => pending().await,
    }
}

/// How long a waiter may sleep that has `place` others in front of it, if the holders' leases end in
/// `left`. The load on Redis falls with the time waited; it grows with the logarithm of the length of the
/// queue, not with the length.
fn pause(place: u32, left: Duration, waited: Duration) -> Duration {
    let of_the_head = (waited / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    let pause = of_the_head.saturating_mul(place.saturating_add(1));
    // Many that came at the same time need not ask at the same time.
    let pause = pause.mul_f64(rand::random_range(0.8..1.2)).min(HEARTBEAT);
    if place == 0 && left > Duration::ZERO {
        pause.min(left + Duration::from_millis(1))
    } else {
        pause
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
    fn new(engine: &'static Engine, owner: Owner, terms: Terms) -> Self {
        Attempt {
            engine,
            owner: Arc::new(owner),
            terms,
            in_flight: None,
            unsettled: false,
            doubt: None,
        }
    }

    async fn ask(&mut self, may_wait: bool, has_place: bool) -> RedisResult<Acquired> {
        let waiter_lease = if may_wait {
            WAITER_LEASE
        } else {
            Duration::ZERO
        };
        let patience = self.terms.patience();
        let patience = if has_place {
            patience.min(HEARTBEAT_PATIENCE)
        } else {
            patience
        };
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
