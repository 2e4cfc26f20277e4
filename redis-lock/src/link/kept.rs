//! One connection of our own, and the task that keeps it up.
//!
//! 1. The task connects, subscribes, and connects again whenever the connection breaks, hangs, or leads to a server that
//!    cannot serve us any more. After a failed attempt the task makes the next attempt, whatever the reason.
//! 2. A command that comes up meanwhile waits for the outcome of an attempt: the connection, or the reason why there is none.
//! 3. Pauses between attempts grow and have jitter. The pauses stay short enough for a connection to be up again within a
//!    second of the server being up.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Poll,
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::sync::watch;
use tracing::Level;

use crate::{
    link::{
        cause::Cause,
        code::{is_transient, no_reply},
        front::Front,
        pause::Pauses,
    },
    threads::{report::report, runtime::Engine},
};

/// How long an attempt to connect, or to subscribe, may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
/// The first pause after an attempt that failed, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A younger connection is not replaced because of an answer or a missing answer: the commands of the connection before fail at
/// the same time, and a new connection needs a moment to show whether it works.
const TRIAL: Duration = Duration::from_secs(1);
/// How long to wait before asking again for a subscription that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Shared by the senders of commands and by the task that keeps the connection up.
#[derive(Debug)]
pub(crate) struct Kept {
    state: watch::Sender<State>,
    pub(crate) front: Arc<Front>,
}

#[derive(Clone)]
enum State {
    /// No connection. `failures` counts the failed attempts since the last success; `error` is the error of the latest attempt.
    Down {
        failures: u64,
        error: Option<RedisError>,
    },
    Up(Up),
    /// There will be no connection any more.
    Closed,
}

#[derive(Clone)]
struct Up {
    connection: MultiplexedConnection,
    since: Instant,
    /// Tells this connection from earlier ones.
    number: u64,
    /// The subscription has been tried, or is not wanted.
    has_settled: bool,
}

/// A connection to send commands over.
#[derive(Clone)]
pub(crate) struct Channel {
    pub(crate) connection: MultiplexedConnection,
    number: u64,
}

impl Kept {
    pub(crate) fn new(front: Arc<Front>) -> Self {
        let state = State::Down {
            failures: 0,
            error: None,
        };
        Kept {
            state: watch::Sender::new(state),
            front,
        }
    }

    /// The connection if it is up; else the connection of the next attempt, or the reason why the attempt has failed.
    pub(crate) async fn channel(&self) -> RedisResult<Channel> {
        let mut before = None;
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| match state {
            State::Down { failures, .. } => *failures > *before.get_or_insert(*failures),
            State::Up(_) | State::Closed => true,
        });
        match state.await.as_deref() {
            Ok(State::Up(up)) => Ok(Channel {
                connection: up.connection.clone(),
                number: up.number,
            }),
            Ok(State::Down {
                error: Some(error), ..
            }) => Err(error.clone()),
            _ => Err(closed()),
        }
    }

    /// Waits until wake-ups come in, or cannot, or there is no connection to be had.
    pub(crate) async fn settle(&self) -> RedisResult<()> {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| match state {
            State::Down { failures, .. } => *failures > 0,
            State::Up(up) => up.has_settled,
            State::Closed => true,
        });
        match state.await.as_deref() {
            Ok(State::Up(_)) => Ok(()),
            Ok(State::Down {
                error: Some(error), ..
            }) => Err(error.clone()),
            _ => Err(closed()),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }

    /// Replaces a connection if an answer shows that the connection is of no use any more.
    pub(crate) fn judge(&self, channel: &Channel, error: Option<&RedisError>) {
        let Some(error) = error else {
            return;
        };
        if error.is_unrecoverable_error() {
            self.leave(channel.number);
        } else if is_of_connection(error) {
            self.leave_if_old(Some(channel.number));
        }
    }

    /// Replaces a connection that let a command's time limit pass: the link may hang.
    pub(crate) fn replace(&self) {
        self.leave_if_old(None);
    }

    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    pub(crate) async fn closed(&self) {
        let mut states = self.state.subscribe();
        let _ = states
            .wait_for(|state| matches!(state, State::Closed))
            .await;
    }

    fn leave(&self, number: u64) {
        self.leave_if(|up| up.number == number);
    }

    fn leave_if_old(&self, number: Option<u64>) {
        self.leave_if(|up| {
            number.is_none_or(|number| up.number == number) && up.since.elapsed() >= TRIAL
        });
    }

    fn leave_if(&self, is_bad: impl FnOnce(&Up) -> bool) {
        self.state.send_if_modified(|state| {
            let is_left = matches!(state, State::Up(up) if is_bad(up));
            if is_left {
                *state = State::Down {
                    failures: 0,
                    error: None,
                };
            }
            is_left
        });
    }

    /// Takes in a push of the connection with this number.
    fn pushed(self: &Arc<Self>, number: u64, push: &PushInfo) {
        match push.kind {
            // `leave` ignores this from an earlier connection.
            PushKind::Disconnection | PushKind::Unsubscribe => self.leave(number),
            _ => self.front.pushed(push),
        }
    }

    /// False: the connection has been closed meanwhile.
    fn set(&self, new: State) -> bool {
        self.state.send_if_modified(|state| {
            let is_open = !matches!(state, State::Closed);
            if is_open {
                *state = new;
            }
            is_open
        })
    }

    fn settled(&self, number: u64) {
        self.state.send_if_modified(|state| match state {
            State::Up(up) if up.number == number => {
                up.has_settled = true;
                true
            }
            _ => false,
        });
    }
}

