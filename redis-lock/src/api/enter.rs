//! Taking the locks for a future: each lock anew, in one fixed order, or as a place inside of a hold that the task has already.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        acquire::acquire_checked,
        error::Error,
        guards::Guards,
        nesting::{self, Frame, Permit, Scope},
        options::Options,
        request::LockRequest,
    },
    link::Link,
    store::redis::names::Names,
    values::{key::Key, mode::Mode},
};

/// The locks of a future that runs.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) scope: Scope,
    /// The places inside of holds that the task had before.
    pub(crate) permits: Vec<Permit>,
    /// The locks that were taken anew.
    pub(crate) guards: Guards,
}

/// Takes all locks. For a lock that the polled task holds already, takes a place inside of that hold.
pub(crate) async fn enter(
    link: Arc<Link>,
    options: Options,
    requests: Vec<LockRequest>,
) -> Result<Entered, Error> {
    let InOrder { locks, places } = in_order(&requests, &options)?;
    let mut frames = Vec::with_capacity(locks.len());
    let mut permits = Vec::new();
    let mut guards = Vec::new();
    let front = link.front();
    let engine = front.engine().map_err(Error::Engine)?;
    let started = engine.now();
    for (key, mode) in locks {
        let options = options.rest(engine.now().since(started), mode);
        let names = Names::new(&options.namespace, &key);
        if let Some(outer) = nesting::outer(&link, &names) {
            let (frame, permit) = outer.enter(mode, options.wait).await?;
            frames.push(frame);
            permits.push(permit);
        } else {
            let guard = acquire_checked(Arc::clone(&link), options, key).await?;
            frames.push(Frame::new(Arc::clone(guard.hold()), mode));
            guards.push(guard);
        }
    }
    Ok(Entered {
        scope: places.iter().map(|place| frames[*place].clone()).collect(),
        permits,
        guards: Guards::new(guards),
    })
}

/// Takes all locks anew, also a lock that the task holds already.
pub(crate) async fn acquire_all(
    link: Arc<Link>,
    options: Options,
    requests: Vec<LockRequest>,
) -> Result<Guards, Error> {
    let InOrder { locks, places } = in_order(&requests, &options)?;
    let mut guards = Vec::with_capacity(locks.len());
    let front = link.front();
    let engine = front.engine().map_err(Error::Engine)?;
    let started = engine.now();
    for (key, mode) in locks {
        let options = options.rest(engine.now().since(started), mode);
        guards.push(acquire_checked(Arc::clone(&link), options, key).await?);
    }
    Ok(Guards::new(guards).at_places(places))
}

/// Locks in the order in which they are taken.
struct InOrder {
    locks: Vec<(Key, Mode)>,
    /// For each request, in the order given, the index of its lock in `locks`.
    places: Vec<usize>,
}

/// The locks in the order of keys. All tasks take several locks in this order, so that no two tasks wait for each other. Requests
/// with the same key are one lock, held for writing if any of the requests asks for that. All keys and the options are checked
/// before the first lock is taken.
fn in_order(requests: &[LockRequest], options: &Options) -> Result<InOrder, Error> {
    if requests.is_empty() {
        return Err(Error::InvalidKey {
            key: Key::from(""),
            reason: "a list of keys must not be empty",
        });
    }
    let mut modes = BTreeMap::new();
    for LockRequest { key, mode } in requests {
        options.check(key)?;
        let mode = mode.unwrap_or(options.mode);
        let held = modes.entry(key.clone()).or_insert(mode);
        if mode == Mode::Write {
            *held = Mode::Write;
        }
    }
    let locks: Vec<_> = modes.into_iter().collect();
    let place = |key: &Key| locks.partition_point(|(before, _)| before < key);
    let places = requests.iter().map(|request| place(&request.key)).collect();
    Ok(InOrder { locks, places })
}
