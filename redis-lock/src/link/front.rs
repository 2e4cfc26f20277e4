//! Where pushes come in: the channel of a session, and whether a connection listens to the channel.
//!
//! Each runtime that uses a Locker has a connection and a front: a waiter hears of its turn in its own runtime, without a second
//! thread in between.

use std::{
    any::Any,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use redis::{PushInfo, PushKind, from_redis_value_ref};
use tokio::sync::watch;

use crate::{
    core::io::Push,
    threads::runtime::{Engine, engine},
    values::session::{Pushes, SessionId},
};

/// A message that has come in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    /// A message on the channel. Messages may be lost, and nothing depends on a message.
    Text(&'a str),
    /// A push of a store in this process, for the lock of this name.
    Push(&'a str, Push),
    /// Whether messages come in from now on. Earlier messages may have been missed.
    Listening(bool),
}

/// Takes in the messages. Given by a layer above, since the link knows no locks.
pub(crate) trait Listener: Any + Send + Sync {
    fn hears(&self, message: Message<'_>);
}

/// Makes the listener of a new front.
pub(crate) type MakeListener = fn() -> Arc<dyn Listener>;

pub(crate) struct Front {
    /// `None`: the engine of the process.
    engine: Option<Engine>,
    session: SessionId,
    pushes: Pushes,
    /// Empty: there are no pushes.
    channel: String,
    listening: Mutex<bool>,
    /// How many messages have come in.
    heard: watch::Sender<u64>,
    listener: Arc<dyn Listener>,
}

impl Front {
    /// A front with a random channel.
    pub(crate) fn new(pushes: Pushes, listener: MakeListener) -> Self {
        let session = SessionId(rand::random());
        let channel = match pushes {
            Pushes::None => String::new(),
            Pushes::Counted | Pushes::Uncounted => format!("redis-lock:{session}"),
        };
        Front {
            engine: None,
            session,
            pushes,
            channel,
            listening: Mutex::new(false),
            heard: watch::Sender::new(0),
            listener: listener(),
        }
    }

    /// A front of a store in this process: no connection is in between, so all pushes are heard.
    pub(crate) fn in_process(engine: Option<Engine>, listener: MakeListener) -> Self {
        Front {
            engine,
            listening: Mutex::new(true),
            ..Front::new(Pushes::Counted, listener)
        }
    }

    /// The engine that works for this session.
    pub(crate) fn engine(&self) -> io::Result<&Engine> {
        match &self.engine {
            Some(own) => Ok(own),
            None => engine(),
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn pushes(&self) -> Pushes {
        self.pushes
    }

    pub(crate) fn listener(&self) -> &dyn Listener {
        &*self.listener
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn is_listening(&self) -> bool {
        *self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_listening(&self, listens: bool) {
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_news = listens != *listening;
        *listening = listens;
        drop(listening);
        if is_news {
            self.listener.hears(Message::Listening(listens));
        }
    }

    /// Counts the messages that come in from now on.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// A store in this process sends a push.
    pub(crate) fn is_told(&self, lock: &str, push: Push) {
        self.heard.send_modify(|count| *count += 1);
        self.listener.hears(Message::Push(lock, push));
    }

    /// Takes in a push from the connection, which may not be for us.
    pub(crate) fn pushed(&self, push: &PushInfo) {
        let is_ours = || {
            let channel = push.data.first().map(from_redis_value_ref::<String>);
            matches!(channel, Some(Ok(channel)) if channel == self.channel)
        };
        match push.kind {
            PushKind::Message if is_ours() => {
                // A message proves that the connection listens.
                self.set_listening(true);
                self.heard.send_modify(|count| *count += 1);
                if let Some(Ok(text)) = push.data.get(1).map(from_redis_value_ref::<String>) {
                    self.listener.hears(Message::Text(&text));
                }
            }
            PushKind::Subscribe if is_ours() => self.set_listening(true),
            PushKind::Unsubscribe if is_ours() => self.set_listening(false),
            // In a cluster the connection may have been another node's: then the next message sets this to true again.
            PushKind::Disconnection => self.set_listening(false),
            _ => {}
        }
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
