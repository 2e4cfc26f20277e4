//! `Locker::connect` says no where it cannot work, and what to do about it.

use std::time::Duration;

use redis_lock::{Error, Locker};
use redis_lock_tests::{Cluster, Server, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::stage::{SOON, ask};

/// What it says: the server, what is wrong, what to do; and nothing twice.
async fn says(url: &str, words: &[&str]) {
    let started = Instant::now();
    let Err(error) = Locker::connect(url).await else {
        panic!("connected to {url}")
    };
    let text = error.to_string();
    println!("{text}");
    assert!(
        matches!(error, Error::Unusable { .. }) && error.is_redis(),
        "{text}"
    );
    for word in words {
        assert!(text.contains(word), "not {word:?} in: {text}");
    }
    assert!(std::error::Error::source(&error).is_none());
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

fn with(url: &str, login: &str) -> String {
    url.replace("redis://", &format!("redis://{login}@"))
}

#[tokio::test]
async fn a_password_that_is_missing_or_wrong_is_named() {
    let server = Server::start().await;
    let url = server.url();
    let () = ask(
        &server,
        &[
            "ACL", "SETUSER", "ada", "on", ">secret", "~*", "&*", "+@all",
        ],
    )
    .await;
    says(
        &with(&url, "ada:wrong"),
        &["refuses this user and password", "WRONGPASS"],
    )
    .await;
    says(
        &with(&url, "bob:secret"),
        &["refuses this user and password"],
    )
    .await;
    Locker::connect(with(&url, "ada:secret"))
        .await
        .expect("right");
    let () = ask(&server, &["CONFIG", "SET", "requirepass", "secret"]).await;
    says(
        &url,
        &["asks for a password", "redis://:PASSWORD@host:port"],
    )
    .await;
    says(&format!("{url}?protocol=resp2"), &["asks for a password"]).await;
    says(&with(&url, ":wrong"), &["refuses this user and password"]).await;
    Locker::connect(with(&url, ":secret")).await.expect("right");
}

#[tokio::test]
async fn a_default_user_that_is_off_asks_for_a_password() {
    let server = Server::start().await;
    let () = ask(
        &server,
        &[
            "ACL", "SETUSER", "ada", "on", ">secret", "~*", "&*", "+@all",
        ],
    )
    .await;
    let () = ask(&server, &["ACL", "SETUSER", "default", "off"]).await;
    says(&server.url(), &["asks for a password"]).await;
    Locker::connect(with(&server.url(), "ada:secret"))
        .await
        .expect("right");
}

#[tokio::test]
async fn a_database_out_of_range_is_named() {
    let server = Server::start().await;
    for rest in ["/99", "/99?protocol=resp2", "/99?protocol=resp3"] {
        says(
            &format!("{}{rest}", server.url()),
            &["no database with this number"],
        )
        .await;
    }
    Locker::connect(format!("{}/3", server.url()))
        .await
        .expect("right");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_named() {
    let cluster = Cluster::start().await;
    for rest in ["", "?protocol=resp2"] {
        let url = format!("{}{rest}", cluster.urls()[0]);
        says(&url, &["one node of a Redis Cluster", "Locker::new"]).await;
    }
}

#[tokio::test]
async fn a_replica_is_named_with_its_master() {
    let (master, replica) = Server::with_replica().await;
    let at = format!("127.0.0.1:{}", master.port());
    for rest in ["", "?protocol=resp2"] {
        let url = format!("{}{rest}", replica.url());
        says(&url, &["it is a replica", "connect to its master", &at]).await;
    }
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_named() {
    let web = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = web.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = web.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = client.read(&mut request).await;
                let _ = client
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                    .await;
            });
        }
    });
    says(
        &format!("redis://127.0.0.1:{port}"),
        &["does not speak Redis' protocol"],
    )
    .await;
}

#[tokio::test]
async fn a_port_that_says_nothing_is_named_in_time() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    says(
        &format!("redis://127.0.0.1:{port}"),
        &["does not answer", "rediss://"],
    )
    .await;
}

#[tokio::test]
async fn a_port_with_tls_is_named() {
    // It answers a broken handshake with an alert, as every TLS server does, and closes what is none.
    let tls = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = tls.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = tls.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                if client
                    .read(&mut request)
                    .await
                    .is_ok_and(|length| length > 0)
                    && request[0] == 0x16
                {
                    let _ = client.write_all(b"\x15\x03\x01\x00\x02\x02\x32").await;
                }
            });
        }
    });
    says(
        &format!("redis://127.0.0.1:{port}"),
        &["this port speaks TLS", "rediss://"],
    )
    .await;
}

#[tokio::test]
async fn a_text_that_is_no_url_is_named_with_a_right_one() {
    for text in [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis:/127.0.0.1",
        "redis://127.0.0.1:port",
    ] {
        says(text, &["no Redis URL", "redis://host:port"]).await;
    }
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    let server = Server::start_with(&[
        "--enable-debug-command",
        "yes",
        "--loading-process-events-interval-bytes",
        "1024",
    ])
    .await;
    let mut connection = server.connection().await;
    let loading = tokio::spawn(async move {
        let mut pipe = redis::pipe();
        pipe.cmd("DEBUG").arg("POPULATE").arg(3000).ignore();
        pipe.cmd("CONFIG")
            .arg("SET")
            .arg("key-load-delay")
            .arg(300)
            .ignore();
        pipe.cmd("DEBUG").arg("RELOAD").ignore();
        let _: redis::RedisResult<()> = pipe.query_async(&mut connection).await;
    });
    eventually(SOON, "it loads", async || {
        let reply: redis::RedisResult<String> = redis::cmd("GET")
            .arg("key:1")
            .query_async(&mut server.connection().await)
            .await;
        reply.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    let locker = Locker::connect(server.url()).await.expect("in the end");
    let locker = locker.wait(SOON);
    locker.write("x").await.unwrap().unlock().await.unwrap();
    loading.await.unwrap();
}

#[tokio::test]
async fn a_server_with_too_many_clients_is_named() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let mut set = async |count: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg(&["SET", "maxclients", count]);
        let _: () = config.query_async(&mut connection).await.unwrap();
    };
    set("1").await;
    says(&server.url(), &["maxclients"]).await;
    set("100").await;
    Locker::connect(server.url()).await.unwrap();
}
