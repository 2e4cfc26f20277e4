//! The protocol, twice: as scripts in Redis, and in memory.

pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod redis;

use std::{future::Future, sync::Arc};

use ::redis::RedisResult;

use crate::{
    core::io::{Command, View},
    link::Link,
    store::{local::Local, redis::names::Names},
    threads::runtime::Engine,
    values::session::{Pushes, SessionId},
};

/// A command of a session for a lock.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) names: Names,
    pub(crate) session: SessionId,
    pub(crate) pushes: Pushes,
    pub(crate) command: Command,
}

/// Sends a command. For a server the command goes out at once. The store in memory executes the command when the reply is first
/// polled: the command's pushes make other sessions send commands, and the caller of `call` may not be ready for that.
pub(crate) fn call(
    link: &Arc<Link>,
    // In a box, since the futures around it are moved a dozen times.
    sent: Box<Sent>,
) -> impl Future<Output = RedisResult<View>> + Send + use<> {
    let (local, server) = match link.above::<Arc<Local>>() {
        Some(local) => (Some((Arc::clone(local), sent)), None),
        None => (None, Some(redis::call(link, sent))),
    };
    async move {
        match (local, server) {
            (Some((local, sent)), _) => local.execute(&sent),
            (None, Some(reply)) => reply.await,
            (None, None) => unreachable!("one of them is there"),
        }
    }
}

/// Sends several commands. A command that fails does not hinder the rest.
pub(crate) async fn call_all(
    engine: &Engine,
    link: &Arc<Link>,
    calls: &[Sent],
) -> RedisResult<Vec<RedisResult<View>>> {
    match link.above::<Arc<Local>>() {
        Some(local) => Ok(calls.iter().map(|sent| local.execute(sent)).collect()),
        None => redis::call_all(engine, link, calls).await,
    }
}
