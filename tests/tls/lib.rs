//! A real Redis that speaks TLS, with certificates of a certificate authority of its own.

#![cfg(any(feature = "rustls", feature = "native-tls"))]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use redis_lock::redis::{Client, ClientTlsConfig, TlsCertificates};
use redis_lock_tests::Server;
use tempfile::TempDir;

/// A server with a plain port and one with TLS.
#[derive(Debug)]
pub struct Tls {
    /// Behind its plain port.
    pub server: Server,
    port: u16,
    certificates: TempDir,
}

impl Tls {
    /// `clients`: whether clients must show a certificate, as in `--tls-auth-clients`.
    ///
    /// # Panics
    ///
    /// If there is no `openssl`, or the server does not start.
    pub async fn start(clients: &str) -> Self {
        Self::start_with(clients, "DNS:localhost,IP:127.0.0.1", false).await
    }

    /// Its certificate is for these names, as in `subjectAltName`, and may be from the past.
    ///
    /// # Panics
    ///
    /// As [`Tls::start`].
    pub async fn start_with(clients: &str, names: &str, expired: bool) -> Self {
        let certificates = tempfile::tempdir().expect("a folder for certificates");
        make(certificates.path(), names, expired);
        let path = |name: &str| {
            let path = certificates.path().join(name);
            path.to_str().expect("a folder has a plain name").to_owned()
        };
        let port = free_port();
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path("server.crt")),
            ("--tls-key-file", path("server.key")),
            ("--tls-ca-cert-file", path("ca.crt")),
            ("--tls-auth-clients", clients.to_owned()),
        ];
        let options: Vec<_> = options
            .iter()
            .flat_map(|(name, value)| [*name, value])
            .collect();
        let server = Server::start_with(&options).await;
        Self {
            server,
            port,
            certificates,
        }
    }

    /// Where it speaks TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    /// One that trusts the server's authority, and shows a certificate of its own if it is asked to.
    ///
    /// # Panics
    ///
    /// If the certificates cannot be read.
    #[must_use]
    pub fn client(&self, shows_certificate: bool) -> Client {
        let read = |name| fs::read(self.certificates.path().join(name)).expect("a certificate");
        let client_tls = shows_certificate.then(|| ClientTlsConfig {
            client_cert: read("client.crt"),
            client_key: read("client.key"),
        });
        let certificates = TlsCertificates {
            client_tls,
            root_cert: Some(read("ca.crt")),
        };
        Client::build_with_tls(self.url(), certificates).expect("certificates that can be used")
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn make(folder: &Path, names: &str, expired: bool) {
    let days = if expired { "-1" } else { "2" };
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.crt -subj /CN=redis-lock-test-ca",
    );
    fs::write(folder.join("names"), format!("subjectAltName={names}\n"))
        .expect("the folder is ours");
    for who in ["server", "client"] {
        openssl(
            folder,
            &format!(
                "req -newkey rsa:2048 -nodes -keyout {who}.key -out {who}.csr -subj /CN={who}"
            ),
        );
        openssl(
            folder,
            &format!("pkcs8 -topk8 -nocrypt -in {who}.key -out {who}.pk8"),
        );
        fs::rename(
            folder.join(format!("{who}.pk8")),
            folder.join(format!("{who}.key")),
        )
        .expect("the folder is ours");
        openssl(
            folder,
            &format!(
                "x509 -req -days {days} -in {who}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out {who}.crt"
            ),
        );
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output();
    let output = output.expect("there is an `openssl`");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {errors}");
}
