//! Worker processes, from outside: started, let go together, and listened to.
//!
//! A worker says `ready`, does its job when it reads `go`, prints what it has seen, and ends when its standard input does.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::job::Job;

pub(crate) struct Fleet(Vec<Member>);

struct Member {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Fleet {
    /// Returns when all are connected and wait for [`Fleet::go`].
    pub(crate) fn start(url: &str, jobs: &[Job]) -> Self {
        let mut fleet = Fleet(jobs.iter().map(|job| Member::start(url, job)).collect());
        for i in 0..jobs.len() {
            assert_eq!(fleet.line(i), "ready");
        }
        fleet
    }

    pub(crate) fn go(&mut self) {
        for member in &mut self.0 {
            let input = member.process.stdin.as_mut().expect("it is piped");
            input.write_all(b"go\n").expect("the worker listens");
        }
    }

    /// The next line of one worker.
    pub(crate) fn line(&mut self, worker: usize) -> String {
        let mut line = String::new();
        let read = self.0[worker].output.read_line(&mut line);
        assert!(read.expect("lines of text") > 0, "a worker has died");
        line.trim_end().to_owned()
    }

    /// Waits until all have ended, and returns what each had yet to say.
    pub(crate) fn logs(mut self) -> Vec<String> {
        let members = self.0.iter_mut().map(|member| {
            drop(member.process.stdin.take());
            let mut log = String::new();
            let read = member.output.read_to_string(&mut log);
            read.expect("lines of text");
            let status = member.process.wait().expect("it is our child");
            assert!(status.success(), "a worker has failed");
            log
        });
        members.collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &mut self.0 {
            // It fails if the process has ended, which is just as well.
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

impl Member {
    fn start(url: &str, job: &Job) -> Self {
        // The program that runs, even if it has been built anew meanwhile.
        let mut process = Command::new("/proc/self/exe")
            .args(["worker", url])
            .args(job.to_words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process starts");
        let output = process.stdout.take().expect("it is piped");
        Member {
            process,
            output: BufReader::new(output),
        }
    }
}