/// Counts the connections that have been made to one server.
pub(crate) type Made = Arc<Mutex<u64>>;

/// Keeps the connection up until it is closed. To be spawned in the runtime that is to drive it.
pub(crate) async fn keep_up(kept: Arc<Kept>, client: Client, engine: &'static Engine, made: Made) {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut failures = 0;
    let mut is_told = false;
    for number in 1.. {
        let config = config(&kept, number);
        let attempt = client.get_multiplexed_async_connection_with_config(&config);
        let attempt = engine.timeout(ATTEMPT_LIMIT, attempt).await;
        match attempt.unwrap_or_else(|| Err(no_reply())) {
            Ok(connection) => {
                *made.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let since = Instant::now();
                let up = Up {
                    connection: connection.clone(),
                    since,
                    number,
                    has_settled: kept.front.channel().is_empty(),
                };
                if !kept.set(State::Up(up)) {
                    return;
                }
                failures = 0;
                pauses.reset();
                let mut states = kept.state.subscribe();
                let left = states.wait_for(|state| !is_up_as(state, number));
                let mut left = pin!(left);
                let mut subscribed =
                    pin!(subscribe(&kept, connection, number, &mut is_told, engine));
                poll_fn(|context| match left.as_mut().poll(context) {
                    Poll::Ready(_) => Poll::Ready(()),
                    Poll::Pending => subscribed.as_mut().poll(context),
                })
                .await;
                kept.front.set_listening(false);
                if since.elapsed() >= TRIAL {
                    continue;
                }
            }
            Err(error) => {
                let cause = error.clone();
                report(Level::DEBUG, move || {
                    tracing::debug!(
                        error = %Cause::of(&cause),
                        "cannot connect to Redis; trying again"
                    );
                });
                failures += 1;
                let error = Some(error);
                if !kept.set(State::Down { failures, error }) {
                    return;
                }
            }
        }
        if engine.timeout(pauses.next(), kept.closed()).await.is_some() {
            return;
        }
    }
}

fn is_up_as(state: &State, number: u64) -> bool {
    matches!(state, State::Up(up) if up.number == number)
}

/// Subscribes to the front's channel; where that is refused, waiters poll. Does not return while the connection is good.
async fn subscribe(
    kept: &Kept,
    mut connection: MultiplexedConnection,
    number: u64,
    is_told: &mut bool,
    engine: &'static Engine,
) {
    while !kept.front.channel().is_empty() {
        let reply = connection.subscribe(kept.front.channel());
        let reply = engine.timeout(ATTEMPT_LIMIT, reply).await;
        match reply.unwrap_or_else(|| Err(no_reply())) {
            Ok(()) => {
                kept.front.set_listening(true);
                kept.settled(number);
                *is_told = false;
                break;
            }
            Err(error) if is_transient(&error) => return kept.leave(number),
            Err(error) => {
                kept.settled(number);
                if !std::mem::replace(is_told, true) {
                    let channel = kept.front.channel().to_owned();
                    report(Level::WARN, move || {
                        tracing::warn!(
                            error = %Cause::of(&error),
                            channel,
                            "no wake-ups: waiters of a lock poll"
                        );
                    });
                }
                engine.sleep(REFUSED_PAUSE).await;
            }
        }
    }
    std::future::pending::<()>().await;
}

fn config(kept: &Arc<Kept>, number: u64) -> AsyncConnectionConfig {
    // The link has a time limit for each command.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    if kept.front.channel().is_empty() {
        return config;
    }
    let kept = Arc::downgrade(kept);
    config.set_push_sender(move |push: PushInfo| {
        if let Some(kept) = Weak::upgrade(&kept) {
            kept.pushed(number, &push);
        }
        Ok::<_, std::convert::Infallible>(())
    })
}

/// Whether an answer is about the connection, not about the command: a new connection may lead to the right server, or log in
/// again.
fn is_of_connection(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || matches!(error.code(), Some("NOAUTH" | "MASTERDOWN"))
}

fn closed() -> RedisError {
    std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "the connection's runtime has ended",
    )
    .into()
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Down { .. } => "Down",
            State::Up(_) => "Up",
            State::Closed => "Closed",
        })
    }
}
