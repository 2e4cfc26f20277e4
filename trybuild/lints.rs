//! The attribute in every shape, silent under every lint that is on here. `cargo clippy --all-targets`, a step of
//! `.ci/run` and of `scripts/test`, is what looks; there is nothing to run.
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(
    unused,
    unreachable_pub,
    unused_qualifications,
    single_use_lifetimes,
    unused_lifetimes,
    missing_docs
)]
#![deny(
    trivial_casts,
    trivial_numeric_casts,
    elided_lifetimes_in_paths,
    future_incompatible,
    rust_2018_idioms
)]
#![deny(
    let_underscore_drop,
    unused_results,
    variant_size_differences,
    unit_bindings,
    redundant_lifetimes
)]
#![deny(
    clippy::allow_attributes,
    clippy::shadow_same,
    clippy::shadow_reuse,
    clippy::shadow_unrelated
)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::absolute_paths,
    clippy::wildcard_enum_match_arm
)]
#![deny(
    clippy::map_err_ignore,
    clippy::clone_on_ref_ptr,
    clippy::as_conversions,
    clippy::default_numeric_fallback
)]

use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis_lock::{Error, Held, Key, Locker, Mode, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn template(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = format!("order:{id}"), wait = limit, ttl = limit, max_hold = limit * 2, mode = "r")]
async fn expressions(id: u64, limit: Duration) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order:<name.len()>:<pair.0:04>:<N:?>", wait = "forever")]
async fn places<const N: usize>(name: &str, pair: (u8, [u8; N])) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = ["account:<from>", "account:<to>", key], guard = locks, auto_extend = false)]
async fn list(from: u64, to: u64, key: &str) -> Result<u64, Error> {
    let other = locks.get(key).map_or(0, Held::token);
    Ok(locks.iter().map(Held::token).sum::<u64>() + other)
}

#[redis_lock(key = "job", wait = "0s", on_contended = Ok(()))]
async fn skipped() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "job", map_err = |error| error.to_string(), on_contended = Err("busy".to_owned()))]
async fn mapped() -> Result<u64, String> {
    Ok(1)
}

#[redis_lock(key = "job", map_err = Failed::Lock, guard = lock)]
async fn mapped_by_path() -> Result<Key, Failed> {
    Ok(lock.key().clone())
}

/// An error.
#[derive(Debug)]
enum Failed {
    Lock(Error),
}

#[redis_lock(key = "a", locker = locker)]
async fn with_locker(locker: &Locker) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", crate = ::redis_lock)]
async fn ignored(_ignored: String, mut list: Vec<u8>) -> Result<Box<dyn Display + Send>, Error> {
    list.push(1);
    if list.is_empty() {
        return Ok(Box::new(1_u8));
    }
    Ok(Box::new(list.len()))
}

#[redis_lock(key = "<a>:<x>")]
async fn patterns(
    (a, b): (u8, Vec<u8>),
    Point { x, y }: Point,
    _: String,
) -> Result<Vec<u8>, Error> {
    Ok(if y.is_empty() { b } else { vec![a, x] })
}

struct Point {
    x: u8,
    y: Vec<u8>,
}

#[redis_lock(key = "order")]
#[expect(unused_variables, reason = "shows that the expectation is met")]
async fn expected(unused: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order")]
async fn expected_parameter(
    #[expect(unused_variables, reason = "shows that the expectation is met")] unused: u64,
) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "item:<id>")]
async fn generic<T: Display + Send + Sync, F>(id: &T, call: F) -> Result<usize, Error>
where
    F: for<'x> Fn(&'x str) -> &'x str + Send,
{
    Ok(call("a").len())
}

#[redis_lock(key = "a")]
async fn opaque(call: impl Fn() -> u8 + Send) -> Result<impl Iterator<Item = u8>, Error> {
    Ok(iter::once(call()))
}

#[redis_lock(key = "a")]
async fn diverges(fail: bool) -> Result<u8, Error> {
    if fail {
        return Err(Error::NotInitialized);
    }
    loop {
        ready(()).await;
    }
}

