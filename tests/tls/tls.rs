//! TLS works by turning on a feature: no panic, and clear errors. Without a feature the URL is refused with what to do.

use redis_lock::Locker;

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
#[tokio::test]
async fn without_a_feature_the_url_is_refused_with_what_to_do() {
    let error = Locker::connect("rediss://127.0.0.1:6379").await;
    let text = error.expect_err("there is no TLS").to_string();
    println!("{text}");
    // Built with the benchmarks, redis-rs has rustls by one of the libraries that they compare.
    let is_named = text.contains("the TLS library of this program panics")
        || !cfg!(feature = "bare-rustls") && text.contains("built without TLS");
    assert!(
        is_named && text.contains("turn on the feature `tls-rustls`"),
        "{text}"
    );
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod with_tls {
    use std::time::Duration;

    use redis_lock::redis::{Client, TlsCertificates};
    use redis_lock_tls_tests::Tls;
    use tokio::time::{Instant, timeout};

    use super::Locker;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn locks_work_over_tls_with_wake_ups() {
        let tls = Tls::start("no").await;
        let locker = Locker::connect(tls.client(false))
            .await
            .expect("it connects")
            .wait(SOON);
        let check = locker.check().await.expect("all of it works");
        assert!(check.wake_ups, "{check}");
        let guard = locker.write("x").await.expect("the lock");
        let plain = Locker::connect(tls.server.url())
            .await
            .expect("it connects");
        assert!(plain.try_write("x").await.expect("an answer").is_none());
        guard.unlock().await.expect("unlocked");
        // It comes back like any other.
        let mut connection = tls.server.connection().await;
        let mut kill = redis_lock::redis::cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", "normal"]);
        let killed: usize = kill.query_async(&mut connection).await.expect("an answer");
        assert!(killed > 0);
        let again = timeout(SOON, locker.write("x")).await.expect("in time");
        again.expect("the lock").unlock().await.expect("unlocked");
    }

    #[tokio::test]
    async fn a_client_that_must_show_a_certificate_can() {
        let tls = Tls::start("yes").await;
        let locker = Locker::connect(tls.client(true))
            .await
            .expect("it connects");
        locker
            .write("x")
            .await
            .expect("the lock")
            .unlock()
            .await
            .expect("unlocked");
        let text = refused(tls.client(false)).await;
        assert!(text.contains("a certificate of the client"), "{text}");
    }

    #[tokio::test]
    async fn a_certificate_of_an_unknown_authority_is_refused_and_named() {
        let tls = Tls::start("no").await;
        let text = refused(Client::open(tls.url()).expect("a URL")).await;
        assert!(text.contains("its certificate is not trusted"), "{text}");
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: None,
        };
        let client = Client::build_with_tls(tls.url(), certificates).expect("a client");
        refused(client).await;
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_or_from_the_past_is_named() {
        let tls = Tls::start_with("no", "DNS:redis.internal", false).await;
        let text = refused(tls.client(false)).await;
        assert!(
            text.contains("its certificate is for another name"),
            "{text}"
        );
        let tls = Tls::start_with("no", "IP:127.0.0.1", true).await;
        let text = refused(tls.client(false)).await;
        assert!(text.contains("its certificate has expired"), "{text}");
    }

    /// The system's library can do that.
    #[cfg(not(feature = "native-tls"))]
    #[tokio::test]
    async fn a_url_that_asks_for_no_verification_is_told_what_to_do() {
        let tls = Tls::start("no").await;
        let error = Locker::connect(format!("{}/#insecure", tls.url())).await;
        let text = error.expect_err("it is refused").to_string();
        assert!(text.contains("take `#insecure` out of the URL"), "{text}");
    }

    async fn refused(client: Client) -> String {
        let error = Locker::connect(client).await;
        let text = error.expect_err("it is refused").to_string();
        println!("{text}");
        text
    }

    #[tokio::test]
    async fn a_port_of_the_other_kind_is_named_quickly() {
        let tls = Tls::start("no").await;
        let started = Instant::now();
        let url = tls.url().replace("rediss://", "redis://");
        let text = refused(Client::open(url).expect("a URL")).await;
        assert!(
            text.contains("this port speaks TLS; write rediss://"),
            "{text}"
        );
        let url = tls.server.url().replace("redis://", "rediss://");
        let text = refused(Client::open(url).expect("a URL")).await;
        assert!(text.contains("this port does not speak TLS"), "{text}");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}
