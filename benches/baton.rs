//! The least that a hand-over by push can be: two scripts, of which the second takes the next name from a list and
//! publishes to it. No lease, no token, no readers, and nobody may ever die: it is here to show what is left for a lock
//! to be slower than.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use redis::{
    Client as Redis, PushInfo, PushKind, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
    from_redis_value_ref,
};
use tokio::sync::oneshot;

/// Counts who holds or waits; all but the first have to wait.
const TAKE: &str = "
    if redis.call('INCR', KEYS[1]) == 1 then return 1 end
    redis.call('RPUSH', KEYS[2], ARGV[1])
    return 0";

const PASS_ON: &str = "
    redis.call('DECR', KEYS[1])
    local next = redis.call('LPOP', KEYS[2])
    if next then redis.call('PUBLISH', ARGV[1] .. string.sub(next, 1, 32), next) end
    return 1";

const CHANNEL: &str = "baton:";

#[derive(Clone)]
pub(crate) struct Baton {
    connection: ConnectionManager,
    /// Of this process.
    name: Arc<str>,
    waiting: Arc<Mutex<Waiting>>,
    scripts: Arc<(Script, Script)>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    waiters: HashMap<String, oneshot::Sender<()>>,
}

impl Baton {
    pub(crate) async fn connect(url: &str) -> Self {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let of_push = Arc::clone(&waiting);
        let config = ConnectionManagerConfig::new().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Message {
                let name: String = from_redis_value_ref(&push.data[1]).expect("its name");
                let mut waiting = of_push.lock().expect("nobody panics");
                let waiter = waiting.waiters.remove(&name).expect("it waits");
                let _ = waiter.send(());
            }
            Ok::<_, std::convert::Infallible>(())
        });
        let client = Redis::open(format!("{url}/?protocol=resp3")).expect("a URL of a server");
        let manager = ConnectionManager::new_with_config(client, config).await;
        let mut connection = manager.expect("the server answers");
        let name = format!("{:032}", std::process::id());
        let subscribed = connection.subscribe(format!("{CHANNEL}{name}")).await;
        subscribed.expect("it speaks RESP3");
        Baton {
            connection,
            name: name.into(),
            waiting,
            scripts: Arc::new((Script::new(TAKE), Script::new(PASS_ON))),
        }
    }

    pub(crate) async fn acquire(&self, key: &str) {
        let (sender, receiver) = oneshot::channel();
        let name = {
            let mut waiting = self.waiting.lock().expect("nobody panics");
            waiting.last += 1;
            let name = format!("{}{}", self.name, waiting.last);
            waiting.waiters.insert(name.clone(), sender);
            name
        };
        let mut connection = self.connection.clone();
        let mut take = self.scripts.0.key(key);
        take.key(format!("{key}:line")).arg(&name);
        let taken: bool = take
            .invoke_async(&mut connection)
            .await
            .expect("the server answers");
        if taken {
            let mut waiting = self.waiting.lock().expect("nobody panics");
            waiting.waiters.remove(&name);
        } else {
            receiver.await.expect("somebody passes it on");
        }
    }

    pub(crate) async fn release(&self, key: &str) {
        let mut connection = self.connection.clone();
        let mut pass_on = self.scripts.1.key(key);
        pass_on.key(format!("{key}:line")).arg(CHANNEL);
        let passed: redis::RedisResult<()> = pass_on.invoke_async(&mut connection).await;
        passed.expect("the server answers");
    }
}
