//! The origin of a request: what an acquisition and its errors need to know.

use std::sync::Arc;

use crate::{
    link::{Link, front::Front},
    store::redis::names::Names,
    values::{key::Key, mode::Mode},
};

#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) link: Arc<Link>,
    /// The front of the runtime that the request began in. Pushes for the request come in there.
    pub(crate) front: Arc<Front>,
    pub(crate) key: Key,
    pub(crate) names: Names,
    pub(crate) mode: Mode,
}

impl Owner {
    pub(crate) fn new(link: Arc<Link>, namespace: &str, mode: Mode, key: Key) -> Self {
        Owner {
            front: link.front(),
            link,
            names: Names::new(namespace, &key),
            key,
            mode,
        }
    }
}
