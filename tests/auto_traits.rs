//! Guards against a change inside that makes a public type or future lose `Send`, `Sync` or `Unpin`, or borrow what it
//! did not borrow before. It is checked by compiling.

use std::rc::Rc;
use std::time::Duration;

use redis_lock::{
    Error, Guard, Key, Locker, Mode, Unlock, Wait, init, locker, with_current_locker, with_locker,
};

fn send<T: Send>(_: &T) {}
fn send_static<T: Send + 'static>(_: &T) {}
fn all<T: Send + Sync + Unpin + 'static>() {}
fn value<T: Copy + Eq + std::fmt::Debug>() {}

/// Does not compile where a type is `Send` after all: then there are two candidates to choose from.
macro_rules! assert_not_send {
    ($future:expr) => {{
        trait AmbiguousIfSend<A> {
            fn look(&self) {}
        }
        impl<T> AmbiguousIfSend<()> for T {}
        impl<T: Send> AmbiguousIfSend<u8> for T {}
        $future.look();
    }};
}

#[test]
fn types() {
    all::<Locker>();
    all::<Guard>();
    all::<Error>();
    all::<Key>();
    all::<Mode>();
    all::<Wait>();
    value::<Mode>();
    value::<Wait>();
    // A future that is polled by one at a time need not be shared between threads.
    send_static_unpin::<Unlock>();
}

fn send_static_unpin<T: Send + Unpin + 'static>() {}

/// Never run: the futures are only made for their types.
#[test]
fn futures() {
    let _ = |guard: Guard, of_guard: &Guard, of_locker: &Locker, key: &str| {
        let locker: Locker = of_locker.clone();
        // Of borrowed Lockers and keys, yet 'static: to be spawned.
        send_static(&of_locker.lock(key));
        send_static(&of_locker.read(key));
        send_static(&of_locker.write(String::new()));
        send_static(&of_locker.try_lock(key));
        send_static(&of_locker.try_read(key));
        send_static(&of_locker.try_write(key));
        send_static(&of_guard.lost());
        send_static(&guard.unlock());
        send(&Locker::connect(key));

        send_static(&of_locker.lock_exec("key", async { Ok::<(), Error>(()) }));
        send_static(&of_locker.scope(key, async |_| ()));
        send_static(&of_locker.scope_all([key], |_| async {}));
        send_static(&of_locker.lock_all([(key, Mode::R)]));
        send_static(&with_locker(locker.clone(), async {}));
        send_static(&with_current_locker(async {}));
        // These borrow what they are given.
        send(&of_locker.lock_exec(key, async { Ok::<_, Error>(key.len()) }));
        send(&of_locker.scope(key, async |_| key.len()));
        send(&with_locker(locker.clone(), async { key.len() }));
        send(&with_current_locker(async { key.len() }));

        assert_not_send!(&of_locker.lock_exec(key, local_body()));
        assert_not_send!(&of_locker.scope(key, |_| local_body()));
        let here = Rc::new(1);
        assert_not_send!(&of_locker.scope(key, async |_| drop(here)));
        assert_not_send!(&with_locker(locker, local_body()));
    };
}

async fn local_body() -> Result<i32, Error> {
    let here = Rc::new(1);
    std::future::ready(()).await;
    Ok(*here)
}

/// What can be given where a key, a mode, a wait or a Locker is asked for.
#[test]
fn conversions() {
    let _ = |of_locker: &Locker, manager: redis::aio::ConnectionManager, key: &Key| {
        drop(of_locker.lock("key"));
        drop(of_locker.lock(String::new()));
        drop(of_locker.lock(&String::new()));
        drop(of_locker.lock(key));
        drop(of_locker.lock(key.clone()));
        let mode = &Mode::W;
        let _ = of_locker.clone().mode(Mode::R).mode(mode);
        let _ = of_locker.clone().wait(Duration::ZERO).wait(Wait::Forever);
        let _ = (init(of_locker.clone()), init(manager.clone()), locker());
        drop(with_locker(manager, async {}));
    };
}
