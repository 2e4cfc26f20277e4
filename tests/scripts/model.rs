//! Random calls, by a few ids and with leases that end, against a plain queue in memory.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use redis_lock_tests::Server;

use super::{Acquired, Found, Lock, Mode, R, SLACK, TRY, W};

/// One unit of the model's time in ms of the server's clock: much more than what a run takes. Leases end at
/// halves of it, so that what the run itself takes never matters.
const UNIT: u64 = 1_000_000;
const STEPS: u32 = 8000;
const IDS: usize = 6;

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: usize,
    mode: Mode,
    /// In half units, odd.
    deadline: u64,
    token: u64,
}

/// A fair read-write lock, as simple as it can be said.
#[derive(Debug, Default)]
struct Model {
    /// In half units, even.
    now: u64,
    holders: Vec<Entry>,
    queue: VecDeque<Entry>,
}

impl Model {
    fn bury(&mut self) {
        self.holders.retain(|it| it.deadline > self.now);
        self.queue.retain(|it| it.deadline > self.now);
    }

    fn fits(&self, mode: Mode) -> bool {
        self.holders.is_empty() || (mode == R && self.holders[0].mode == R)
    }

    fn grant(&mut self) -> Vec<usize> {
        let mut granted = Vec::new();
        while let Some(head) = self.queue.front().copied()
            && self.fits(head.mode)
        {
            self.queue.pop_front();
            self.holders.push(head);
            granted.push(head.id);
        }
        granted
    }

    fn holder(&mut self, id: usize) -> Option<&mut Entry> {
        self.holders.iter_mut().find(|it| it.id == id)
    }

    fn waiter(&mut self, id: usize) -> Option<&mut Entry> {
        self.queue.iter_mut().find(|it| it.id == id)
    }

    fn left(&self) -> u64 {
        let last = self.holders.iter().map(|it| it.deadline).max();
        last.map_or(0, |last| (last - self.now) * UNIT / 2)
    }
}

/// What happened, to see that the run was worth it.
#[derive(Debug, Default)]
struct Seen {
    tokens: [u32; 2],
    again: u32,
    queued: u32,
    busy: u32,
    handed: [u32; 2],
    together: u32,
    renewed: u32,
    gone: u32,
    left_the_queue: u32,
    holders_died: u32,
    waiters_died: u32,
}

struct Random(u64);

impl Random {
    /// Below `n`.
    fn next(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn id(&mut self, count: usize) -> usize {
        usize::try_from(self.next(count as u64)).expect("small")
    }

    /// An odd number of half units.
    fn lease(&mut self) -> u64 {
        2 * self.next(4) + 1
    }
}

#[tokio::test]
async fn the_scripts_do_what_a_plain_queue_does() {
    let seed = std::env::var("SEED").map_or_else(
        |_| RandomState::new().hash_one(()) | 1,
        |seed| seed.parse().expect("a number"),
    );
    println!("to see this run again: SEED={seed}");
    let mut random = Random(seed);
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    let mut run = Run {
        lock,
        model: Model::default(),
        seen: Seen::default(),
        modes: [R; IDS],
        last: 0,
    };
    for step in 0..STEPS {
        // Crowds, and times when one comes alone.
        let id = random.id([IDS, IDS, 2][step as usize / 100 % 3]);
        match random.next(16) {
            0..7 => {
                let lease = if random.next(4) == 0 {
                    TRY
                } else {
                    random.lease()
                };
                let mode = if random.next(2) == 0 { R } else { W };
                run.acquire(step, id, mode, random.lease(), lease).await;
            }
            7..12 => run.release(step, id).await,
            12..15 => run.renew(step, id, random.lease()).await,
            _ => {
                run.model.now += 2;
                let ms = run.model.now * UNIT / 2;
                server.set_clock(i64::try_from(ms).expect("some years"));
            }
        }
    }
    println!("{:?}", run.seen);
    run.assert_all_seen();
    for id in 0..IDS {
        run.release(STEPS, id).await;
    }
    run.lock.assert_idle().await;
}

struct Run {
    lock: Lock,
    model: Model,
    seen: Seen,
    /// The mode in which each id asks: the same, until it has neither a hold nor a place.
    modes: [Mode; IDS],
    last: u64,
}

impl Run {
    async fn acquire(&mut self, step: u32, id: usize, mode: Mode, ttl: u64, lease: u64) {
        self.start();
        self.model.grant();
        if self.model.holder(id).is_none() && self.model.waiter(id).is_none() {
            self.modes[id] = mode;
        }
        let mode = self.modes[id];
        let name = name(id);
        let reply = self
            .lock
            .acquire(&name, mode, ttl * UNIT / 2, lease * UNIT / 2)
            .await;
        let model = &mut self.model;
        let what = format!("step {step}: {name} {mode:?} {lease}: {reply:?}, {model:?}");
        let (now, new) = (model.now, |token| Entry {
            id,
            mode,
            deadline: 0,
            token,
        });
        if let Some(hold) = model.holder(id) {
            hold.deadline = now + ttl;
            // A grant to a waiter is seen here for the first time.
            let token = reply.token();
            assert!(hold.token == token || hold.token == 0, "{what}");
            if hold.token == 0 {
                hold.token = token;
            }
            self.seen.again += 1;
            return self.check_tokens(&what);
        }
        if lease == TRY && model.waiter(id).is_some() {
            model.queue.retain(|it| it.id != id);
            model.grant();
            self.seen.left_the_queue += 1;
        }
        if model.queue.is_empty() && model.fits(mode) {
            let token = reply.token();
            assert!(token > self.last, "{what}");
            self.last = token;
            model.holders.push(Entry {
                deadline: now + ttl,
                ..new(token)
            });
            self.seen.tokens[mode as usize] += 1;
            return self.check_tokens(&what);
        }
        let (left, expected) = (model.left(), reply);
        if lease == TRY {
            assert_near(reply.busy(), left, &what);
            self.seen.busy += 1;
            return;
        }
        match model.waiter(id) {
            Some(waiter) => waiter.deadline = now + lease,
            None => model.queue.push_back(Entry {
                deadline: now + lease,
                ..new(0)
            }),
        }
        let place = model
            .queue
            .iter()
            .position(|it| it.id == id)
            .expect("in line");
        let Acquired::Queued {
            place: found,
            left: found_left,
        } = expected
        else {
            panic!("{what}")
        };
        assert_eq!(found, place as u64, "{what}");
        assert_near(found_left, left, &what);
        self.seen.queued += 1;
    }

