//! Locks inside of locks: which locks the task that is being polled holds already.
//!
//! An annotated function that calls an annotated function with the same key must not wait for itself. So each future that runs
//! under a lock has its [`Scope`] on a stack while the future is polled, and only then: inner futures, and nothing else, find the
//! scope there. Spawned tasks are polled elsewhere and inherit nothing.
//!
//! 1. Inside a write hold, a read or a write of the same lock runs in the outer hold.
//! 2. Siblings in one task exclude each other as their modes say: every frame has a lock for its children.
//! 3. A write inside a read hold fails at once: the write would wait for its own reader.
//! 4. A future in an outer hold is stopped when it is polled outside of the outer future: it may have moved to a different task,
//!    and the outer hold may be gone.
//! 5. A task that is polled inside of a task (a `LocalSet`, a runtime in a runtime) is a different task all the same.

use std::{cell::RefCell, sync::Arc};

use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    task,
};

use crate::{
    api::{
        error::Error,
        held::{Held, HeldAll},
        options::Wait,
    },
    engine::hold::Hold,
    link::Link,
    store::redis::names::Names,
    values::{key::Key, mode::Mode},
};

/// The locks that one future runs under, in the order of the requests: a lock that was asked for twice is there twice.
pub(crate) type Scope = Arc<[Frame]>;

/// One lock of a scope. All clones are the same frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) hold: Arc<Hold>,
    /// How the future that runs in this frame may use the lock; the hold itself may be a writer's.
    mode: Mode,
    children: Arc<RwLock<()>>,
}

/// The right to run inside a frame, beside siblings that the mode allows, while the frame is being polled.
#[derive(Debug)]
pub(crate) struct Permit {
    outer: Outer,
    #[expect(dead_code, reason = "it counts until it is dropped")]
    right: Right,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they count until they are dropped")]
enum Right {
    Read(OwnedRwLockReadGuard<()>),
    Write(OwnedRwLockWriteGuard<()>),
}

impl Permit {
    /// Whether the future being polled runs in the outer frame.
    pub(crate) fn is_inside(&self) -> bool {
        find(|scope| Arc::ptr_eq(scope, &self.outer.scope).then_some(())).is_some()
    }

    pub(crate) fn key(&self) -> &Key {
        &self.outer.frame().hold.owner.key
    }
}

thread_local! {
    static SCOPES: RefCell<Vec<(Option<task::Id>, Scope)>> = const { RefCell::new(Vec::new()) };
}

/// Polls a future that runs under these locks.
pub(crate) fn poll_in<T>(scope: &Scope, poll: impl FnOnce() -> T) -> T {
    /// Takes the scope off the stack, also when the future panics.
    struct Leave;

    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }

    let polled = (task::try_id(), Arc::clone(scope));
    SCOPES.with_borrow_mut(|scopes| scopes.push(polled));
    let _leave = Leave;
    poll()
}

/// The locks that the innermost future being polled runs under.
pub(crate) fn current() -> Option<Scope> {
    find(|scope| Some(Arc::clone(scope)))
}

/// The innermost hold of a lock by the futures being polled.
pub(crate) fn outer(link: &Arc<Link>, names: &Names) -> Option<Outer> {
    find(|scope| {
        let index = scope.iter().position(|frame| {
            let owner = &frame.hold.owner;
            Arc::ptr_eq(&owner.link, link) && owner.names == *names
        })?;
        let scope = Arc::clone(scope);
        Some(Outer { scope, index })
    })
}

/// The lock of a scope with one lock.
pub(crate) fn held(scope: &Scope) -> Held {
    Held::new(&scope[0].hold)
}

/// All locks of a scope.
pub(crate) fn held_all(scope: &Scope) -> HeldAll {
    HeldAll::new(scope.iter().map(|frame| Held::new(&frame.hold)))
}

/// Looks through the scopes of the task being polled, the innermost first.
fn find<T>(mut look: impl FnMut(&Scope) -> Option<T>) -> Option<T> {
    let task = task::try_id();
    SCOPES.with_borrow(|scopes| {
        let mut of_task = scopes.iter().rev().filter(|(of, _)| *of == task);
        of_task.find_map(|(_, scope)| look(scope))
    })
}

/// A frame to open a new frame in.
#[derive(Debug)]
pub(crate) struct Outer {
    scope: Scope,
    index: usize,
}

impl Outer {
    /// Opens a frame, once no sibling's mode excludes it.
    pub(crate) async fn enter(self, mode: Mode, wait: Wait) -> Result<(Frame, Permit), Error> {
        let outer = self.frame();
        let key = || outer.hold.owner.key.clone();
        if (outer.mode, mode) == (Mode::Read, Mode::Write) {
            return Err(Error::WriteInsideRead { key: key() });
        }
        let engine = outer.hold.owner.front.engine().map_err(Error::Engine)?;
        let started = engine.now();
        let right = async {
            let children = Arc::clone(&outer.children);
            match mode {
                Mode::Read => Right::Read(children.read_owned().await),
                Mode::Write => Right::Write(children.write_owned().await),
            }
        };
        let right = match wait {
            Wait::Forever => right.await,
            Wait::For(limit) => {
                let right = engine.timeout(limit, right).await;
                right.ok_or_else(|| Error::Contended {
                    key: key(),
                    mode,
                    waited: engine.now().since(started),
                })?
            }
        };
        let frame = Frame::new(Arc::clone(&outer.hold), mode);
        Ok((frame, Permit { outer: self, right }))
    }

    fn frame(&self) -> &Frame {
        &self.scope[self.index]
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
