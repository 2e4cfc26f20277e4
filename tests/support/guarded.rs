//! A child process that never outlives the process that started it, however that one ends.
//!
//! Killing in `Drop` is not enough: a test that is killed (by a runner's timeout, by the OOM killer) or
//! interrupted drops nothing. And `PR_SET_PDEATHSIG` fires when the *thread* that started the child ends, which in a thread
//! pool is sooner than one thinks. So a small shell stands between: it starts the program, then reads from a pipe
//! whose other end only the test holds. When the test ends, in whatever way, the kernel closes that end; the shell
//! reads the end of file, kills the program and removes its folder.
//!
//! An ordinary stop goes the same way (the pipe is closed on purpose), so every test of every run tries it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `$1` is the folder, the rest is the program. The shell waits for its child only after the kill, so until then
/// the process id cannot be given to anybody else.
const GUARDIAN: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
child=$!
echo "$child"
last=
read -r last
kill -9 "$child"
wait "$child"
[ "$last" = keep ] || rm -rf "$folder"
"#;

/// A program that runs in a folder of its own and ends with this value, or with this process.
#[derive(Debug)]
pub struct Guarded {
    guardian: Child,
    /// `None` only while the process is being ended.
    lifeline: Option<ChildStdin>,
    pid: Pid,
}

impl Guarded {
    /// Starts `program`; what it prints goes to the file `log` in `folder`.
    ///
    /// # Panics
    ///
    /// If no shell can be started.
    #[must_use]
    pub fn spawn(program: &str, arguments: &[String], folder: &Path) -> Self {
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            // Ctrl-C goes to the whole group of the terminal; the guardian must live to clean up after it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Inherited, it would keep the test runner's pipe open.
            .stderr(Stdio::null())
            .spawn()
            .expect("`sh` starts");
        let mut first_line = String::new();
        let stdout = guardian.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout)
            .read_line(&mut first_line)
            .expect("the guardian answers");
        let pid = first_line
            .trim()
            .parse()
            .expect("the guardian says the process id");
        Self {
            lifeline: guardian.stdin.take(),
            guardian,
            pid: Pid::from_raw(pid),
        }
    }

    /// The process id of the program, not of its guardian.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Whether the program has ended by itself; its process id then still waits to be collected.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        state(self.pid) == Some('Z')
    }

    /// Stops it with SIGSTOP, as a long pause of the machine would; returns when it really stands still.
    ///
    /// # Panics
    ///
    /// If there is no such process any more.
    pub async fn pause(&self) {
        pause(self.pid).await;
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Panics
    ///
    /// If there is no such process any more.
    pub fn resume(&self) {
        resume(self.pid);
    }

    /// SIGKILL; the folder stays. Returns when the process is gone.
    pub fn kill_and_keep_folder(mut self) {
        if let Some(lifeline) = &mut self.lifeline {
            // A guardian that is gone already has done what is asked for.
            let _ = lifeline.write_all(b"keep\n");
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.guardian.wait();
    }
}

/// SIGSTOP, and waits until the process stands still: the signal alone only asks for it.
pub(crate) async fn pause(pid: Pid) {
    kill(pid, Signal::SIGSTOP).expect("the process exists");
    while state(pid) != Some('T') {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// SIGCONT.
pub(crate) fn resume(pid: Pid) {
    kill(pid, Signal::SIGCONT).expect("the process exists");
}

/// The letter of a process's state, none if there is no such process. In `/proc/<pid>/stat` it follows the name,
/// which is in parentheses and may hold anything.
fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}
