//! The survey that `Locker::connect` makes before it returns: one exchange over a short-lived connection.
//!
//! The functions that send ask the server and decide nothing; [`problem_of_server`] and [`problem_of_failure`] decide, and
//! say in plain words what is wrong and what to do.

use std::{borrow::Cow, collections::HashMap, io, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    ProtocolVersion, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinError,
};
use tracing::Level;

use crate::{
    api::error::Error,
    link::{
        code::{Class, advice, class, no_reply},
        pause::Pauses,
    },
    threads::{report::report, runtime::Engine},
    values::text::Shown,
};

/// How long the whole exchange may take, and how long to try again where the server is not there yet.
const LIMIT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A TLS handshake that takes longer may have met a port that does not speak TLS: such a port does not answer.
const HANDSHAKE: Duration = Duration::from_millis(300);
/// How long a port may take to show what it speaks.
const PROBE: Duration = Duration::from_millis(500);

type Problem = Cow<'static, str>;

/// Returns the client to connect with, in the protocol that the server speaks. `as_is`: only in the client's protocol.
///
/// To be awaited in the engine.
pub(crate) async fn survey(
    engine: &'static Engine,
    client: Client,
    as_is: bool,
) -> Result<Client, Error> {
    let server: Arc<str> = client.get_connection_info().addr().to_string().into();
    let fail = |problem: Problem, cause| Error::Unusable {
        server: Some(Arc::clone(&server)),
        problem,
        cause,
    };
    let mut latest = None;
    let outcome = engine.timeout(LIMIT, async {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match open(engine, &client, as_is).await {
                Ok(opened) => {
                    let (client, connection) = opened;
                    return ask(connection).await.map(|answers| (client, answers));
                }
                // A server that loads its data, or has too many clients, is there in a moment. A port that refuses is
                // reported at once: the address may be wrong.
                Err(error) if class(&error) == Class::NotNow && error.code().is_some() => {
                    latest = Some(error);
                    engine.sleep(pauses.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    });
    match outcome.await {
        Some(Ok((client, answers))) => {
            if let Some(problem) = problem_of_server(&answers) {
                return Err(fail(problem, None));
            }
            warn(&server, &client, answers);
            Ok(client)
        }
        Some(Err(error)) => {
            let addr = client.get_connection_info().addr();
            let problem = match problem_of_port(engine, addr, &error).await {
                Some(problem) => problem,
                None => problem_of_failure(&error),
            };
            Err(fail(problem, Some(error)))
        }
        None => {
            let cause = latest.unwrap_or_else(no_reply);
            Err(fail(problem_of_failure(&cause), Some(cause)))
        }
    }
}

/// The survey has panicked: so does rustls, under redis-rs, in a program that turns rustls on past the features of this crate
/// (perhaps by a dependency) and does not say which cryptography to use.
pub(crate) fn cut_short(client: &Client, stopped: JoinError) -> Error {
    let addr = client.get_connection_info().addr();
    if !matches!(addr, ConnectionAddr::TcpTls { .. }) {
        return Error::Engine(stopped.into());
    }
    Error::Unusable {
        server: Some(addr.to_string().into()),
        problem: "the TLS library of this program panics; turn on the feature `tls-rustls` or `tls-native-tls` of redis-lock, or install a crypto provider for rustls first".into(),
        cause: None,
    }
}

/// A connection in RESP3, in which Redis can push, or else as the client has it.
async fn open(
    engine: &'static Engine,
    client: &Client,
    as_is: bool,
) -> RedisResult<(Client, MultiplexedConnection)> {
    let modern = if as_is {
        client.clone()
    } else {
        speaking(client, ProtocolVersion::RESP3)?
    };
    match connect(engine, &modern).await {
        Ok(connection) => Ok((modern, connection)),
        Err(error) if !as_is && refuses_the_protocol(&error) => {
            let plain = speaking(client, ProtocolVersion::RESP2)?;
            let connection = connect(engine, &plain).await?;
            Ok((plain, connection))
        }
        Err(error) => Err(error),
    }
}

async fn connect(engine: &'static Engine, client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let addr = client.get_connection_info().addr();
    if !matches!(addr, ConnectionAddr::TcpTls { .. }) {
        return connection.await;
    }
    let mut connection = std::pin::pin!(connection);
    if let Some(connection) = engine.timeout(HANDSHAKE, connection.as_mut()).await {
        return connection;
    }
    if speaks(engine, addr).await == Some(Speech::Plain) {
        return Err(not_tls());
    }
    connection.await
}

pub(crate) fn speaking(client: &Client, protocol: ProtocolVersion) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(settings).into_connection_info()?)
}

/// The server is older than RESP3, or does not permit RESP3 to this user.
fn refuses_the_protocol(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || text.contains("unknown command")
}

/// The server's answers; `None` where the user may not ask.
#[derive(Debug, Default)]
struct Answers {
    /// `standalone`, `cluster` or `sentinel`.
    mode: Option<String>,
    is_replica: bool,
    /// Host and port of a replica's master.
    master: Option<String>,
    policy: Option<String>,
    may_not_tell_time: bool,
}

async fn ask(mut connection: MultiplexedConnection) -> RedisResult<Answers> {
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    pipe.cmd("HELLO").cmd("INFO").cmd("TIME");
    let replies: Vec<RedisResult<Value>> = pipe.query_async(&mut connection).await?;
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Err(no_reply()));
    let mut answers = Answers::default();
    // The server may refuse either command to this user.
    if let Ok(hello) = next()
        && let Ok(mut hello) = <HashMap<String, Value>>::from_redis_value(hello)
    {
        let mut word = |name| String::from_redis_value(hello.remove(name)?).ok();
        answers.mode = word("mode");
        answers.is_replica = word("role").is_some_and(|role| role != "master");
    }
    if let Ok(info) = next()
        && let Ok(info) = String::from_redis_value(info)
    {
        let info: HashMap<_, _> = info
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let word = |name| info.get(name).map(|value| (*value).to_owned());
        answers.mode = word("redis_mode").or(answers.mode);
        answers.is_replica |= info.get("role").is_some_and(|role| *role == "slave");
        answers.master = word("master_host")
            .zip(word("master_port"))
            .map(|(host, port)| format!("{host}:{port}"));
        answers.policy = word("maxmemory_policy");
    }
    match next() {
        Ok(_) => Ok(answers),
        Err(error) if error.code() == Some("NOPERM") => {
            answers.may_not_tell_time = true;
            Ok(answers)
        }
        // In RESP2 a connection without a password is made, and then every command is refused.
        Err(error) => Err(error),
    }
}

