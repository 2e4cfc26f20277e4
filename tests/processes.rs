//! Guards against processes that get more than their share, and against order and exclusion that hold within a process
//! only.

use std::collections::BTreeMap;
use std::time::Duration;

use redis_lock_tests::{Program, Server};
use tokio::time::sleep;

use crate::stage::{ask, nothing_is_left};

const PROCESSES: usize = 4;
const TASKS: usize = 8;

#[tokio::test]
async fn all_tasks_of_all_processes_have_as_many_turns() {
    let server = Server::start().await;
    let (url, tasks) = (server.url(), TASKS.to_string());
    let mut crowds = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let arguments = [&*url, "x", &tasks, "10000", "1", name];
        crowds.push(Program::start(env!("CARGO_BIN_EXE_crowd"), &arguments));
    }
    for crowd in &mut crowds {
        assert_eq!(crowd.line().await, "ready");
    }
    for crowd in &mut crowds {
        crowd.begin().await;
    }
    // Time is the subject: many turns for everybody.
    sleep(Duration::from_secs(3)).await;
    for crowd in &mut crowds {
        crowd.close_stdin();
    }
    for crowd in &mut crowds {
        while crowd.line().await != "done" {}
        assert!(crowd.ended().await.success());
    }
    let entries: Vec<String> = ask(&server, &["LRANGE", "x:entries", "0", "-1"]).await;
    let mut turns = BTreeMap::<&str, u64>::new();
    let mut last = 0;
    for entry in &entries {
        let (who, token) = entry.rsplit_once(' ').unwrap();
        let token = token.parse::<u64>().unwrap();
        assert!(token > last, "{entry} after {last}");
        last = token;
        *turns.entry(who).or_default() += 1;
    }
    let most: u64 = ask(&server, &["GET", "x:most"]).await;
    assert_eq!(most, 1, "so many were inside together");
    assert_eq!(turns.len(), PROCESSES * TASKS);
    let (least, most) = (turns.values().min(), turns.values().max());
    let (least, most) = (*least.unwrap(), *most.unwrap());
    assert!(least > 5, "{turns:?}");
    assert!(most <= 2 * least, "{turns:?}");
    let _: u64 = ask(&server, &["DEL", "x:entries", "x:most", "x:inside"]).await;
    nothing_is_left(&server).await;
}
