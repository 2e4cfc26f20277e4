//! Locks inside of locks: what the task that is being polled holds already.
//!
//! An annotated function that calls another one under the same key must not wait for itself. So each future that runs
//! under a lock puts a [`Scope`] on a stack while it is polled, and only then: what is polled inside of it, and
//! nothing else, finds it there. Tasks that it spawns are polled elsewhere and inherit nothing.
//!
//! 1. Inside a write hold, a read or a write of the same lock runs in the outer hold.
//! 2. Siblings in one task exclude each other as their modes say: every frame has a lock for its children.
//! 3. A write inside a read hold fails at once: it would wait for its own reader.

use std::{cell::RefCell, sync::Arc, time::Instant};

use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::timeout,
};

use crate::{connection::Link, error::Error, hold::Hold, key::Names, mode::Mode, options::Wait};

/// The locks that one future runs under.
pub(crate) type Scope = Arc<[Frame]>;

/// One of them.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) hold: Arc<Hold>,
    /// How the future that runs in this frame may use the lock; the hold itself may be a writer's.
    mode: Mode,
    children: Arc<RwLock<()>>,
}

/// The right to run inside a frame, beside siblings that the mode allows.
#[derive(Debug)]
pub(crate) enum Permit {
    Read(#[expect(dead_code, reason = "it counts until it is dropped")] OwnedRwLockReadGuard<()>),
    Write(#[expect(dead_code, reason = "it counts until it is dropped")] OwnedRwLockWriteGuard<()>),
}

thread_local! {
    static SCOPES: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

/// Polls a future that runs under these locks.
pub(crate) fn poll_in<T>(scope: &Scope, poll: impl FnOnce() -> T) -> T {
    /// Also when the future panics.
    struct Leave;

    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }

    SCOPES.with_borrow_mut(|scopes| scopes.push(Arc::clone(scope)));
    let _leave = Leave;
    poll()
}

/// The locks that the innermost future being polled runs under.
pub(crate) fn current() -> Option<Scope> {
    SCOPES.with_borrow(|scopes| scopes.last().cloned())
}

/// The innermost hold of a lock by the futures being polled.
pub(crate) fn outer(link: &Arc<Link>, names: &Names) -> Option<Outer> {
    SCOPES.with_borrow(|scopes| {
        scopes.iter().rev().find_map(|scope| {
            let index = scope.iter().position(|frame| {
                let owner = &frame.hold.owner;
                Arc::ptr_eq(&owner.link, link) && owner.names == *names
            })?;
            let scope = Arc::clone(scope);
            Some(Outer { scope, index })
        })
    })
}

/// A frame that another may be opened in.
pub(crate) struct Outer {
    scope: Scope,
    index: usize,
}

impl Outer {
    /// Waits for the siblings that are in the way.
    pub(crate) async fn enter(&self, mode: Mode, wait: Wait) -> Result<(Frame, Permit), Error> {
        let outer = &self.scope[self.index];
        let key = || outer.hold.owner.key.clone();
        if (outer.mode, mode) == (Mode::Read, Mode::Write) {
            return Err(Error::WriteInsideRead { key: key() });
        }
        let started = Instant::now();
        let permit = async {
            let children = Arc::clone(&outer.children);
            match mode {
                Mode::Read => Permit::Read(children.read_owned().await),
                Mode::Write => Permit::Write(children.write_owned().await),
            }
        };
        let permit = match wait {
            Wait::Forever => permit.await,
            Wait::For(limit) => timeout(limit, permit).await.map_err(|_| Error::Contended {
                key: key(),
                mode,
                waited: started.elapsed(),
            })?,
        };
        Ok((Frame::new(Arc::clone(&outer.hold), mode), permit))
    }
}

impl Frame {
    pub(crate) fn new(hold: Arc<Hold>, mode: Mode) -> Self {
        Frame {
            hold,
            mode,
            children: Arc::default(),
        }
    }
}
