//! Guards against work that runs without its lock, a lock that outlives its work, and a result that gets lost; and
//! against a `lock_exec` that can be used in fewer places than the future that it is given.

use std::cell::Cell;
use std::fmt;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use redis_lock::{Error, Key, Locker, Mode, with_current_locker, with_locker};
use redis_lock_tests::{Proxy, Server};
use tokio::time::timeout;

use crate::stage::{SOON, enqueue, locker, nothing_is_left, soon};

/// An error of a user's.
#[derive(Debug)]
enum ShipError {
    Lock(Error),
    NoShip,
}

impl From<Error> for ShipError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

#[tokio::test]
async fn the_body_runs_under_the_lock_and_its_result_is_returned() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    // Borrowed by the body, which need not be 'static.
    let rival = locker.clone();
    let ran = Cell::new(0);
    for mode in [Mode::Read, Mode::Write] {
        let locker = locker.clone().mode(mode);
        let body = async {
            assert!(rival.try_write("x").await?.is_none());
            assert_eq!(rival.try_read("x").await?.is_some(), mode == Mode::Read);
            ran.set(ran.get() + 1);
            Ok::<_, Error>(format!("done in {mode}"))
        };
        let result = locker.lock_exec("x", body).await;
        assert_eq!(result.unwrap(), format!("done in {mode}"));
        let next = locker.try_write("x").await.unwrap();
        assert!(next.is_some(), "it was given back before the call returned");
    }
    assert_eq!(ran.get(), 2);
}

#[tokio::test]
async fn the_bodys_error_is_returned_and_the_lock_given_back() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let body = async {
        Err(ShipError::NoShip)?;
        Ok::<(), ShipError>(())
    };
    let error = locker.lock_exec("x", body).await.unwrap_err();
    assert!(matches!(error, ShipError::NoShip));
    assert!(locker.try_write("x").await.unwrap().is_some());
}

#[tokio::test]
async fn without_a_lock_the_body_does_not_run() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let ran = Cell::new(false);
    let body = async {
        ran.set(true);
        Ok::<(), ShipError>(())
    };
    let impatient = locker.clone().wait(Duration::ZERO);
    let error = impatient.lock_exec("x", body).await.unwrap_err();
    assert!(matches!(error, ShipError::Lock(error) if error.is_contended()));
    assert!(!ran.get());
    drop(holder);

    let body = async { Ok::<(), Box<dyn std::error::Error>>(()) };
    let error = locker.lock_exec("", body).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid key \"\": a key must not be empty"
    );
}

#[tokio::test]
async fn a_panic_in_the_body_gives_the_lock_back() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let fail = async || -> Result<(), Error> { panic!("the work has failed") };
    let work = locker.lock_exec("x", fail());
    assert!(tokio::spawn(work).await.unwrap_err().is_panic());
    nothing_is_left(&server).await;
}

/// What a body does while it is dropped is part of its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_dropped_is_gone_before_its_lock() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let (report, reported) = std::sync::mpsc::channel();
    let (url, report_too) = (server.url(), report.clone());
    let (begin, begun) = tokio::sync::oneshot::channel();
    let body = async move {
        let _probe = Probe {
            url,
            report: report_too,
        };
        begin.send(()).expect("somebody waits for it");
        pending::<Result<(), Error>>().await
    };
    let running = tokio::spawn(locker.lock_exec("x", body));
    begun.await.expect("the body runs");
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(reported.recv_timeout(SOON), Ok(true), "held to the end");
    nothing_is_left(&server).await;

    // This one still has what it took when it is done, as an `async` block has not.
    let probe = Probe {
        url: server.url(),
        report,
    };
    let body = poll_fn(move |_| {
        let _ = &probe;
        Poll::Ready(Ok::<(), Error>(()))
    });
    locker.lock_exec("x", body).await.unwrap();
    assert_eq!(reported.recv_timeout(SOON), Ok(true), "held to the end");
}

/// Looks, while it is dropped, whether the lock is held, for longer than a release takes.
struct Probe {
    url: String,
    report: std::sync::mpsc::Sender<bool>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut connection = redis::Client::open(&*self.url)
            .unwrap()
            .get_connection()
            .unwrap();
        let mut is_held = || {
            let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
            !keys.is_empty()
        };
        let end = Instant::now() + Duration::from_millis(300);
        let mut held = is_held();
        while held && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
            held = is_held();
        }
        self.report.send(held).unwrap();
    }
}

#[tokio::test]
async fn a_result_is_returned_although_the_unlock_fails() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = locker(&proxy.url()).await;
    let body = async {
        proxy.cut().await;
        Ok::<_, Error>(42)
    };
    let result = timeout(SOON, locker.lock_exec("x", body)).await;
    assert_eq!(result.expect("it gives up").unwrap(), 42);
    assert!(!server.keys().await.is_empty(), "the unlock has failed");
    proxy.pass().await;
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_body_whose_lock_is_gone_is_stopped() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await.ttl(Duration::from_millis(600));
    let body = async {
        server.flush().await;
        pending::<Result<(), ShipError>>().await
    };
    let error = timeout(SOON, locker.lock_exec("x", body)).await;
    let error = error.expect("the loss is noticed").unwrap_err();
    assert!(matches!(error, ShipError::Lock(error) if error.is_lost()));
}

