//! A program in which a panic is the end: runtimes that end, that have no I/O or no timers, and no runtime at all.
//!
//! `REDIS_URL=redis://127.0.0.1:6379 cargo run --profile abort --package redis-lock-abort`

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use redis_lock::{Error, Guard, Locker};
use tokio::runtime::{Builder, Runtime};

const SOON: Duration = Duration::from_secs(10);

fn main() -> Result<(), Error> {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL says which Redis to use");
    let namespace = format!("abort-{}", std::process::id());
    let connect = async || {
        let locker = Locker::connect(&url).await?;
        Ok::<_, Error>(locker.namespace(&*namespace).wait(SOON))
    };

    // Without I/O and timers; with timers alone; outside of tokio.
    let without = [
        Builder::new_current_thread().build(),
        Builder::new_multi_thread().worker_threads(1).build(),
        Builder::new_current_thread().enable_time().build(),
    ];
    for runtime in without {
        let runtime = runtime.expect("a runtime");
        let locker = runtime.block_on(connect())?;
        runtime.block_on(works(&locker))?;
        let kept = runtime.block_on(locker.write("kept"))?;
        drop(runtime);
        drop(kept);
        is_free(&locker, "kept")?;
    }
    let locker = block_on(connect())?;
    block_on(works(&locker))?;

    // Runtimes that end: with a guard, with a waiter in the queue, with a command under way.
    let client = redis::Client::open(&*url).expect("a URL");
    for own in [true, false] {
        let runtime = Runtime::new().expect("a runtime");
        let of_runtime = runtime.block_on(async {
            if own {
                connect().await
            } else {
                let connection = client
                    .get_multiplexed_async_connection()
                    .await
                    .expect("it connects");
                Ok(Locker::new(connection).namespace(&*namespace).wait(SOON))
            }
        })?;
        let held = runtime.block_on(of_runtime.write("held"))?;
        let waiting = of_runtime.clone();
        runtime.spawn(async move { waiting.write("held").await.map(drop) });
        let with_guard = of_runtime.clone();
        let (sender, has_guard) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let guard = with_guard.write("inside").await;
            sender.send(()).expect("the main thread waits");
            std::future::pending::<()>().await;
            drop(guard);
        });
        has_guard.recv().expect("a guard");
        let mut under_way = Box::pin(of_runtime.write("under-way"));
        runtime.block_on(async { poll_once(&mut under_way) });
        drop(runtime);
        drop((under_way, held));
        if own {
            for key in ["held", "inside", "under-way"] {
                is_free(&locker, key)?;
            }
        }
        // Over a user's connection, which has ended with its runtime, they end with their ttl.
    }
    // No library for TLS is compiled into this program.
    let tls = block_on(Locker::connect("rediss://127.0.0.1:6379")).expect_err("there is no TLS");
    let says = tls.to_string();
    assert!(
        says.contains("built without TLS; turn on the feature `tls-rustls`"),
        "{says}"
    );
    block_on(locker.shutdown(Duration::ZERO));
    println!("ok: no runtime was asked in vain");
    Ok(())
}

/// Takes it, waits for it, is handed it, gives it back.
async fn works(locker: &Locker) -> Result<(), Error> {
    let holder = locker.write("x").await?;
    assert!(locker.try_read("x").await?.is_none());
    let contended = locker
        .clone()
        .wait(Duration::from_millis(50))
        .write("x")
        .await;
    assert!(contended.is_err_and(|error| error.is_contended()));
    let mut waiter = pin!(locker.write("x"));
    assert!(poll_once(&mut waiter).is_none());
    drop(holder);
    waiter.await?.unlock().await?;
    let body = locker.lock_exec("x", async { Ok::<_, Error>(7) });
    assert_eq!(body.await?, 7);
    assert!(locker.flush().await);
    Ok(())
}

fn poll_once(
    future: &mut (impl Future<Output = Result<Guard, Error>> + Unpin),
) -> Option<Result<Guard, Error>> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Long before its ttl is over.
fn is_free(locker: &Locker, key: &str) -> Result<(), Error> {
    let started = Instant::now();
    drop(block_on(locker.write(key))?);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{key}: {:?}",
        started.elapsed()
    );
    Ok(())
}

/// Without tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
