//! What happens in a run from outside: who asks for the lock when and for how long, and what goes wrong.

use std::{fmt, time::Duration};

use crate::{
    core::io::Terms,
    random::Random,
    values::{mode::Mode, session::Pushes},
};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Decides the delays of messages.
    pub(crate) seed: u64,
    /// How far the last token is ahead of the server's clock in the beginning: the clock was set back.
    pub(crate) ahead: Duration,
    pub(crate) sessions: Vec<SessionPlan>,
    pub(crate) steps: Vec<Step>,
}

/// How the connections of one session behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionPlan {
    pub(crate) pushes: Pushes,
    /// The longest delay of a message, one way: of the tasks' connection, and of the engine's.
    pub(crate) delays: [Duration; 2],
    /// One in so many commands is lost: before it is executed, or its reply. 0: none.
    pub(crate) loses_one_in: u64,
    /// One in so many pushes is lost. 0: none.
    pub(crate) loses_pushes_one_in: u64,
    /// One in so many commands is executed twice, the second time much later. 0: none.
    pub(crate) repeats_one_in: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Request(Request),
    /// The process is gone.
    Crash {
        session: usize,
    },
    /// The process stands still.
    Pause {
        session: usize,
        length: Duration,
    },
    /// Both connections break.
    Cut {
        session: usize,
    },
    /// The server forgets everything.
    Flush,
    /// The server is replaced by a copy that lacks what happened lately.
    Failover {
        lag: Duration,
    },
    /// The server's clock is set, in milliseconds, relative to what it shows.
    Clock {
        by: i64,
    },
    /// Somebody publishes what no server has granted.
    MadeUp {
        session: usize,
        token: u64,
    },
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) session: usize,
    pub(crate) mode: Mode,
    pub(crate) terms: Terms,
    pub(crate) wait: Wait,
    /// From being woken to being polled. `None`: the first time it is woken, it is not polled for a long time.
    pub(crate) polls_after: Option<Duration>,
    pub(crate) holds: Duration,
    pub(crate) ends: Ends,
    /// It is dropped then if it waits, counted from the request.
    pub(crate) leaves_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Never,
    For(Duration),
    Forever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Gives back and waits for the outcome.
    Unlock,
    /// Drops its guard.
    Drop,
    /// Goes on for ever: something else has to end it.
    Never,
}

impl Plan {
    /// Each seed has its own mix of what may happen, so that rare things also happen together.
    #[allow(clippy::too_many_lines, reason = "a list of what may happen")]
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let faults = r.below(4);
        let mode = r.below(4);
        let ttls: &[u64] = if r.one_in(3) {
            &[300, 1000, 20_000]
        } else {
            &[10_000]
        };
        let has_unpolled = r.one_in(3);
        let has_leavers = r.one_in(2);
        let has_limits = r.one_in(4);
        let has_min_hold = r.one_in(6);
        let has_tries = r.one_in(3);
        let sessions: Vec<_> = (0..=r.below(4))
            .map(|_| SessionPlan::random(r, faults, ttls.len() == 1 && !has_limits))
            .collect();
        let spread = r.pick(&[1, 50, 1000, 5000]);
        let mut steps = Vec::new();
        for _ in 0..=r.pick(&[3, 8, 20]) {
            let session = usize::try_from(r.below(sessions.len() as u64)).unwrap_or(0);
            let mode = match mode {
                0 => Mode::Write,
                1 => Mode::Read,
                _ => r.pick(&[Mode::Read, Mode::Write]),
            };
            let holds = match r.below(6) {
                0 => Duration::ZERO,
                1 => r.millis(500, 4000),
                _ => r.micros(100, 50_000),
            };
            let mut request = Request {
                session,
                mode,
                terms: Terms {
                    ttl: Duration::from_millis(r.pick(ttls)),
                    auto_extend: !(has_limits && r.one_in(4)),
                    max_hold: (has_limits && r.one_in(3)).then(|| r.millis(100, 2000)),
                    min_hold: (has_min_hold && r.one_in(2)).then(|| r.millis(100, 2000)),
                    command_timeout: Duration::from_secs(1),
                },
                wait: match r.below(4) {
                    0 if has_tries => Wait::Never,
                    1 => Wait::For(r.millis(10, 5000)),
                    _ => Wait::Forever,
                },
                polls_after: if has_unpolled && r.one_in(5) {
                    None
                } else {
                    Some(r.micros(1, 200))
                },
                holds,
                ends: if has_limits && r.one_in(10) {
                    Ends::Never
                } else {
                    r.pick(&[Ends::Unlock, Ends::Unlock, Ends::Drop])
                },
                leaves_after: (has_leavers && r.one_in(4)).then(|| r.micros(0, 3_000_000)),
            };
            if request.ends == Ends::Never && request.terms.auto_extend {
                request.terms.max_hold.get_or_insert(Duration::from_secs(1));
            }
            steps.push(Step {
                at: r.micros(0, spread * 1000),
                what: What::Request(request),
            });
        }
        if faults > 1 {
            for _ in 0..r.below(4) {
                let session = usize::try_from(r.below(sessions.len() as u64)).unwrap_or(0);
                let what = match r.below(if faults == 2 { 3 } else { 7 }) {
                    0 => What::Crash { session },
                    1 => What::Pause {
                        session,
                        length: r.millis(10, 6000),
                    },
                    2 => What::Cut { session },
                    3 => What::Flush,
                    4 => What::Failover {
                        lag: r.millis(1, 500),
                    },
                    5 => What::Clock {
                        by: r.pick(&[-3_600_000, -2000, -100, 100, 2000, 60_000]),
                    },
                    _ => What::MadeUp {
                        session,
                        token: r.pick(&[0, u64::MAX, 1 << 60]),
                    },
                };
                steps.push(Step {
                    at: r.micros(0, spread * 1500),
                    what,
                });
            }
        }
        steps.sort_by_key(|step| step.at);
        // Less than a second: the tokens of pushes are to be possible.
        let ahead = Duration::from_millis(r.pick(&[0, 0, 900]));
        Plan {
            seed,
            ahead,
            sessions,
            steps,
        }
    }
}

impl SessionPlan {
    fn random(r: &mut Random, faults: u64, may_be_slow: bool) -> Self {
        // A round trip has to be quicker than half of the ttl.
        let slow = r.one_in(4) && may_be_slow;
        SessionPlan {
            pushes: r.pick(&[
                Pushes::Counted,
                Pushes::Counted,
                Pushes::Uncounted,
                Pushes::None,
            ]),
            delays: [
                r.pick(&[Duration::from_micros(60), Duration::from_millis(5)]),
                Duration::from_micros(r.pick(if slow {
                    &[20_000, 400_000]
                } else {
                    &[60, 20_000]
                })),
            ],
            loses_one_in: if faults == 0 { 0 } else { r.pick(&[0, 3, 20]) },
            loses_pushes_one_in: if faults == 0 { 0 } else { r.pick(&[0, 2, 10]) },
            repeats_one_in: if faults == 0 { 0 } else { r.pick(&[0, 4]) },
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.ahead.is_zero() {
            writeln!(f, "the last token is {:?} ahead of the clock", self.ahead)?;
        }
        for (number, session) in self.sessions.iter().enumerate() {
            writeln!(f, "session {number}: {session:?}")?;
        }
        for step in &self.steps {
            writeln!(f, "{:?}: {:?}", step.at, step.what)?;
        }
        Ok(())
    }
}
