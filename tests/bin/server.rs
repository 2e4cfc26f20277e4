//! Starts a server, prints its process id and its folder, and waits for ever: to be killed by a test that
//! looks whether the server is then gone as well.

use redis_lock_tests::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start().await;
    println!("{} {}", server.pid(), server.folder().display());
    std::future::pending::<()>().await;
}