#[expect(clippy::manual_async_fn, reason = "shows that the expectation is met")]
#[redis_lock(key = "a:<id>")]
fn future(id: u64) -> impl Future<Output = Result<u64, Error>> + Send {
    async move { Ok(id) }
}

#[redis_lock(key = "a:<id>")]
fn boxed(id: u64) -> Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>> {
    Box::pin(async move { Ok(id) })
}

#[redis_lock(key = "shop", mode = "r")]
#[redis_lock(key = "order:<id>")]
#[tracing::instrument]
async fn several(id: u64) -> Result<u64, Error> {
    Ok(id)
}

struct Shop<T> {
    name: T,
    locker: Locker,
}

impl<T: Display + Send + Sync> Shop<T> {
    #[redis_lock(key = "shop:<self.name>", locker = self.locker, guard = lock)]
    async fn by_ref(&self, id: u64) -> Result<u64, Error> {
        Ok(lock.token() + id)
    }

    #[redis_lock(key = "shop:<self.name>", on_contended = Ok(None))]
    async fn by_mut(&mut self, name: T) -> Result<Option<&T>, Error> {
        self.name = name;
        Ok(Some(&self.name))
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_value(self) -> Result<T, Error> {
        Ok(self.name)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_arc(self: Arc<Self>) -> Result<usize, Error> {
        Ok(Arc::strong_count(&self))
    }
}

trait Till {
    async fn open(&self, id: u64) -> Result<u64, Error>;
}

impl<T: Debug + Send + Sync> Till for Shop<T> {
    #[redis_lock(key = "till:<id>:<self.name:?>")]
    async fn open(&self, id: u64) -> Result<u64, Error> {
        Ok(id)
    }
}

#[async_trait]
trait Boxed {
    async fn close(&self, id: u64) -> Result<u64, Error>;

    async fn count(&self, id: u64, other: u64, name: String) -> Result<u64, Error>;
}

#[async_trait]
impl<T: Display + Send + Sync> Boxed for Shop<T> {
    #[redis_lock(key = "till:<id>:<self.name>", guard = lock, on_contended = Ok(id))]
    async fn close(&self, id: u64) -> Result<u64, Error> {
        Ok(lock.token() + id)
    }

    #[redis_lock(key = [r("till:<id>"), w("till:<_other>"), "till"], mode = Mode::R, namespace = &name)]
    async fn count(&self, id: u64, _other: u64, name: String) -> Result<u64, Error> {
        Ok(1)
    }
}

macro_rules! made {
    ($name:ident, $key:expr, $body:block) => {
        #[redis_lock(key = $key, guard = lock)]
        async fn $name(id: u64) -> Result<u64, Error> {
            let id = id + lock.token();
            drop($body);
            Ok(id)
        }
    };
}

made!(made, "order:<id>", { String::new() });

/// All of it is used.
#[test]
fn nothing_is_run() {
    let long = Duration::from_secs(1);
    drop((
        template(1),
        expressions(1, long),
        places::<1>("a", (1, [1])),
        list(1, 2, "b"),
        skipped(),
    ));
    drop((
        mapped(),
        mapped_by_path(),
        ignored(String::new(), Vec::new()),
        expected(1),
        expected_parameter(1),
    ));
    drop(patterns(
        (1, Vec::new()),
        Point {
            x: 1,
            y: Vec::new(),
        },
        String::new(),
    ));
    drop((
        generic(&1_u8, |text| text),
        opaque(|| 1),
        diverges(true),
        future(1),
        boxed(1),
        several(1),
        made(1),
    ));
    let _ = |locker: Locker| {
        drop(with_locker(&locker));
        let mut shop = Shop { name: "a", locker };
        drop((shop.by_ref(1), shop.open(1), shop.close(1)));
        drop(shop.count(1, 2, String::new()));
        drop(shop.by_mut("b"));
        drop(Arc::new(shop).by_arc());
    };
    let _ = |shop: Shop<u8>| drop(shop.by_value());
    let _ = |failed| match failed {
        Failed::Lock(error) => error.to_string(),
    };
}
