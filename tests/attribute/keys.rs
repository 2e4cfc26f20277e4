//! What a key is made of, and when.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use redis_lock::{Error, Key, Locker, redis_lock, with_locker};
use tokio::time::sleep;

use super::{is_locked_elsewhere, start};

#[redis_lock(key = name(made), wait = "5s")]
async fn key_by_a_function(made: &AtomicUsize) -> Result<(), Error> {
    sleep(Duration::from_millis(20)).await;
    Ok(())
}

fn name(made: &AtomicUsize) -> Key {
    made.fetch_add(1, SeqCst);
    Key::from("made")
}

#[tokio::test]
async fn the_key_is_made_once_and_not_before_the_first_poll() {
    let (_server, locker) = start().await;
    let made = AtomicUsize::new(0);
    let holder = locker.write("made").await.expect("the lock");
    let locked = key_by_a_function(&made);
    assert_eq!(made.load(SeqCst), 0);
    let later = async {
        sleep(Duration::from_millis(200)).await;
        holder.unlock().await.expect("unlocked");
    };
    let (locked, ()) = tokio::join!(with_locker(locker, locked), later);
    locked.expect("the lock");
    assert_eq!(made.load(SeqCst), 1);
}

struct Shop {
    name: String,
    sold: u64,
}

impl Shop {
    #[redis_lock(key = "{<self.name>}:<<<id>>>")]
    async fn ship(&mut self, locker: &Locker, id: u64) -> Result<bool, Error> {
        self.sold += 1;
        let key = format!("{{{}}}:<{id}>", self.name);
        Ok(is_locked_elsewhere(locker, &key).await)
    }
}

#[tokio::test]
async fn the_key_is_what_the_template_says() {
    let (_server, locker) = start().await;
    let mut shop = Shop {
        name: "corner".to_owned(),
        sold: 0,
    };
    let outside = locker.clone();
    let shipped = with_locker(locker, shop.ship(&outside, 7)).await;
    assert!(matches!(shipped, Ok(true)), "{shipped:?}");
    assert_eq!(shop.sold, 1);
}

#[derive(Debug)]
struct Order {
    lines: Vec<(u8, u8)>,
}

impl Order {
    fn first(&self) -> &(u8, u8) {
        &self.lines[0]
    }
}

#[redis_lock(
    key = "<n:04>:<n:#x>:<n:+>:<rate:.2>:<name:?>:<name.len()>:<order.first().1:02>:<order.lines:?>:<SIZE>:<name:*^7>",
    guard = lock
)]
async fn every_form<const SIZE: usize>(
    n: u64,
    rate: f64,
    name: &str,
    order: &Order,
) -> Result<String, Error> {
    Ok(lock.key().to_string())
}

#[tokio::test]
async fn places_are_shown_as_their_formats_say() {
    let (_server, locker) = start().await;
    let order = Order {
        lines: vec![(1, 2)],
    };
    let key = with_locker(locker, every_form::<9>(7, 0.5, "a b", &order)).await;
    assert_eq!(
        key.expect("the lock"),
        r#"0007:0x7:+7:0.50:"a b":3:02:[(1, 2)]:9:**a b**"#
    );
}

#[redis_lock(key = "order:<id:04>:<name.trim()>", wait = "0s")]
async fn formatted(id: u64, name: &str) -> Result<(), Error> {
    let _ = (id, name);
    Ok(())
}

#[tokio::test]
async fn what_is_shown_decides_who_is_shut_out() {
    let (_server, locker) = start().await;
    let holder = locker.write("order:0007:a").await.expect("the lock");
    let error = with_locker(locker.clone(), formatted(7, " a ")).await;
    assert!(error.as_ref().is_err_and(Error::is_contended), "{error:?}");
    for (id, name) in [(70, "a"), (7, "b")] {
        let other = with_locker(locker.clone(), formatted(id, name)).await;
        assert!(other.is_ok(), "{other:?}");
    }
    holder.unlock().await.expect("unlocked");
}

struct Counted(AtomicUsize);

impl Counted {
    fn next(&self) -> usize {
        self.0.fetch_add(1, SeqCst)
    }
}

#[redis_lock(key = "counted:<counted.next()>", wait = "5s", guard = lock)]
async fn counted(counted: &Counted) -> Result<String, Error> {
    Ok(lock.key().to_string())
}

#[tokio::test]
async fn a_method_in_a_key_is_called_once() {
    let (_server, locker) = start().await;
    let calls = Counted(AtomicUsize::new(0));
    let holder = locker.write("counted:0").await.expect("the lock");
    let later = async {
        sleep(Duration::from_millis(200)).await;
        holder.unlock().await.expect("unlocked");
    };
    let (key, ()) = tokio::join!(with_locker(locker, counted(&calls)), later);
    assert!(matches!(key.as_deref(), Ok("counted:0")), "{key:?}");
    assert_eq!(calls.next(), 1);
}

#[redis_lock(key = "moved:<id>", guard = lock)]
async fn moved(mut id: String) -> Result<String, Error> {
    id.push('!');
    let id = std::mem::take(&mut id);
    Ok(format!("{} {id}", lock.key()))
}

#[tokio::test]
async fn the_key_is_made_before_the_body_has_its_arguments() {
    let (_server, locker) = start().await;
    let key = with_locker(locker, moved("a".to_owned())).await;
    assert!(matches!(key.as_deref(), Ok("moved:a a!")), "{key:?}");
}
