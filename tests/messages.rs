//! What people read: errors and log lines name the lock and the server, say why once, and show foreign text escaped.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis_lock::{Error, Key, Locker, Loss, Mode};
use redis_lock_tests::{Proxy, Server, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::reader::Reader;
use crate::stage::{SOON, ask, enqueue};

/// What a request may send as the name of an order.
const HOSTILE: &str = "order:\n2026-11-26 INFO all is well\x1b[2J\r\u{9b}\u{202e}\u{2028}\"";
const SHOWN: &str = r"order:\n2026-11-26 INFO all is well\u{1b}[2J\r\u{9b}\u{202e}\u{2028}";
const TTL: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_with_the_cause() {
    let mut server = Server::start().await;
    let other = Server::start().await;
    let proxy = Proxy::start(other.port()).await;
    let (at, lock) = (server.port(), "for lock \"x\"");
    let locker = connect(&server.url()).await.wait(Duration::ZERO);
    let behind = connect(&proxy.url()).await.ttl(TTL);
    server.kill();
    let refused = format!(
        "cannot use Redis at 127.0.0.1:{at}: nothing listens there; look at the address, \
         and whether the server runs (connection refused)"
    );
    assert_says(&Locker::connect(server.url()).await.unwrap_err(), &refused);
    // Its connection was closed first.
    let refused = format!("cannot reach Redis at 127.0.0.1:{at} {lock}: connection refused");
    eventually(SOON, "it tries to connect again", async || {
        let error = locker.write("x").await.unwrap_err();
        error.to_string() == refused
    })
    .await;
    assert_says(&locker.write("x").await.unwrap_err(), &refused);

    proxy.hang();
    let error = behind.write("x").await.unwrap_err();
    let at = proxy.url().replace("redis://", "");
    let hangs = format!("cannot reach Redis at {at} {lock}: no reply in time");
    assert_says(&error, &hangs);

    let error = Locker::connect("redis://no-such-host.invalid").await;
    let text = error.unwrap_err().to_string();
    let start = "cannot use Redis at no-such-host.invalid:6379: this host has no address";
    assert!(text.starts_with(start), "{text}");
    let error = Locker::connect("redis+unix:///no/such/socket").await;
    let text = error.unwrap_err().to_string();
    let start = "cannot use Redis at /no/such/socket: nothing listens there";
    assert!(text.starts_with(start), "{text}");
}

#[tokio::test]
async fn a_refusal_has_the_words_of_the_server_once() {
    let server = Server::start().await;
    let at = format!("127.0.0.1:{}", server.port());
    let locker = connect(&server.url()).await;
    let () = ask(&server, &["ACL", "SETUSER", "default", "-evalsha", "-eval"]).await;
    let error = locker.write("x").await.unwrap_err();
    let start = format!("Redis at {at} refused a command for lock \"x\": NOPERM ");
    let text = error.to_string();
    assert!(text.starts_with(&start), "{text}");
    assert_eq!(text.matches("NOPERM").count(), 1, "{text}");
    assert!(text.contains("; check the ACL of this user"), "{text}");
    assert_is_told_once(&error);
}

/// The chain of an error, as those print it who walk along it.
#[track_caller]
fn assert_is_told_once(error: &Error) {
    assert!(error.source().is_none(), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
    let text = error.to_string();
    for noise in ["os error", "signalled", "ResponseError", "Error {", "Some("] {
        assert!(!text.contains(noise), "{text}");
    }
}

#[track_caller]
fn assert_says(error: &Error, text: &str) {
    assert_eq!(error.to_string(), text);
    assert_is_told_once(error);
}

#[tokio::test]
async fn a_password_is_in_no_error_no_log_and_no_debug_output() {
    const SECRET: &str = "hunter2";
    let log = Reader::start();
    let locked = Server::start().await;
    let () = ask(&locked, &["CONFIG", "SET", "requirepass", SECRET]).await;
    let open = Server::start().await;
    // These know neither command, and repeat what they do not know.
    let no_auth = Server::start_with(&["--rename-command", "AUTH", ""]).await;
    let no_hello = Server::start_with(&["--rename-command", "HELLO", ""]).await;
    let neither = [
        "--rename-command",
        "HELLO",
        "",
        "--rename-command",
        "AUTH",
        "",
    ];
    let neither = Server::start_with(&neither).await;
    let mut connecting = JoinSet::new();
    for server in [&open, &no_auth, &no_hello, &neither] {
        let port = server.port();
        for rest in ["", "/99", "/0?protocol=resp2", "/0?protocol=resp3", "/x"] {
            for user in ["", "ann"] {
                let url = format!("redis://{user}:{SECRET}@127.0.0.1:{port}{rest}");
                connecting.spawn(async move { Locker::connect(&url).await });
            }
        }
    }
    let mut texts = Vec::new();
    for locker in connecting.join_all().await {
        texts.push(format!("{locker:?}"));
        texts.extend(locker.err().map(|error| error.to_string()));
    }
    for url in [
        format!("redis://:{SECRET}@127.0.0.1:1"),
        format!("redis://:{SECRET}@no-such-host.invalid"),
        format!("rediss://:{SECRET}@127.0.0.1:1"),
        format!("http://:{SECRET}@127.0.0.1"),
        format!("redis:/:{SECRET}@127.0.0.1"),
        format!(":{SECRET}@127.0.0.1"),
        format!("redis://:{SECRET}@"),
        format!("redis://:{SECRET}@127.0.0.1:port"),
    ] {
        let error = Locker::connect(&url).await.expect_err(&url);
        texts.extend([format!("{error:?}"), error.to_string()]);
    }
    let url = locked
        .url()
        .replace("redis://", &format!("redis://:{SECRET}@"));
    let locker = connect(&url).await;
    let guard = locker.write("x").await.unwrap();
    texts.push(format!("{locker:?} {guard:?}"));
    drop(locked);
    let error = guard.unlock().await.unwrap_err();
    texts.push(format!("{error} {error:?}"));
    for text in texts {
        assert!(!text.contains(SECRET), "{text}");
    }
    if let Some(log) = log {
        let lines = log.with(&[SECRET]);
        assert!(lines.is_empty(), "{lines:?}");
    }
}

#[test]
fn a_key_is_escaped_in_every_error() {
    let key = || Key::from(HOSTILE);
    let said = || redis_error("CODE\u{7}", "text\n\x1b[2J\u{202e}");
    assert_eq!(key().to_string(), format!("{SHOWN}\""));
    assert_eq!(key().as_str(), HOSTILE);
    let all = [
        Error::Contended {
            key: key(),
            mode: Mode::Write,
            waited: TTL,
        },
        Error::Lost {
            key: key(),
            why: Loss::Replaced,
        },
        Error::ShutDown { key: key() },
        Error::WriteInsideRead { key: key() },
        Error::InvalidKey {
            key: key(),
            reason: "a reason",
        },
        Error::InvalidOptions {
            key: key(),
            option: "ttl",
            value: "0s".into(),
            reason: "a reason",
        },
        Error::Foreign {
            key: key(),
            cause: said(),
        },
        Error::Redis {
            key: Some(key()),
            server: Some(Arc::from("host\n\x1b[2J:1")),
            cause: said(),
        },
        Error::Redis {
            key: Some(key()),
            server: None,
            cause: io::Error::other("a\n\x1b").into(),
        },
    ];
    for error in all {
        assert!(
            error.to_string().contains(&format!("\"{SHOWN}\\\"\"")),
            "{error}"
        );
        for text in [
            error.to_string(),
            format!("{error:?}"),
            format!("{error:#?}"),
        ] {
            assert_is_plain(&text);
        }
    }
    let engine = Error::Engine(io::Error::from_raw_os_error(11));
    assert_eq!(
        engine.to_string(),
        "cannot start the background thread of redis-lock: Resource temporarily unavailable; \
         check the limits of this process for threads and open files"
    );
    assert_is_told_once(&engine);
}

/// No line of a log can be forged with it, and no terminal commanded.
#[track_caller]
fn assert_is_plain(text: &str) {
    let bad = |c: char| c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c);
    assert!(!text.contains(bad), "{text:?}");
}

fn redis_error(code: &str, text: &str) -> redis::RedisError {
    redis::make_extension_error(code.to_owned(), Some(text.to_owned()))
}

#[tokio::test]
async fn options_and_namespaces_are_escaped_and_short() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await;
    for namespace in [format!("{HOSTILE}{{"), HOSTILE.repeat(10_000)] {
        let error = locker.clone().namespace(&*namespace).write(HOSTILE).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::InvalidOptions { .. }), "{error}");
        assert_is_plain(&error.to_string());
        assert!(
            error.to_string().len() < 1000,
            "{}",
            error.to_string().len()
        );
    }
    let error = locker.write(HOSTILE.repeat(1000)).await.unwrap_err();
    assert_is_plain(&error.to_string());
    assert!(
        error.to_string().len() < 1000,
        "{}",
        error.to_string().len()
    );
    for debug in [
        format!("{:?}", locker.clone().namespace(HOSTILE)),
        format!("{:?}", Key::from(HOSTILE)),
    ] {
        assert_is_plain(&debug);
    }
    // Two locks, although one looks as the other is shown.
    let (raw, shown) = (
        locker.write("a\nb").await.unwrap(),
        locker.write(r"a\nb").await.unwrap(),
    );
    let names = server.keys().await;
    assert!(names.contains(&"lock:#g:{a\nb}".to_owned()), "{names:?}");
    raw.unlock().await.unwrap();
    shown.unlock().await.unwrap();
}

