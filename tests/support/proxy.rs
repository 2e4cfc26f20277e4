//! A link that fails on demand: a TCP proxy on the loopback address, between clients and one server.
//!
//! It runs on the runtime of the test that starts it, and stops with that runtime or when it is dropped.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::request;
use crate::server::free_port;

/// A proxy in front of a server; at first it passes everything on at once.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// Accepts connections; `None` while the link is cut.
    front: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    rules: watch::Sender<Rules>,
    traps: Mutex<Vec<Trap>>,
    accepted: Mutex<usize>,
    forwarded: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Rules {
    /// Where new connections lead.
    server_port: u16,
    link: Link,
    reply_delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Pass,
    Hang,
    Cut,
    Refuse,
}

/// What is to happen, once, to the next request that holds `text`.
#[derive(Debug)]
struct Trap {
    text: String,
    effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    LoseReply,
    Delay(Duration),
}

impl Proxy {
    /// A proxy in front of the server on `server_port` of this machine.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub async fn start(server_port: u16) -> Self {
        let rules = watch::Sender::new(Rules {
            server_port,
            link: Link::Pass,
            reply_delay: Duration::ZERO,
        });
        let shared = Shared {
            rules,
            traps: Mutex::default(),
            accepted: Mutex::default(),
            forwarded: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let (port, listener) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                break (port, listener);
            }
        };
        let front = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            front: tokio::sync::Mutex::new(Some(front)),
        }
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends [`hang`](Self::hang) and [`cut`](Self::cut). What was held back during a hang is delivered now, late,
    /// as TCP does when a network comes back. Returns when connections are accepted.
    ///
    /// # Panics
    ///
    /// If somebody took the port while the link was cut.
    pub async fn pass(&self) {
        if self.shared.rules.borrow().link == Link::Refuse {
            self.cut().await;
        }
        self.set_link(Link::Pass);
        let mut front = self.front.lock().await;
        if front.is_none() {
            let listener = self.listen().await;
            *front = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
        }
    }

    async fn listen(&self) -> TcpListener {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await;
        listener.expect("the proxy's own port is free")
    }

    /// Closes all connections, accepts new ones and answers each request with this text, as a proxy does whose servers
    /// are gone. [`pass`](Self::pass) ends it.
    ///
    /// # Panics
    ///
    /// As [`cut`](Self::cut) and [`pass`](Self::pass).
    pub async fn refuse(&self, answer: &'static str) {
        self.cut().await;
        self.set_link(Link::Refuse);
        let listener = self.listen().await;
        let front = tokio::spawn(refuse(listener, answer, Arc::clone(&self.shared)));
        *self.front.lock().await = Some(front);
    }

    /// How many connections have been accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        *self
            .shared
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing gets through in either direction. Connections stay open, new ones are accepted, and what
    /// clients send is taken, as when a network drops packets.
    pub fn hang(&self) {
        self.set_link(Link::Hang);
    }

    /// Closes all connections and refuses new ones; returns when that is done.
    ///
    /// # Panics
    ///
    /// If the proxy itself has panicked.
    pub async fn cut(&self) {
        self.set_link(Link::Cut);
        if let Some(front) = self.front.lock().await.take() {
            front.await.expect("the proxy has not panicked");
        }
    }

    /// New connections lead to another server, as when a name is moved in a failover; old ones stay where they are.
    pub fn lead_to(&self, server_port: u16) {
        self.shared
            .rules
            .send_modify(|rules| rules.server_port = server_port);
    }

    /// From now on every reply takes this much longer; zero ends it.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared
            .rules
            .send_modify(|rules| rules.reply_delay = delay);
    }

    /// The next request that holds `text` (such as `"EVALSHA"`; any case) is executed, but its client sees the
    /// connection break before the reply.
    pub fn drop_next_reply(&self, text: &str) {
        self.set_trap(text, Effect::LoseReply);
    }

    /// The next request that holds `text` reaches the server this much later, and what follows on its connection
    /// waits behind it.
    pub fn delay_next_request(&self, text: &str, delay: Duration) {
        self.set_trap(text, Effect::Delay(delay));
    }

    /// How many of the two kinds above have not met their request yet.
    #[must_use]
    pub fn traps_left(&self) -> usize {
        self.shared
            .traps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The name of each request that was passed on to the server so far, as in `EVALSHA`.
    #[must_use]
    pub fn forwarded(&self) -> Vec<String> {
        self.shared
            .forwarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_link(&self, link: Link) {
        self.shared.rules.send_modify(|rules| rules.link = link);
    }

    fn set_trap(&self, text: &str, effect: Effect) {
        let trap = Trap {
            text: text.to_owned(),
            effect,
        };
        self.shared
            .traps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(trap);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(front) = self.front.get_mut() {
            front.abort();
        }
    }
}

impl Shared {
    async fn passable(&self) {
        let passable = |rules: &Rules| rules.link == Link::Pass;
        // The sender lives in `self`, so it is not closed.
        let _ = self.rules.subscribe().wait_for(passable).await;
    }

    fn spring_trap(&self, request: &[u8]) -> Option<Effect> {
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        let index = traps
            .iter()
            .position(|trap| request::holds(request, &trap.text))?;
        Some(traps.remove(index).effect)
    }

    fn accepts(&self) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn note(&self, request: &[u8]) {
        self.forwarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request::name(request));
    }
}