    async fn release(&mut self, step: u32, id: usize) {
        self.start();
        let reply = self.lock.release(&name(id)).await;
        let model = &mut self.model;
        let what = format!("step {step}: release {}: {reply:?}, {model:?}", name(id));
        let found = match (model.holder(id).is_some(), model.waiter(id).is_some()) {
            (true, _) => Found::Hold,
            (_, true) => Found::Place,
            _ => Found::Nothing,
        };
        model.holders.retain(|it| it.id != id);
        model.queue.retain(|it| it.id != id);
        let granted = model.grant();
        let names: Vec<_> = granted.iter().copied().map(name).collect();
        assert_eq!(reply, (found, names), "{what}");
        for id in &granted {
            self.seen.handed[self.modes[*id] as usize] += 1;
        }
        self.seen.together += u32::from(granted.len() > 1);
        self.seen.left_the_queue += u32::from(found == Found::Place);
        self.check_tokens(&what);
    }

    async fn renew(&mut self, step: u32, id: usize, ttl: u64) {
        self.start();
        self.model.grant();
        let reply = self.lock.renew(&name(id), ttl * UNIT / 2).await;
        let model = &mut self.model;
        let what = format!("step {step}: renew {}: {reply}, {model:?}", name(id));
        let now = model.now;
        let holder = model.holder(id);
        assert_eq!(reply, holder.is_some(), "{what}");
        match holder {
            Some(holder) => {
                holder.deadline = now + ttl;
                self.seen.renewed += 1;
            }
            None => self.seen.gone += 1,
        }
        self.check_tokens(&what);
    }

    fn start(&mut self) {
        let before = (self.model.holders.len(), self.model.queue.len());
        self.model.bury();
        self.seen.holders_died += u32::try_from(before.0 - self.model.holders.len()).expect("few");
        self.seen.waiters_died += u32::try_from(before.1 - self.model.queue.len()).expect("few");
    }

    /// Tokens rise in the order of the grants. That of a waiter that was granted is known when it asks.
    fn check_tokens(&mut self, what: &str) {
        let known: Vec<_> = self
            .model
            .holders
            .iter()
            .map(|it| it.token)
            .filter(|it| *it > 0)
            .collect();
        assert!(known.is_sorted_by(|a, b| a < b), "{what}");
        self.last = self.last.max(known.last().copied().unwrap_or(0));
        let modes = self.model.holders.iter().filter(|it| it.mode == W).count();
        assert!(modes == 0 || self.model.holders.len() == 1, "{what}");
    }

    fn assert_all_seen(&self) {
        let Seen {
            tokens,
            again,
            queued,
            busy,
            handed,
            together,
            ..
        } = self.seen;
        let Seen {
            renewed,
            gone,
            left_the_queue,
            holders_died,
            waiters_died,
            ..
        } = self.seen;
        let counts = [
            tokens[0],
            tokens[1],
            again,
            queued,
            busy,
            handed[0],
            handed[1],
            together,
            renewed,
            gone,
            left_the_queue,
            holders_died,
            waiters_died,
        ];
        assert!(counts.iter().all(|count| *count > 5), "{:?}", self.seen);
    }
}

fn name(id: usize) -> String {
    format!("{:x}", id + 10)
}

#[track_caller]
fn assert_near(ms: u64, whole: u64, what: &str) {
    assert!(
        ms <= whole + 2 && ms + 4 * SLACK >= whole,
        "{ms} of {whole}; {what}"
    );
}
