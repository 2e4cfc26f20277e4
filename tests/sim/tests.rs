//! What CI runs of the simulator: random schedules, and each known way in which a lock of this kind has broken.

use std::time::Duration;

use crate::{
    core::io::Terms,
    plan::{Ends, Plan, Request, SessionPlan, Step, Wait, What},
    shrink::story,
    values::{mode::Mode, session::Pushes},
    world::{Run, Seen, run},
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const QUICK: SessionPlan = SessionPlan {
    pushes: Pushes::Counted,
    delays: [Duration::from_micros(60); 2],
    loses_one_in: 0,
    loses_pushes_one_in: 0,
    repeats_one_in: 0,
};

pub(crate) const TERMS: Terms = Terms {
    ttl: Duration::from_secs(10),
    auto_extend: true,
    max_hold: None,
    min_hold: None,
    command_timeout: Duration::from_secs(1),
};

/// A task that asks to write as soon as it can, and gives back after `holds`.
fn writes(session: usize, holds: u64) -> Request {
    Request {
        session,
        mode: Mode::Write,
        terms: TERMS,
        wait: Wait::Forever,
        polls_after: Some(Duration::from_micros(20)),
        holds: ms(holds),
        ends: Ends::Unlock,
        leaves_after: None,
    }
}

fn reads(session: usize, holds: u64) -> Request {
    Request {
        mode: Mode::Read,
        ..writes(session, holds)
    }
}

struct Scene(Plan);

impl Scene {
    fn of(sessions: &[SessionPlan]) -> Self {
        Scene(Plan {
            ahead: Duration::ZERO,
            seed: 1,
            sessions: sessions.to_vec(),
            steps: Vec::new(),
        })
    }

    /// At `at` milliseconds.
    fn then(mut self, at: u64, what: What) -> Self {
        self.0.steps.push(Step { at: ms(at), what });
        self
    }

    fn asks(self, at: u64, request: Request) -> Self {
        self.then(at, What::Request(request))
    }

    fn plays(self) -> Run {
        run(&self.0, false).unwrap_or_else(|_| panic!("{}", story(self.0)))
    }
}

/// The order of the turns, and when the last one began.
fn order(run: &Run) -> Vec<usize> {
    run.turns.iter().map(|(number, _)| *number).collect()
}

fn began(run: &Run, number: usize) -> Duration {
    let turn = run.turns.iter().find(|(task, _)| *task == number);
    turn.map_or(Duration::MAX, |(_, at)| *at)
}

/// `SCHEDULES` asks for another number of them: without a guard of the core, more may be needed.
#[test]
fn random_schedules_break_no_rule() {
    let count = std::env::var("SCHEDULES").ok();
    let count = count.map_or(20_000, |count| count.parse().expect("a number"));
    let mut seen = Seen::default();
    for seed in 1..=count {
        let plan = Plan::from_seed(seed);
        let run = run(&plan, false).unwrap_or_else(|_| panic!("seed {seed}\n{}", story(plan)));
        seen.add(&run.seen);
    }
    println!("{seen:?}");
    assert!(seen.has_everything(), "{seen:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..=50 {
        let plan = Plan::from_seed(seed);
        let stories = [run(&plan, true), run(&plan, true)].map(|run| match run {
            Ok(run) => run.story,
            Err(failure) => failure.story,
        });
        assert_eq!(stories[0], stories[1], "seed {seed}");
    }
}

/// A. A heartbeat on a slower connection is under way while its waiter is granted the lock and gives it back.
#[test]
fn a_heartbeat_that_is_overtaken_creates_nothing() {
    for delay in [5, 20, 200, 400] {
        let slow = SessionPlan {
            delays: [QUICK.delays[0], ms(delay)],
            ..QUICK
        };
        for round in 0..50 {
            let run = Scene::of(&[slow, QUICK])
                .asks(0, writes(1, 1000 + round))
                .asks(5, writes(0, 1))
                .asks(1200, writes(1, 1))
                .plays();
            assert!(began(&run, 2) < ms(1210), "{:?}", began(&run, 2));
        }
    }
}

/// B. The first of several in one process ends by `max_hold` or `auto_extend(false)`, after a renewal.
#[test]
fn a_holder_whose_time_is_up_costs_nobody_a_place() {
    for terms in [
        Terms {
            ttl: ms(900),
            max_hold: Some(ms(1500)),
            ..TERMS
        },
        Terms {
            ttl: ms(900),
            auto_extend: false,
            ..TERMS
        },
    ] {
        let first = Request {
            terms,
            ends: Ends::Never,
            ..writes(0, 0)
        };
        let mut scene = Scene::of(&[QUICK, QUICK]).asks(0, first);
        for _ in 0..40 {
            scene = scene.asks(10, writes(0, 1));
        }
        let run = scene.asks(20, writes(1, 1)).plays();
        assert_eq!(order(&run), (0..=41).collect::<Vec<_>>());
    }
}

/// E and L. A task whose turn comes is not polled: the first, the second, or the last of its process.
#[test]
fn a_task_that_is_not_polled_costs_others_a_second_and_no_place() {
    for unpolled in [1_usize, 2, 4] {
        let mut scene = Scene::of(&[QUICK, QUICK]).asks(0, writes(1, 300));
        for number in 1..=4_usize {
            let polls_after = (number != unpolled).then_some(Duration::from_micros(20));
            scene = scene.asks(
                10 + number as u64,
                Request {
                    polls_after,
                    ..writes(0, 1)
                },
            );
        }
        let run = scene.asks(20, writes(1, 1)).plays();
        let expected: Vec<_> = (0..=5).filter(|number| *number != unpolled).collect();
        assert_eq!(order(&run)[..5], expected);
        assert!(began(&run, 5) < ms(1400), "{:?}", began(&run, 5));
    }
}

/// F. A process holds with a long ttl, goes on with a short one, and dies.
#[test]
fn a_crash_costs_the_ttl_of_those_who_hold() {
    let long = Request {
        terms: Terms {
            ttl: ms(20_000),
            ..TERMS
        },
        ..writes(0, 1500)
    };
    let short = Request {
        terms: Terms {
            ttl: ms(500),
            ..TERMS
        },
        ..writes(0, 60_000)
    };
    for (first, second) in [
        (long.clone(), short.clone()),
        (reads(0, 1500), reads(0, 60_000)),
    ] {
        let run = Scene::of(&[QUICK, QUICK])
            .asks(
                0,
                Request {
                    mode: first.mode,
                    ..long.clone()
                },
            )
            .asks(
                1,
                Request {
                    mode: second.mode,
                    ..short.clone()
                },
            )
            .asks(100, writes(1, 1))
            .then(2000, What::Crash { session: 0 })
            .plays();
        assert!(began(&run, 2) < ms(5100), "{:?}", began(&run, 2));
    }
}

/// G. More readers than one batch wait behind a writer, in one process and in many.
#[test]
fn all_readers_behind_a_writer_come_in_at_once() {
    // One command serves a hundred ranges.
    for sessions in [1, 50, 250] {
        let mut scene = Scene::of(&vec![QUICK; sessions + 1]).asks(0, writes(0, 500));
        for number in 0..250 {
            scene = scene.asks(10, reads(1 + number % sessions, 1000));
        }
        let run = scene.plays();
        for number in 1..=250 {
            assert!(began(&run, number) < ms(510), "{:?}", began(&run, number));
        }
    }
}

/// H. Many wait, and one of them is not polled.
#[test]
fn a_session_sends_one_heartbeat_a_second() {
    let mut scene = Scene::of(&[QUICK, QUICK]).asks(0, writes(1, 10_000));
    for number in 0..100 {
        let polls_after = (number != 0).then_some(Duration::from_micros(20));
        scene = scene.asks(
            1,
            Request {
                polls_after,
                ..writes(0, 0)
            },
        );
    }
    let run = scene.plays();
    assert!(run.seen.heartbeats <= 16, "{:?}", run.seen);
}

/// K. Acquisitions time out while the server stands still.
#[test]
fn acquisitions_that_time_out_are_settled_together() {
    let mut hangs = QUICK;
    hangs.delays[0] = ms(1500);
    let mut scene = Scene::of(&[hangs]);
    for _ in 0..100 {
        scene = scene.asks(
            0,
            Request {
                wait: Wait::For(ms(500)),
                ..writes(0, 0)
            },
        );
    }
    let run = scene.plays();
    assert!(run.seen.releases <= 20, "{:?}", run.seen);
}

/// C and D. Somebody publishes what no server has granted.
#[test]
fn a_token_that_cannot_be_is_no_grant() {
    for token in [0, 1, 1 << 53, 1 << 60, u64::MAX] {
        let run = Scene::of(&[QUICK, QUICK])
            .asks(0, writes(1, 2000))
            .asks(10, writes(0, 1))
            .then(500, What::MadeUp { session: 0, token })
            .plays();
        assert!(began(&run, 1) >= ms(2000));
    }
}

/// Two instances of a job, some time apart: with `min_hold` one of them runs.
#[test]
fn with_min_hold_a_job_runs_once_a_tick() {
    let job = |session| Request {
        wait: Wait::Never,
        terms: Terms {
            min_hold: Some(ms(5000)),
            ..TERMS
        },
        ..writes(session, 20)
    };
    let run = Scene::of(&[QUICK, QUICK])
        .asks(0, job(0))
        .asks(300, job(1))
        .asks(4900, job(1))
        .asks(5100, job(0))
        .asks(5400, job(1))
        .plays();
    assert_eq!(order(&run), [0, 3]);
}

/// Whoever waits is told when `min_hold` is over, also if the process has ended.
#[test]
fn min_hold_ends_on_time() {
    for crashes in [false, true] {
        let job = Request {
            terms: Terms {
                min_hold: Some(ms(5000)),
                ttl: ms(1000),
                ..TERMS
            },
            ..writes(0, if crashes { 60_000 } else { 20 })
        };
        let mut scene = Scene::of(&[QUICK, QUICK])
            .asks(0, job)
            .asks(100, writes(1, 1));
        if crashes {
            scene = scene.then(200, What::Crash { session: 0 });
        }
        let run = scene.plays();
        let at = began(&run, 1);
        assert!((ms(4990)..ms(5060)).contains(&at), "{at:?}");
    }
}
