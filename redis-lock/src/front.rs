//! Where pushes come in: the channel that Redis publishes grants on, and whether anybody listens to it.
//!
//! Each runtime that uses a Locker has a connection of its own, and with it a front of its own: those who wait in one
//! runtime hear of their turn in that runtime, without another thread in between.

use std::sync::{Arc, Mutex, PoisonError};

use redis::{PushInfo, PushKind, from_redis_value_ref};
use tokio::sync::watch;

/// What has come in. A push is a hint: it may be lost, and nothing depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Push<'a> {
    /// Redis has let somebody in: see `book.lua`.
    Granted(&'a str),
    /// From now on grants come in; earlier ones may have been missed.
    Listening,
}

/// What to do with a push. Given from above, since what is below knows no waiters.
pub(crate) type OnPush = fn(&Arc<Front>, Push<'_>);

#[derive(Debug)]
pub(crate) struct Front {
    /// Empty: there are no pushes.
    channel: String,
    listening: Mutex<bool>,
    /// How many messages have come in.
    heard: watch::Sender<u64>,
    on_push: OnPush,
}

impl Front {
    /// With a channel that nobody else has.
    pub(crate) fn new(on_push: OnPush) -> Self {
        let name: u128 = rand::random();
        Self::named(format!("redis-lock:{name:032x}"), on_push)
    }

    /// For a connection on which nothing can come in.
    pub(crate) fn silent() -> Self {
        Self::named(String::new(), |_, _| {})
    }

    fn named(channel: String, on_push: OnPush) -> Self {
        Front {
            channel,
            listening: Mutex::new(false),
            heard: watch::Sender::new(0),
            on_push,
        }
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

    pub(crate) fn set_listening(self: &Arc<Self>, listens: bool) {
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let begins = listens && !*listening;
        *listening = listens;
        drop(listening);
        if begins {
            (self.on_push)(self, Push::Listening);
        }
    }

    /// Counts the messages that come in from now on.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Takes in whatever comes in on the connection; much of it may not be for us.
    pub(crate) fn pushed(self: &Arc<Self>, push: &PushInfo) {
        let is_ours = || {
            let channel = push.data.first().map(from_redis_value_ref::<String>);
            matches!(channel, Some(Ok(channel)) if channel == self.channel)
        };
        match push.kind {
            PushKind::Message if is_ours() => {
                // Also a proof that somebody listens.
                self.set_listening(true);
                self.heard.send_modify(|count| *count += 1);
                if let Some(Ok(text)) = push.data.get(1).map(from_redis_value_ref::<String>) {
                    (self.on_push)(self, Push::Granted(&text));
                }
            }
            PushKind::Subscribe if is_ours() => self.set_listening(true),
            PushKind::Unsubscribe if is_ours() => self.set_listening(false),
            // With a cluster it may have been another node's connection; the next message tells.
            PushKind::Disconnection => self.set_listening(false),
            _ => {}
        }
    }
}
