//! Another process that takes part in a test: its lines are read, and it can be paused and killed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::guarded;

/// A line that has not come after this long does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Dropping it kills it. The programs of these tests end by themselves when their standard input
/// does, so they do not outlive a test that is killed either.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    pid: Pid,
}

impl Program {
    /// Starts the program; for `path`, tests say `env!("CARGO_BIN_EXE_holder")`.
    ///
    /// # Panics
    ///
    /// If there is no such program.
    #[must_use]
    pub fn start(path: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let pid = child
            .id()
            .and_then(|pid| pid.try_into().ok())
            .expect("a new process has an id");
        Self {
            stdin: child.stdin.take(),
            lines: BufReader::new(stdout).lines(),
            child,
            pid: Pid::from_raw(pid),
        }
    }

    /// The next line that it prints.
    ///
    /// # Panics
    ///
    /// If it ends, or prints nothing for long.
    pub async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("the program prints a line")
            .expect("the line is text")
            .expect("the program has not ended")
    }

    /// Gives it an empty line to read, which asks it to begin.
    ///
    /// # Panics
    ///
    /// If it does not read any more.
    pub async fn begin(&mut self) {
        let stdin = self.stdin.as_mut().expect("its input was not closed");
        stdin.write_all(b"\n").await.expect("the program reads");
    }

    /// Closes its standard input, which asks it to end.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        status
            .expect("the program ends")
            .expect("the program can be waited for")
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the program can be killed");
    }

    /// SIGSTOP; returns when it stands still.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub async fn pause(&self) {
        guarded::pause(self.pid).await;
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn resume(&self) {
        guarded::resume(self.pid);
    }
}
