//! The addresses that `Locker::connect` takes.

use std::{borrow::Cow, sync::Arc};

use redis::{Client, ConnectionInfo, RedisError};

use crate::api::error::Error;

/// Where Redis is, and how to log in: a URL as text, or a [`redis::Client`] or [`redis::ConnectionInfo`] with its settings, such
/// as a certificate authority of your own, client certificates, or credentials.
///
/// ```no_run
/// use redis_lock::{Locker, redis};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let by_url = Locker::connect("redis://127.0.0.1:6379").await?;
///
/// let client = redis::Client::open("redis://127.0.0.1:6379")?; // or `Client::build_with_tls`
/// let by_client = Locker::connect(client).await?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`Locker::connect` cannot connect to `{Self}`",
    label = "no address of a Redis server",
    note = "give a URL such as \"redis://127.0.0.1:6379\", a `redis_lock::redis::Client` or a `redis_lock::redis::ConnectionInfo`; a connection that is open already goes to `Locker::new`"
)]
pub trait Address: sealed::Sealed {
    #[doc(hidden)]
    fn client(self) -> Result<Target, Error>;
}

/// A server to connect to.
#[doc(hidden)]
#[derive(Debug)]
pub struct Target {
    pub(crate) client: Client,
    /// Only in the protocol that the client asks for.
    pub(crate) as_is: bool,
}

impl Target {
    fn by_url(url: &str) -> Result<Self, Error> {
        let client = Client::open(url).map_err(|cause| {
            let wants_tls = url.starts_with("rediss:") || url.starts_with("valkeys:");
            let problem = if wants_tls && !HAS_TLS {
                "this program was built without TLS; turn on the feature `tls-rustls` or `tls-native-tls` of redis-lock"
            } else {
                "this is no Redis URL; write redis://host:port"
            };
            no_address(problem, cause)
        })?;
        Ok(Target::new(client, url.contains("protocol=")))
    }

    fn new(client: Client, as_is: bool) -> Self {
        // redis-rs uses the process's default provider, and panics without a default. A default that the program has set stays.
        #[cfg(feature = "tls-rustls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        Target { client, as_is }
    }
}

const HAS_TLS: bool = cfg!(any(feature = "tls-rustls", feature = "tls-native-tls"));

fn no_address(problem: &'static str, cause: RedisError) -> Error {
    Error::Unusable {
        server: None,
        problem: problem.into(),
        cause: Some(cause),
    }
}

macro_rules! by_url {
    ($($text:ty),*) => {$(
        impl sealed::Sealed for $text {}
        impl Address for $text {
            fn client(self) -> Result<Target, Error> {
                Target::by_url(self.as_ref())
            }
        }
    )*};
}

by_url!(
    &str,
    &&str,
    String,
    &String,
    Box<str>,
    Arc<str>,
    Cow<'_, str>
);

impl sealed::Sealed for Client {}
impl Address for Client {
    fn client(self) -> Result<Target, Error> {
        Ok(Target::new(self, false))
    }
}

impl sealed::Sealed for &Client {}
impl Address for &Client {
    fn client(self) -> Result<Target, Error> {
        self.clone().client()
    }
}

impl sealed::Sealed for ConnectionInfo {}
impl Address for ConnectionInfo {
    fn client(self) -> Result<Target, Error> {
        let client = Client::open(self);
        let client =
            client.map_err(|cause| no_address("this connection info cannot be used", cause))?;
        client.client()
    }
}

mod sealed {
    pub trait Sealed {}
}