/// Accepts connections until the link is cut; then closes them all.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut rules = shared.rules.subscribe();
    loop {
        tokio::select! {
            _ = rules.wait_for(|rules| rules.link == Link::Cut) => break,
            Ok((client, _)) = listener.accept() => {
                shared.accepts();
                connections.spawn(serve(client, Arc::clone(&shared)));
            }
            // Ended ones are forgotten.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Answers each request with the same text, until the link is cut.
async fn refuse(listener: TcpListener, answer: &'static str, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut rules = shared.rules.subscribe();
    loop {
        tokio::select! {
            _ = rules.wait_for(|rules| rules.link == Link::Cut) => break,
            Ok((mut client, _)) = listener.accept() => {
                shared.accepts();
                connections.spawn(async move {
                    let mut received = Vec::new();
                    while client.read_buf(&mut received).await.is_ok_and(|length| length > 0) {
                        while request::take(&mut received).is_some() {
                            if client.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// One connection, to its end. A side that breaks ends both; how it broke interests nobody.
async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let server_port = shared.rules.borrow().server_port;
    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let rest = tokio::select! {
        rest = pass_requests(&mut from_client, &mut to_server, &shared) => rest,
        _ = pass_replies(&mut from_server, &mut to_client, &shared) => return,
    };
    if let Ok(rest) = rest {
        let _ = run_unheard(&rest, &mut from_server, &mut to_server, &shared).await;
    }
    // Only here does the client see its connection close: its request has run.
}

/// Passes requests on until the client leaves, or until one whose reply is to be lost; returns that one.
async fn pass_requests(
    from_client: &mut OwnedReadHalf,
    to_server: &mut OwnedWriteHalf,
    shared: &Shared,
) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    while from_client.read_buf(&mut received).await? > 0 {
        while let Some(request) = request::take(&mut received) {
            shared.passable().await;
            match shared.spring_trap(&request) {
                Some(Effect::LoseReply) => return Ok(request),
                Some(Effect::Delay(delay)) => sleep(delay).await,
                None => {}
            }
            shared.note(&request);
            to_server.write_all(&request).await?;
        }
    }
    Ok(Vec::new())
}

/// Passes replies on, each as much later as the rules say, in their order.
async fn pass_replies(
    from_server: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    shared: &Shared,
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let receive = async {
        loop {
            let mut received = Vec::new();
            if from_server.read_buf(&mut received).await? == 0 {
                return io::Result::Ok(());
            }
            let due = Instant::now() + shared.rules.borrow().reply_delay;
            // The other half of this function holds the receiver.
            let _ = queue.send((due, received));
        }
    };
    let send = async {
        while let Some((due, reply)) = queued.recv().await {
            sleep_until(due).await;
            shared.passable().await;
            to_client.write_all(&reply).await?;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        ended = receive => ended,
        ended = send => ended,
    }
}

/// Lets the server run a last request while nobody listens. A server that has read the end of the stream has run
/// all that came before it; that it closes its side in turn shows that it has read it.
async fn run_unheard(
    request: &[u8],
    from_server: &mut OwnedReadHalf,
    to_server: &mut OwnedWriteHalf,
    shared: &Shared,
) -> io::Result<()> {
    if !request.is_empty() {
        shared.note(request);
        to_server.write_all(request).await?;
    }
    to_server.shutdown().await?;
    tokio::io::copy(from_server, &mut tokio::io::sink()).await?;
    Ok(())
}
