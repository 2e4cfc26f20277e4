//! Guards against what is late or lost on a connection while wake-ups come in: nobody may take the past for the present,
//! and hold the lock beside another.

use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use redis::aio::{
    AsyncPushSender, ConnectionLike, ConnectionManager, ConnectionManagerConfig,
    MultiplexedConnection,
};
use redis::{Cmd, Pipeline, PushInfo, PushKind, RedisFuture, Value};
use redis_lock::{Locker, Wakeups};
use redis_lock_tests::{Server, eventually};
use tokio::time::{sleep, timeout};

use crate::stage::{LONG, SOON, all_in_line, enqueue, locker, nothing_is_left, soon, waiters};

/// A real connection that lets things happen to what goes over it.
#[derive(Clone)]
struct Lossy {
    connection: MultiplexedConnection,
    /// Answers are lost.
    loses: Arc<AtomicBool>,
    /// That of the next command is.
    loses_one: Arc<AtomicBool>,
    /// The next command is kept back.
    keeps: Arc<AtomicBool>,
    kept: Arc<Mutex<Option<Cmd>>>,
}

impl ConnectionLike for Lossy {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            if self.keeps.swap(false, SeqCst) {
                *self.kept.lock().unwrap() = Some(command.clone());
                return pending().await;
            }
            let is_lost = self.loses_one.swap(false, SeqCst);
            let reply = self.connection.req_packed_command(command).await;
            if is_lost || self.loses.load(SeqCst) {
                return pending().await;
            }
            reply
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        0
    }
}

struct Scene {
    server: Server,
    other: Locker,
    lossy: Lossy,
    wakeups: Wakeups,
    waiting: Locker,
    /// Wake-ups are lost.
    deaf: Arc<AtomicBool>,
    _wakes: ConnectionManager,
}

async fn scene() -> Scene {
    let server = Server::start().await;
    let other = locker(&server.url()).await;
    let (wakeups, deaf) = (Wakeups::new(), Arc::new(AtomicBool::new(false)));
    let (hears, is_deaf) = (wakeups.clone(), Arc::clone(&deaf));
    let config = ConnectionManagerConfig::new().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Message && is_deaf.load(SeqCst) {
            return Ok(());
        }
        hears.send(push)
    });
    let client = redis::Client::open(format!("{}/?protocol=resp3", server.url())).unwrap();
    let wakes = ConnectionManager::new_with_config(client, config).await;
    let mut wakes = wakes.unwrap();
    wakes.subscribe(wakeups.channel()).await.unwrap();
    let lossy = Lossy {
        connection: server.connection().await,
        loses: Arc::default(),
        loses_one: Arc::default(),
        keeps: Arc::default(),
        kept: Arc::default(),
    };
    let waiting = Locker::with_wakeups(lossy.clone(), &wakeups);
    let waiting = waiting.ttl(LONG).wait(LONG);
    // From here on the server knows the scripts.
    waiting.write("x").await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
    Scene {
        server,
        other,
        lossy,
        wakeups,
        waiting,
        deaf,
        _wakes: wakes,
    }
}

/// Two were let in together, and nobody of them has noticed: their own questions have not been answered. By the time that
/// one of them is granted the lock anew, the run is over, and its end must not take that away.
#[tokio::test]
async fn a_run_that_is_over_takes_nothing_that_was_granted_after_it() {
    let scene = scene().await;
    let holder = scene.other.write("x").await.unwrap();
    scene.lossy.loses.store(true, SeqCst);
    let mut first = enqueue(&scene.server, scene.waiting.write("x")).await;
    let mut second = enqueue(&scene.server, scene.waiting.write("x")).await;
    holder.unlock().await.unwrap();
    // Longer than a command is waited for, and than the claim lasts once it is sent again.
    sleep(Duration::from_millis(2500)).await;
    scene.lossy.loses.store(false, SeqCst);
    // Both places have ended, and the pauses have jitter: either may ask first.
    let (guard, other) = tokio::select! {
        guard = &mut first => (guard, second),
        guard = &mut second => (guard, first),
        () = sleep(SOON) => panic!("neither gets it"),
    };
    let guard = guard.unwrap().unwrap();
    let rival = timeout(Duration::from_secs(2), scene.other.write("x")).await;
    assert!(
        rival.is_err() || guard.is_lost(),
        "two hold it at the same time"
    );
    drop((guard, rival));
    soon(other).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&scene.server).await;
}

/// The first question arrives when the second one has brought the lock, and makes the lease what it asks for.
#[tokio::test]
async fn a_question_that_is_late_leaves_nobody_with_less_than_it_knows_of() {
    let scene = scene().await;
    let holder = scene.other.write("x").await.unwrap();
    scene.lossy.keeps.store(true, SeqCst);
    let ttl = Duration::from_millis(300);
    let mut waiter = Box::pin(scene.waiting.clone().ttl(ttl).write("x"));
    tokio::select! {
        _ = &mut waiter => panic!("it is held"),
        () = all_in_line(&scene.server, 1) => {}
    }
    let rival = enqueue(&scene.server, scene.other.write("x")).await;
    // For the answer to its second question.
    let _ = timeout(Duration::from_millis(100), &mut waiter).await;
    holder.unlock().await.unwrap();
    let late = scene.lossy.kept.lock().unwrap().take().unwrap();
    let mut connection = scene.server.connection().await;
    let _: Value = late.query_async(&mut connection).await.unwrap();
    let rival = soon(rival).await.unwrap();
    let waiter = timeout(Duration::from_millis(1500), waiter).await;
    assert!(waiter.is_err() || rival.is_lost(), "both hold it");
    rival.unlock().await.unwrap();
    drop(waiter);
    nothing_is_left(&scene.server).await;
}