/// Why a server that can be reached is of no use.
fn problem_of_server(answers: &Answers) -> Option<Problem> {
    match answers.mode.as_deref() {
        Some("cluster") => {
            return Some(
                "it is one node of a Redis Cluster, which refuses the keys of the other nodes; make a cluster connection \
                 with redis-rs (`redis::cluster::ClusterClient`) and give it to `Locker::new`"
                    .into(),
            );
        }
        Some("sentinel") => {
            return Some(
                "it is a Sentinel, which keeps no locks; give the address of the master that it watches".into(),
            );
        }
        _ => {}
    }
    if answers.is_replica {
        let master = match &answers.master {
            Some(master) => format!(", which is at {}", Shown(master)),
            None => String::new(),
        };
        return Some(
            format!("it is a replica, which cannot lock; connect to its master{master}").into(),
        );
    }
    answers.may_not_tell_time.then(|| {
        "this user may not run TIME, which every lock needs; the README lists what the user needs"
            .into()
    })
}

/// A connection that could not be made after the survey.
pub(crate) fn unusable(client: &Client, cause: RedisError) -> Error {
    Error::Unusable {
        server: Some(client.get_connection_info().addr().to_string().into()),
        problem: problem_of_failure(&cause),
        cause: Some(cause),
    }
}

