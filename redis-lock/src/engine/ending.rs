//! The end of a Locker: giving back what is held, and waiting for what is given back in the background.

use std::{io, sync::Arc, time::Duration};

use crate::{
    core::io::Input,
    engine::{session::Session, shell::Entry},
    link::{Link, front::Front},
    values::{key::Key, loss::Loss},
};

/// Waits until all locks that are being given back over a link are given back, but not for longer than `limit`. Returns the
/// keys that are left.
pub(crate) async fn flush(link: &Arc<Link>, limit: Duration) -> io::Result<Vec<Key>> {
    let front = link.front();
    let engine = front.engine()?;
    let end = engine.now() + limit;
    let mut news = link.ending.news();
    let entries = of_link(&front, link).await;
    let mut owing: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| Some((entry.mark()?, entry)))
        .collect();
    loop {
        news.mark_unchanged();
        owing.retain(|(mark, entry)| entry.owes(*mark));
        let left = end.since(engine.now());
        if owing.is_empty() || left.is_zero() {
            break;
        }
        engine.timeout(left, news.changed()).await;
    }
    let mut left: Vec<_> = owing.iter().map(|(_, entry)| entry.key.clone()).collect();
    left.extend(link.ending.failed().iter().cloned());
    left.sort_unstable();
    left.dedup();
    Ok(left)
}

/// Gives the holders over a link `grace` to give back, and then takes the locks away. Returns how many holds were taken.
pub(crate) async fn let_go(link: &Arc<Link>, grace: Duration) -> io::Result<usize> {
    let front = link.front();
    let engine = front.engine()?;
    let end = engine.now() + grace;
    let mut news = link.ending.news();
    loop {
        news.mark_unchanged();
        let entries = of_link(&front, link).await;
        let holds: Vec<_> = entries.iter().flat_map(|entry| entry.holds()).collect();
        let left = end.since(engine.now());
        if holds.is_empty() {
            return Ok(0);
        }
        if left.is_zero() {
            for hold in &holds {
                if let Some((entry, waiter)) = hold.place() {
                    let (waiter, why) = (*waiter, Loss::ShutDown);
                    entry.tell(Input::Interrupted { waiter, why });
                }
            }
            return Ok(holds.len());
        }
        drop(holds);
        // A hold that is given back sends news. A lease that ends by itself is noticed when `left` is over.
        engine.timeout(left, news.changed()).await;
    }
}

/// The locks over a link that have something planned. Read in a task of the engine, since the schedule misses the lock that the
/// engine looks at just now.
async fn of_link(front: &Front, link: &Arc<Link>) -> Vec<Arc<Entry>> {
    let Ok(engine) = front.engine() else {
        return Vec::new(); // no lock can have been asked for
    };
    let of = Arc::clone(link);
    let schedule = Arc::clone(Session::of(front).schedule(engine));
    let entries = engine.spawn(async move {
        let mut entries = schedule.all();
        entries.retain(|entry| Arc::ptr_eq(&entry.link, &of));
        entries
    });
    entries.await.unwrap_or_default()
}