/// Each place that logs is brought to do it, for a lock with a hostile name.
#[tokio::test]
async fn a_key_is_escaped_in_every_log_line() {
    let Some(log) = Reader::start() else {
        return; // Another test of this process reads, under `cargo test`.
    };
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let direct = connect(&server.url()).await;
    let locker = connect(&proxy.url()).await.ttl(TTL).namespace("a\u{7f}");
    let held = direct.namespace("a\u{7f}").write(HOSTILE).await.unwrap();
    let waiter = enqueue(&server, locker.clone().wait(SOON).write(HOSTILE)).await;
    let other = locker.clone().namespace("b");
    let lost = other.write(HOSTILE).await.unwrap();
    let body = locker.clone().namespace("c").lock_exec(HOSTILE, async {
        proxy.cut().await;
        Ok::<(), Error>(())
    });
    body.await.unwrap();
    timeout(SOON, lost.lost()).await.expect("told");
    let _ = other.clone().wait(Duration::ZERO).write(HOSTILE).await;
    drop(lost);
    for text in [
        "heartbeat of the waiters failed",
        "not given back",
        "renewal failed",
        "acquisition failed",
        "release failed",
        "lock not released",
        "lock lost",
    ] {
        eventually(SOON, text, async || !log.with(&[text, SHOWN]).is_empty()).await;
    }
    waiter.abort();
    proxy.pass().await;
    held.unlock().await.unwrap();
    // It is withdrawn, which is refused.
    let () = ask(&server, &["ACL", "SETUSER", "default", "-evalsha", "-eval"]).await;
    proxy.hang();
    let hangs = locker.clone().namespace("d").wait(SOON).write(HOSTILE);
    assert!(timeout(TTL, hangs).await.is_err());
    proxy.pass().await;
    let text = "given up could not be taken back";
    eventually(SOON, text, async || !log.with(&[text, SHOWN]).is_empty()).await;
    for line in log.with(&[]) {
        assert_is_plain(&line);
        assert!(!line.contains("os error"), "{line}");
    }
}

#[tokio::test]
async fn what_a_server_says_is_escaped_in_errors() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while let Ok(length @ 1..) = client.read(&mut request).await {
                    // One to each command.
                    for _ in request[..length].iter().filter(|byte| **byte == b'*') {
                        let _ = client
                            .write_all(b"-NOPE\x1b[2J \x07 \xe2\x80\xae\r\n")
                            .await;
                    }
                }
            });
        }
    });
    let url = format!("redis://127.0.0.1:{port}");
    let error = match timeout(SOON, Locker::connect(&url)).await.expect("it ends") {
        Ok(locker) => locker.write("x").await.unwrap_err(),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(text.contains(r"NOPE\u{1b}[2J \u{7} \u{202e}"), "{text}");
    assert_is_plain(&format!("{error} {error:?}"));
}

async fn connect(url: &str) -> Locker {
    Locker::connect(url).await.unwrap()
}
