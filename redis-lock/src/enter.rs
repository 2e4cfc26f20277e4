//! Getting everything that a future is to run under: its locks, in one fixed order, or a place inside of those that
//! are held already.

use std::{sync::Arc, time::Instant};

use crate::{
    acquire::acquire_checked,
    connection::Link,
    error::Error,
    guards::Guards,
    key::{Key, Names},
    nesting::{self, Frame, Permit, Scope},
    options::Options,
};

/// What a future has that runs under locks.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) scope: Scope,
    /// For the locks that the task held before.
    pub(crate) permits: Vec<Permit>,
    /// For the others.
    pub(crate) guards: Guards,
}

/// Takes all of them, or, inside of holds that the polled task has, the right to use those.
pub(crate) async fn enter(
    link: Arc<Link>,
    options: Options,
    keys: Vec<Key>,
) -> Result<Entered, Error> {
    let mut frames = Vec::with_capacity(keys.len());
    let mut permits = Vec::new();
    let mut guards = Vec::new();
    let started = Instant::now();
    let limit = options.limit(started);
    for key in in_order(keys, &options)? {
        let options = options.rest(started);
        let names = Names::new(&options.namespace, &key);
        if let Some(outer) = nesting::outer(&link, &names) {
            let (frame, permit) = outer.enter(options.mode, options.wait).await?;
            frames.push(frame);
            permits.push(permit);
        } else {
            let mode = options.mode;
            let guard = acquire_checked(Arc::clone(&link), options, key, limit).await?;
            frames.push(Frame::new(Arc::clone(guard.hold()), mode));
            guards.push(guard);
        }
    }
    Ok(Entered {
        scope: frames.into(),
        permits,
        guards: Guards::new(guards),
    })
}

/// Takes all of them, whatever the task holds already.
pub(crate) async fn acquire_all(
    link: Arc<Link>,
    options: Options,
    keys: Vec<Key>,
) -> Result<Guards, Error> {
    let mut guards = Vec::with_capacity(keys.len());
    let started = Instant::now();
    let limit = options.limit(started);
    for key in in_order(keys, &options)? {
        let options = options.rest(started);
        guards.push(acquire_checked(Arc::clone(&link), options, key, limit).await?);
    }
    Ok(Guards::new(guards))
}

/// Everybody takes several locks in this order, so that no two wait for each other. Duplicates are folded. All keys
/// and the options are checked before the first lock is taken.
fn in_order(mut keys: Vec<Key>, options: &Options) -> Result<Vec<Key>, Error> {
    if keys.is_empty() {
        return Err(Error::InvalidKey {
            key: Key::from(""),
            reason: "a list of keys must not be empty",
        });
    }
    for key in &keys {
        key.check()?;
        options.check(key)?;
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
