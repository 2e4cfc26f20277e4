//! A real Redis cluster: three masters, all slots served, no replicas.

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use std::time::Duration;

use crate::eventually;
use crate::server::Server;

/// Slots in every Redis cluster.
const SLOTS: u16 = 16_384;
const NODES: u16 = 3;
/// The nodes tell each other what they know once a second.
const AGREEMENT_LIMIT: Duration = Duration::from_secs(30);

/// Three nodes that agree about their slots.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts the nodes and waits until each of them says that the cluster is whole.
    ///
    /// # Panics
    ///
    /// If a node does not start or they do not find together.
    pub async fn start() -> Self {
        let (a, b, c) = tokio::join!(
            Server::start_cluster_node(),
            Server::start_cluster_node(),
            Server::start_cluster_node()
        );
        let cluster = Self {
            nodes: vec![a, b, c],
        };
        for (index, node) in (0..NODES).zip(&cluster.nodes) {
            assign_slots(index, &mut node.connection().await).await;
        }
        cluster.introduce_nodes().await;
        for node in &cluster.nodes {
            wait_until_whole(&mut node.connection().await).await;
        }
        cluster
    }

    /// The addresses of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The nodes themselves, for instance to pause one.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The same, to kill or restart one.
    #[must_use]
    pub fn nodes_mut(&mut self) -> &mut [Server] {
        &mut self.nodes
    }

    /// A connection as users have it, with redis-rs' defaults.
    ///
    /// # Panics
    ///
    /// If no node answers.
    pub async fn connection(&self) -> ClusterConnection {
        let client = ClusterClient::new(self.urls()).expect("the urls are valid");
        client
            .get_async_connection()
            .await
            .expect("the cluster answers")
    }

    /// The slot of a key, as Redis itself computes it.
    ///
    /// # Panics
    ///
    /// If the first node does not answer.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let mut command = redis::cmd("CLUSTER");
        command.arg("KEYSLOT").arg(key);
        command
            .query_async(&mut self.nodes[0].connection().await)
            .await
            .expect("CLUSTER KEYSLOT")
    }

    /// The names of all keys on all nodes, sorted.
    ///
    /// # Panics
    ///
    /// If a node does not answer.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for node in &self.nodes {
            keys.extend(node.keys().await);
        }
        keys.sort();
        keys
    }

    /// Makes the first node known to the others; the rest they hear from each other.
    async fn introduce_nodes(&self) {
        let (first, others) = self.nodes.split_first().expect("there are three nodes");
        for node in others {
            let mut command = redis::cmd("CLUSTER");
            command
                .arg("MEET")
                .arg("127.0.0.1")
                .arg(first.port())
                .arg(first.bus_port());
            let () = command
                .query_async(&mut node.connection().await)
                .await
                .expect("CLUSTER MEET");
        }
    }
}

/// Gives the node its third of the slots, and an epoch of its own: else they would first have to settle a collision.
async fn assign_slots(index: u16, connection: &mut MultiplexedConnection) {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SET-CONFIG-EPOCH").arg(index + 1);
    let () = command
        .query_async(connection)
        .await
        .expect("CLUSTER SET-CONFIG-EPOCH");
    let first_slot_of = |index: u16| u32::from(SLOTS) * u32::from(index) / u32::from(NODES);
    let mut command = redis::cmd("CLUSTER");
    command
        .arg("ADDSLOTSRANGE")
        .arg(first_slot_of(index))
        .arg(first_slot_of(index + 1) - 1);
    let () = command
        .query_async(connection)
        .await
        .expect("CLUSTER ADDSLOTSRANGE");
}

async fn wait_until_whole(connection: &mut MultiplexedConnection) {
    eventually(AGREEMENT_LIMIT, "the cluster is whole", async || {
        let mut command = redis::cmd("CLUSTER");
        command.arg("INFO");
        let info: String = command
            .query_async(&mut connection.clone())
            .await
            .expect("CLUSTER INFO");
        let has = |wanted: &str| info.lines().any(|line| line == wanted);
        has("cluster_state:ok") && has("cluster_known_nodes:3") && has("cluster_slots_ok:16384")
    })
    .await;
}