/// Redis lets those with one channel in together, whichever Locker they wait with.
#[tokio::test]
async fn two_lockers_with_the_same_wake_ups_hold_one_after_the_other() {
    let scene = scene().await;
    let second = Locker::with_wakeups(scene.lossy.clone(), &scene.wakeups);
    let second = second.ttl(LONG).wait(LONG);
    scene.deaf.store(true, SeqCst);
    let holder = scene.other.write("x").await.unwrap();
    let first = enqueue(&scene.server, scene.waiting.write("x")).await;
    let second = enqueue(&scene.server, second.write("x")).await;
    holder.unlock().await.unwrap();
    let guard = soon(first).await.unwrap();
    // Longer than it takes to hear of a grant without wake-ups.
    sleep(Duration::from_secs(2)).await;
    assert!(!second.is_finished() || guard.is_lost(), "both hold it");
    guard.unlock().await.unwrap();
    soon(second).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&scene.server).await;
}

/// Three are let in together, and of the second that is heard of last: it must not hold after the third with a token that
/// is below the third's.
#[tokio::test]
async fn tokens_rise_though_one_of_a_run_is_heard_of_late() {
    let scene = scene().await;
    scene.deaf.store(true, SeqCst);
    let holder = scene.other.write("x").await.unwrap();
    // Each asks for itself, since nobody waits here yet; only the first is answered.
    let mut pair = [scene.waiting.write("x"), scene.waiting.write("x")].map(Box::pin);
    poll_fn(|context| {
        assert!(pair[0].as_mut().poll(context).is_pending());
        scene.lossy.loses_one.store(true, SeqCst);
        assert!(pair[1].as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let [first, second] = pair.map(tokio::spawn);
    all_in_line(&scene.server, 2).await;
    // For the first one's answer, so that the third joins it; nothing shows that from outside, and without it, it asks
    // for itself.
    sleep(Duration::from_millis(50)).await;
    let third = enqueue(&scene.server, scene.waiting.write("x")).await;
    holder.unlock().await.unwrap();
    let first = soon(first).await.unwrap();
    // For the others to be heard of; it is renewed meanwhile.
    sleep(Duration::from_millis(2500)).await;
    let tokens = Arc::new(Mutex::new(vec![first.token()]));
    let turns = [third, second].map(|waiter| {
        let tokens = Arc::clone(&tokens);
        tokio::spawn(async move {
            let guard = soon(waiter).await.unwrap();
            tokens.lock().unwrap().push(guard.token());
            guard.unlock().await.unwrap();
        })
    });
    first.unlock().await.unwrap();
    for turn in turns {
        soon(turn).await;
    }
    let tokens = tokens.lock().unwrap().clone();
    assert!(tokens.is_sorted(), "{tokens:?}");
    nothing_is_left(&scene.server).await;
}

/// From here on the server knows the script of the heartbeat as well: the second waiter joins the queue with it.
async fn first_heartbeat(scene: &Scene) {
    let holder = scene.other.write("x").await.unwrap();
    let first = enqueue(&scene.server, scene.waiting.write("x")).await;
    let second = enqueue(&scene.server, scene.waiting.write("x")).await;
    holder.unlock().await.unwrap();
    for waiter in [first, second] {
        soon(waiter).await.unwrap().unlock().await.unwrap();
    }
    nothing_is_left(&scene.server).await;
}

/// The command that was kept back.
async fn kept(scene: &Scene) -> Cmd {
    let mut command = None;
    eventually(SOON, "a command is sent", async || {
        command = scene.lossy.kept.lock().unwrap().take();
        command.is_some()
    })
    .await;
    command.unwrap()
}

#[tokio::test]
async fn a_heartbeat_that_is_overtaken_by_the_end_of_the_wait_leaves_no_place() {
    let scene = scene().await;
    first_heartbeat(&scene).await;
    let holder = scene.other.write("x").await.unwrap();
    let waiter = enqueue(&scene.server, scene.waiting.write("x")).await;
    scene.lossy.keeps.store(true, SeqCst);
    let heartbeat = kept(&scene).await;
    waiter.abort();
    all_in_line(&scene.server, 0).await;
    let mut connection = scene.server.connection().await;
    let _: Value = heartbeat.query_async(&mut connection).await.unwrap();
    assert_eq!(waiters(&scene.server).await, 0);
    holder.unlock().await.unwrap();
    nothing_is_left(&scene.server).await;
}

#[tokio::test]
async fn waiters_that_redis_has_forgotten_queue_again_in_their_order() {
    let scene = scene().await;
    let holder = scene.other.write("x").await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..5 {
        let (waiting, order) = (scene.waiting.clone(), Arc::clone(&order));
        let waiter = enqueue(&scene.server, async move {
            let guard = waiting.write("x").await.unwrap();
            order.lock().unwrap().push((number, guard.token()));
            guard.unlock().await.unwrap();
        });
        tasks.push(waiter.await);
    }
    scene.server.flush().await;
    for task in tasks {
        soon(task).await;
    }
    let order = order.lock().unwrap().clone();
    assert!(order.is_sorted() && order.len() == 5, "{order:?}");
    assert!(order.iter().all(|(_, token)| *token > holder.token()));
    assert!(holder.unlock().await.is_err_and(|error| error.is_lost()));
    nothing_is_left(&scene.server).await;
}