/// Why a server cannot be reached, or does not let us in.
fn problem_of_failure(error: &RedisError) -> Problem {
    let text = error.to_string();
    if error.code() == Some("NOAUTH") || text.contains("unauthenticated") {
        return "it asks for a password, and the URL has none; write redis://:PASSWORD@host:port, or \
                redis://USER:PASSWORD@host:port"
            .into();
    }
    if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
        return "it refuses this user and password; look at both (special characters in a URL are written as %XX), and at \
                the server's ACL"
            .into();
    }
    if text.contains("switch database") || text.contains("DB index") {
        return "it has no database with this number; look at the end of the URL, redis://host:port/NUMBER".into();
    }
    if let Some(code) = error.code() {
        return match code {
            "LOADING" => "it still loads its data; try again later".into(),
            "NOPERM" => {
                "this user may not do what connecting needs; the README lists what the user needs"
                    .into()
            }
            _ => match advice(error) {
                Some(advice) => format!("it refuses to let us in; {advice}").into(),
                None => "it refuses to let us in".into(),
            },
        };
    }
    if error.is_timeout() {
        return "it does not answer; look at the address, at firewalls, and whether the port speaks TLS (rediss://) or \
                not (redis://)"
            .into();
    }
    if error.is_connection_refusal() {
        return "nothing listens there; look at the address, and whether the server runs".into();
    }
    let lower = text.to_lowercase();
    if lower.contains("certificate") && lower.contains("required") {
        return "it asks for a certificate of the client; give one with `redis_lock::redis::Client::build_with_tls`"
            .into();
    }
    if lower.contains("certificate") && lower.contains("expired") {
        return "its certificate has expired; give the server a new one, and look at the clock of this machine".into();
    }
    if lower.contains("certificate")
        && ["not valid for", "notvalidforname", "mismatch"]
            .iter()
            .any(|words| lower.contains(words))
    {
        return "its certificate is for another name; connect by a name that the certificate has, or give the server one \
                with this name"
            .into();
    }
    if lower.contains("certificate") {
        return "its certificate is not trusted here; give its certificate authority with \
                `redis_lock::redis::Client::build_with_tls`"
            .into();
    }
    if text.contains("lookup address") {
        return "this host has no address; look at its name".into();
    }
    if text.contains("No such file") {
        return "nothing listens there: there is no such socket".into();
    }
    if text.contains("insecure") {
        return "this program cannot leave certificates unverified; take `#insecure` out of the URL, and give the certificate \
                authority with `redis_lock::redis::Client::build_with_tls`"
            .into();
    }
    if error.is_connection_dropped() {
        return "it closed the connection; look at its `maxclients`, and at its log".into();
    }
    match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            "what listens there does not speak Redis' protocol; look at the port".into()
        }
        ErrorKind::InvalidClientConfig => "the connection is not set up as this needs it".into(),
        _ => "the connection failed".into(),
    }
}

fn warn(server: &Arc<str>, client: &Client, answers: Answers) {
    if let Some(policy) = answers.policy.filter(|policy| policy != "noeviction") {
        let server = Arc::clone(server);
        report(Level::WARN, move || {
            let policy = Shown(&policy);
            tracing::warn!(%server, %policy, "Redis may evict locks: set its maxmemory-policy to noeviction");
        });
    }
    let settings = client.get_connection_info().redis_settings();
    if !settings.protocol().supports_resp3() {
        let server = Arc::clone(server);
        report(Level::WARN, move || {
            tracing::warn!(%server, "no wake-ups, since the connection does not speak RESP3: waiters of a lock poll");
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Plain,
    Tls,
}

/// The problem of an attempt to connect that has failed as on a port of the wrong kind, with or without TLS.
async fn problem_of_port(
    engine: &'static Engine,
    addr: &ConnectionAddr,
    error: &RedisError,
) -> Option<Problem> {
    if error.code().is_some()
        || error.is_connection_refusal()
        || matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig
        )
    {
        return None;
    }
    match (addr, speaks(engine, addr).await?) {
        (ConnectionAddr::Tcp(..), Speech::Tls) => {
            Some("this port speaks TLS; write rediss:// instead of redis://".into())
        }
        (ConnectionAddr::TcpTls { .. }, Speech::Tls) if error.is_connection_dropped() => Some(
            "the server ended the TLS connection; it may ask for a certificate of the client: give one with \
             `redis_lock::redis::Client::build_with_tls`"
                .into(),
        ),
        (ConnectionAddr::TcpTls { .. }, Speech::Plain) => {
            Some("this port does not speak TLS; write redis:// instead of rediss://, or give the server's TLS port".into())
        }
        _ => None,
    }
}

/// The language of the port: Redis answers a PING in text, a TLS server answers a broken record with an alert.
async fn speaks(engine: &'static Engine, addr: &ConnectionAddr) -> Option<Speech> {
    let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) = addr else {
        return None;
    };
    let ask = async |question: &[u8]| {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(question).await?;
        stream.read_u8().await
    };
    if let Some(Ok(b'+' | b'-')) = engine.timeout(PROBE, ask(b"PING\r\n")).await {
        return Some(Speech::Plain);
    }
    // A handshake that begins with too short a greeting.
    if let Some(Ok(0x15)) = engine
        .timeout(PROBE, ask(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
        .await
    {
        return Some(Speech::Tls);
    }
    None
}

fn not_tls() -> RedisError {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the TLS handshake was not answered",
    )
    .into()
}