#[tokio::test]
async fn a_body_that_cannot_leave_its_thread_can_be_run() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let body = async {
        let here = Rc::new(7);
        tokio::task::yield_now().await;
        Ok::<_, Error>(*here)
    };
    assert_eq!(locker.lock_exec("x", body).await.unwrap(), 7);
}

#[tokio::test]
async fn a_call_in_line_runs_its_body_when_its_turn_comes() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let call = locker.lock_exec("x", async { Ok::<_, Error>(7) });
    let call = enqueue(&server, call).await;
    holder.unlock().await.unwrap();
    assert_eq!(soon(call).await.unwrap(), 7);
}

/// The body is stored once, and not once more for each layer that it is handed through.
#[tokio::test]
async fn the_future_is_not_much_larger_than_its_body() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let body = async {
        let large = [7_u8; 4096];
        tokio::task::yield_now().await;
        Ok::<_, Error>(large.len())
    };
    let size_of_body = size_of_val(&body);
    let call = locker.lock_exec("x", body);
    let size = size_of_val(&call);
    assert!(
        size <= size_of_body + 2048,
        "{size} for {size_of_body} bytes"
    );
    assert_eq!(call.await.unwrap(), 4096);
}

/// One test, since there is one default per process.
#[tokio::test]
async fn the_locker_in_scope_is_that_of_the_task_or_that_of_the_process() {
    let server = Server::start().await;
    let default = locker(&server.url()).await;
    assert!(matches!(redis_lock::locker(), Err(Error::NotInitialized)));
    let scoped = default.clone().namespace("tenant");
    with_locker(scoped.clone(), in_namespace("tenant", &server)).await;
    assert!(matches!(redis_lock::locker(), Err(Error::NotInitialized)));

    let unset = async || redis_lock::locker().unwrap_err().to_string();
    let message = with_locker(scoped.clone(), tokio::spawn(unset()))
        .await
        .unwrap();
    assert!(
        message.ends_with("only through `redis_lock::spawn(..)`"),
        "{message}"
    );

    redis_lock::init(default.clone()).unwrap();
    in_namespace("lock", &server).await;
    with_locker(scoped, in_namespace("tenant", &server)).await;
    in_namespace("lock", &server).await;

    // A task that is spawned inherits nothing, except by these.
    let inherits = async || {
        let plain = tokio::spawn(async { namespace() }).await.unwrap();
        let spawned = redis_lock::spawn(async { namespace() }).await.unwrap();
        let carried = with_current_locker(async { namespace() });
        let carried = tokio::spawn(carried).await.unwrap();
        [plain, spawned, carried]
    };
    let tenant = || default.clone().namespace("tenant");
    assert_eq!(inherits().await, ["lock", "lock", "lock"]);
    let inside = with_locker(tenant(), inherits()).await;
    assert_eq!(inside, ["lock", "tenant", "tenant"]);
    // It is that of where the future was made, also where it is none.
    let made = with_current_locker(async { namespace() });
    assert_eq!(with_locker(tenant(), made).await, "lock");

    let second = redis_lock::init(server.manager().await).unwrap_err();
    assert!(matches!(second, Error::AlreadyInitialized));
    in_namespace("lock", &server).await;
}

/// That of the Locker in scope, which a Locker shows for debugging alone.
fn namespace() -> &'static str {
    let locker = format!("{:?}", redis_lock::locker().unwrap());
    let is = |namespace: &str| locker.contains(&format!("namespace: {namespace:?}"));
    let names = ["lock", "tenant"];
    names
        .into_iter()
        .find(|name| is(name))
        .expect("one of these")
}

/// Takes a lock with the Locker in scope, and looks for the name that it has in Redis.
async fn in_namespace(namespace: &str, server: &Server) {
    let locker = redis_lock::locker().unwrap();
    let body = async { Ok::<_, Error>(server.keys().await) };
    let keys = locker.lock_exec("x", body).await.unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(key.starts_with(&format!("{namespace}:")), "{key}");
    }
    nothing_is_left(server).await;
}

/// The error of an application that has only text.
#[derive(Debug)]
struct Text(String);

impl<T: fmt::Display> From<T> for Text {
    fn from(error: T) -> Self {
        Self(error.to_string())
    }
}

#[tokio::test]
async fn errors_become_whatever_the_caller_has() {
    let server = Server::start().await;
    let locker: Locker = locker(&server.url()).await;
    let text = locker.lock_exec("", async { Ok::<(), Text>(()) }).await;
    assert_eq!(
        text.unwrap_err().0,
        "invalid key \"\": a key must not be empty"
    );
    let same = locker.lock_exec("", async { Ok::<(), Error>(()) }).await;
    assert_eq!(same.unwrap_err().key(), Some(&Key::from("")));
}
