//! One run: the sessions with their cores, the connections, and the store.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    fmt::{Display, Write},
    time::Duration,
};

use crate::{
    core::{
        io::{
            CallError, CallId, Command, Effect, Granted, Input, Outcome, Push, Queue, View,
            WaiterId, Want,
        },
        lock::{Estimate, Lock},
        waiters::Stage,
    },
    memory_store::{Holder, Memory},
    plan::{Ends, Plan, Request, Wait, What},
    random::{Random, mix},
    values::{
        loss::Loss,
        mode::Mode,
        session::{Pushes, SessionId},
        ticket::{Ticket, Tickets},
        time::{ServerTime, Time},
    },
};

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two hold the lock where the modes exclude each other.
    Exclusion,
    /// A token is not greater than an earlier one.
    Token,
    /// A task was overtaken by one that came later.
    Overtaken,
    /// A task that was polled, over good connections, had to queue again.
    PlaceLost,
    /// The store has something of a living session that no task of it has a use for.
    Ownerless,
    /// The lock is free, tasks wait, and nobody is let in.
    NotServed,
    /// A process that died blocks others for longer than its ttl, or three seconds.
    CrashBlocks,
    /// A call takes longer than its wait and one command.
    TooLong,
    /// The lock was given to somebody else before `min_hold` was over.
    MinHold,
    /// A task was told two outcomes, or none.
    Outcomes,
    /// The core's own invariants.
    Core,
    /// Something is left in the store, or in a core, when all tasks have ended.
    Litter,
    /// A task never ended.
    Stuck,
    /// Commands are sent again and again.
    Spins,
    /// A task held on for longer than its lease, or was not told of a loss in time.
    NotTold,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    pub(crate) story: Vec<String>,
}

/// What has happened in a run, to see that the runs are worth it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) commands: u64,
    pub(crate) heartbeats: u64,
    pub(crate) acquires: u64,
    pub(crate) releases: u64,
    pub(crate) renewals: u64,
    pub(crate) turns: u64,
    pub(crate) pushes: u64,
    pub(crate) unheard: u64,
    pub(crate) refused: u64,
    pub(crate) revoked: u64,
    pub(crate) passed_over: u64,
    pub(crate) requeued: u64,
    pub(crate) too_late: u64,
    pub(crate) lost_messages: u64,
    pub(crate) repeated: u64,
    pub(crate) doubts: u64,
}

impl Seen {
    /// Whether nothing of it has never happened.
    #[cfg(test)]
    pub(crate) fn has_everything(&self) -> bool {
        [
            self.commands,
            self.heartbeats,
            self.acquires,
            self.releases,
            self.renewals,
            self.turns,
            self.pushes,
            self.unheard,
            self.refused,
            self.revoked,
            self.passed_over,
            self.requeued,
            self.too_late,
            self.lost_messages,
            self.repeated,
            self.doubts,
        ]
        .into_iter()
        .all(|count| count > 0)
    }

    pub(crate) fn add(&mut self, other: &Seen) {
        for (mine, its) in [
            (&mut self.commands, other.commands),
            (&mut self.heartbeats, other.heartbeats),
            (&mut self.acquires, other.acquires),
            (&mut self.releases, other.releases),
            (&mut self.renewals, other.renewals),
            (&mut self.turns, other.turns),
            (&mut self.pushes, other.pushes),
            (&mut self.unheard, other.unheard),
            (&mut self.refused, other.refused),
            (&mut self.revoked, other.revoked),
            (&mut self.passed_over, other.passed_over),
            (&mut self.requeued, other.requeued),
            (&mut self.too_late, other.too_late),
            (&mut self.lost_messages, other.lost_messages),
            (&mut self.repeated, other.repeated),
            (&mut self.doubts, other.doubts),
        ] {
            *mine += its;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) seen: Seen,
    pub(crate) story: Vec<String>,
    /// In the order of their turns: the number of each task (its place among the requests of the plan), and when.
    pub(crate) turns: Vec<(usize, Duration)>,
}

const LOCK: &str = "lock";
/// The server's clock when a run begins: 2026.
const START: u64 = 1_790_000_000_000_000;
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(600);
/// More than any run needs.
const MOST_EVENTS: u64 = 100_000;
/// By so much a session's view of its lease ends before the store's, at the most.
const MARGIN: Duration = Duration::from_millis(205);
/// The longest lease in a plan.
const LONGEST_TTL: Duration = Duration::from_secs(20);
/// The longest time to settle what may yet be executed, over connections that lose messages.
const DOUBT: Duration = Duration::from_secs(5);

/// A call may end by so much later than its time limit: a task that is woken has to be polled.
const CALL_SLACK: Duration = Duration::from_millis(30);

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan, tells: bool) -> Result<Run, Box<Failure>> {
    World::new(plan, tells).run()
}

#[derive(Clone, Debug)]
enum Event {
    Step(usize),
    /// A command arrives at the store.
    Command {
        session: usize,
        link: usize,
        call: CallId,
        command: Command,
        life: u64,
        /// The reply is lost.
        is_deaf: bool,
    },
    Reply {
        session: usize,
        call: CallId,
        reply: Result<View, CallError>,
        life: u64,
    },
    Push {
        session: usize,
        push: Push,
        life: u64,
    },
    Listens {
        session: usize,
        life: u64,
    },
    Timer {
        session: usize,
    },
    Poll {
        session: usize,
        waiter: WaiterId,
    },
    Leave {
        session: usize,
        waiter: WaiterId,
    },
    GiveBack {
        session: usize,
        waiter: WaiterId,
    },
    /// A lease's end, to see that the task was told.
    CheckTold {
        session: usize,
        waiter: WaiterId,
    },
    /// The latest time by which a call must have ended.
    CheckEnded {
        session: usize,
        waiter: WaiterId,
    },
    CheckCrash {
        session: usize,
    },
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Holding,
    /// Unlocks, and waits for the outcome.
    Finishing,
    Ended,
}

#[derive(Clone, Debug)]
struct Task {
    number: usize,
    request: Request,
    phase: Phase,
    ticket: Option<Ticket>,
    /// The order in which tickets came to the store.
    arrival: Option<u64>,
    until: Time,
    /// Until when others are kept out (`min_hold`).
    cools: Option<Time>,
    /// When its call, to acquire or to unlock, must have ended.
    limit: Option<Time>,
    /// It has been left unpolled.
    was_unpolled: bool,
}

struct Session {
    id: SessionId,
    core: Lock,
    tasks: BTreeMap<WaiterId, Task>,
    is_alive: bool,
    paused_until: Time,
    /// The next message on each connection arrives no earlier.
    free: [[Time; 2]; 2],
    /// Counts the connections: what belongs to an earlier one is gone.
    life: u64,
    hears: bool,
    timer: Option<Time>,
    sent: u64,
    /// It was disturbed: its places may be lost.
    disturbed: bool,
}

struct World<'a> {
    plan: &'a Plan,
    tells: bool,
    story: Vec<String>,
    now: Time,
    heap: BinaryHeap<Reverse<(Time, u64)>>,
    events: HashMap<u64, Event>,
    counter: u64,
    sessions: Vec<Session>,
    store: Memory,
    /// Older states of the store, for failovers.
    copies: Vec<(Time, Memory)>,
    clock: i64,
    arrivals: u64,
    tokens: u64,
    writer_tokens: u64,
    given: HashSet<u64>,
    /// Until then the store may have forgotten those who hold.
    excused_until: Time,
    faults: Faults,
    seen: Seen,
    turns: Vec<(usize, Duration)>,
    ownerless_since: BTreeMap<usize, Time>,
    unserved_since: Option<Time>,
    looks_at: Option<Time>,
}

/// What a plan may break.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a kind of fault, and any may be there"
)]
struct Faults {
    any: bool,
    store: bool,
    clock: bool,
    clock_back: bool,
}

/// A store that gave its last token at this time.
fn with_last_token(then: ServerTime) -> Memory {
    let mut store = Memory::default();
    let tickets = Tickets::one(Ticket(1));
    let ttl = Duration::from_secs(10);
    let acquire = Command::Acquire {
        wants: vec![Want {
            mode: Mode::Write,
            tickets,
            is_try: false,
        }],
        done_below: Ticket(1),
        ttl,
        not_after: Some(then),
    };
    let release = Command::Release {
        tickets,
        keep_out: Duration::ZERO,
        untouched: None,
    };
    for command in [acquire, release] {
        let nobody = SessionId(u128::MAX);
        store.execute(then, nobody, Pushes::None, LOCK, &command, &mut |_, _, _| 0);
    }
    store
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, tells: bool) -> Self {
        let mut faults = Faults {
            any: false,
            store: false,
            clock: false,
            clock_back: !plan.ahead.is_zero(),
        };
        for session in &plan.sessions {
            faults.any |= session.loses_one_in > 0
                || session.loses_pushes_one_in > 0
                || session.repeats_one_in > 0;
        }
        for step in &plan.steps {
            match step.what {
                What::Request(_) | What::MadeUp { .. } => {}
                What::Crash { .. } | What::Pause { .. } | What::Cut { .. } => faults.any = true,
                What::Flush | What::Failover { .. } => {
                    faults.any = true;
                    faults.store = true;
                }
                What::Clock { by } => {
                    faults.any = true;
                    faults.clock = true;
                    faults.clock_back |= by < 0;
                }
            }
        }
        let last_token = ServerTime(START) + plan.ahead;
        let sessions = plan.sessions.iter().enumerate();
        let sessions = sessions.map(|(number, session)| Session {
            id: SessionId(number as u128 + 1),
            core: Lock::new(
                Ticket(1),
                None,
                session.pushes != Pushes::None,
                mix(plan.seed ^ number as u64),
            ),
            tasks: BTreeMap::new(),
            is_alive: true,
            paused_until: Time(0),
            free: [[Time(0); 2]; 2],
            life: 0,
            hears: session.pushes != Pushes::None,
            timer: None,
            sent: 0,
            disturbed: false,
        });
        World {
            plan,
            tells,
            story: Vec::new(),
            now: Time(0),
            heap: BinaryHeap::new(),
            events: HashMap::new(),
            counter: 0,
            sessions: sessions.collect(),
            store: with_last_token(last_token),
            copies: Vec::new(),
            clock: 0,
            arrivals: 0,
            tokens: last_token.0,
            writer_tokens: last_token.0,
            given: HashSet::new(),
            excused_until: Time(0),
            faults,
            seen: Seen::default(),
            turns: Vec::new(),
            ownerless_since: BTreeMap::new(),
            unserved_since: None,
            looks_at: None,
        }
    }

    fn run(mut self) -> Result<Run, Box<Failure>> {
        for (place, step) in self.plan.steps.iter().enumerate() {
            self.at(Time(0) + step.at, Event::Step(place));
        }
        while let Some(Reverse((time, number))) = self.heap.pop() {
            let Some(event) = self.events.remove(&number) else {
                continue;
            };
            self.now = time;
            if time > Time(0) + LIMIT {
                let what = format!("not over after {LIMIT:?}: {}", self.unfinished());
                return Err(self.fails(Kind::Stuck, what));
            }
            if self.counter > MOST_EVENTS {
                return Err(self.fails(Kind::Spins, format!("{:?}", self.seen)));
            }
            self.event(event)?;
            self.look()?;
        }
        let unfinished = self.unfinished();
        if !unfinished.is_empty() {
            return Err(self.fails(Kind::Stuck, format!("never ended: {unfinished}")));
        }
        self.nothing_is_left()?;
        Ok(Run {
            seen: self.seen,
            story: self.story,
            turns: self.turns,
        })
    }

    fn at(&mut self, time: Time, event: Event) {
        self.counter += 1;
        self.events.insert(self.counter, event);
        self.heap.push(Reverse((time.max(self.now), self.counter)));
    }

    fn server_now(&self) -> ServerTime {
        ServerTime((START + self.now.0).saturating_add_signed(self.clock))
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            let line = line();
            self.story.push(format!("{}  {line}", self.now));
        }
    }

    #[allow(
        clippy::unnecessary_box_returns,
        reason = "what a `Result` of this file has for an error"
    )]
    fn fails(&mut self, kind: Kind, what: impl Display) -> Box<Failure> {
        Box::new(Failure {
            kind,
            what: format!("{} {kind:?}: {what}", self.now),
            story: std::mem::take(&mut self.story),
        })
    }

    fn unfinished(&self) -> String {
        let mut text = String::new();
        for (number, session) in self.sessions.iter().enumerate() {
            for task in session.tasks.values() {
                if session.is_alive && task.phase != Phase::Ended {
                    let _ = write!(
                        text,
                        "task {} of session {number} is {:?}; ",
                        task.number, task.phase
                    );
                }
            }
        }
        text
    }

    #[allow(clippy::too_many_lines, reason = "one match, an arm for each event")]
    fn event(&mut self, event: Event) -> Result<(), Box<Failure>> {
        if let Some(session) = event_of(&event) {
            let process = &mut self.sessions[session];
            if !process.is_alive {
                return Ok(());
            }
            if process.paused_until > self.now {
                let mut until = process.paused_until;
                match event {
                    Event::CheckTold { .. } => until = until + Duration::from_micros(50),
                    // A task whose time is over asks once more.
                    Event::CheckEnded { waiter, .. } => {
                        let terms = process.tasks[&waiter].request.terms;
                        until = until + terms.command_timeout + CALL_SLACK;
                    }
                    _ => {}
                }
                self.at(until, event);
                return Ok(());
            }
        }
        match event {
            Event::Step(place) => self.step(place),
            Event::Command {
                session,
                link,
                call,
                command,
                life,
                is_deaf,
            } => {
                self.execute(session, link, call, &command, life, is_deaf);
                Ok(())
            }
            Event::Reply {
                session,
                call,
                reply,
                life,
            } => {
                if life != self.sessions[session].life && reply.is_ok() {
                    return Ok(());
                }
                self.tell(|| match &reply {
                    Ok(view) => format!("session {session} is answered: {}", show(view)),
                    Err(_) => format!("session {session}: {call:?} fails"),
                });
                if let Ok(view) = &reply
                    && view.is_late
                {
                    self.seen.too_late += 1;
                }
                self.input(session, Input::Replied { call, reply }, 0)
            }
            Event::Push {
                session,
                push,
                life,
            } => {
                if life != self.sessions[session].life {
                    return Ok(());
                }
                self.tell(|| format!("session {session} hears: {push}"));
                self.input(session, Input::Pushed(push), 0)
            }
            Event::Listens { session, life } => {
                if life != self.sessions[session].life {
                    return Ok(());
                }
                self.sessions[session].hears = true;
                self.tell(|| format!("session {session} listens again"));
                self.input(session, Input::Listening(true), 0)
            }
            Event::Timer { session } => {
                if self.sessions[session]
                    .timer
                    .is_some_and(|at| at <= self.now)
                {
                    self.sessions[session].timer = None;
                    return self.input(session, Input::TimeReached, 1);
                }
                Ok(())
            }
            Event::Poll { session, waiter } => self.input(session, Input::Polled { waiter }, 0),
            Event::Leave { session, waiter } => {
                let Some(task) = self.sessions[session].tasks.get_mut(&waiter) else {
                    return Ok(());
                };
                if task.phase != Phase::Waiting {
                    return Ok(());
                }
                let number = task.number;
                task.phase = Phase::Ended;
                self.tell(|| format!("task {number} is dropped"));
                self.input(session, Input::Abandoned { waiter }, 0)
            }
            Event::GiveBack { session, waiter } => self.give_back(session, waiter),
            Event::CheckTold { session, waiter } => {
                let task = &self.sessions[session].tasks[&waiter];
                if task.phase == Phase::Holding && task.until + Duration::from_micros(1) < self.now
                {
                    let what = format!("task {} was not told", task.number);
                    return Err(self.fails(Kind::NotTold, what));
                }
                Ok(())
            }
            Event::CheckEnded { session, waiter } => {
                let task = &self.sessions[session].tasks[&waiter];
                if task.limit.is_some_and(|limit| limit <= self.now)
                    && matches!(task.phase, Phase::Waiting | Phase::Finishing)
                    && !task.was_unpolled
                {
                    let what = format!("the call of task {} goes on for too long", task.number);
                    return Err(self.fails(Kind::TooLong, what));
                }
                Ok(())
            }
            Event::CheckCrash { session } => {
                let id = self.sessions[session].id;
                let now = self.server_now();
                let held = self.store.state(LOCK).and_then(|state| {
                    let held = state.grants.get(&Holder::Session(id))?;
                    (held.end > now).then_some(held.end.since(now))
                });
                match held {
                    Some(left) => {
                        let what =
                            format!("the dead session {session} blocks others for {left:?} more");
                        Err(self.fails(Kind::CrashBlocks, what))
                    }
                    None => Ok(()),
                }
            }
            Event::Look => Ok(()),
        }
    }

    fn give_back(&mut self, session: usize, waiter: WaiterId) -> Result<(), Box<Failure>> {
        let Some(task) = self.sessions[session].tasks.get_mut(&waiter) else {
            return Ok(());
        };
        if task.phase != Phase::Holding {
            return Ok(());
        }
        let number = task.number;
        match task.request.ends {
            Ends::Unlock => {
                task.phase = Phase::Finishing;
                let limit = self.now + task.request.terms.command_timeout + CALL_SLACK;
                task.limit = Some(limit);
                self.at(limit, Event::CheckEnded { session, waiter });
                self.tell(|| format!("task {number} unlocks"));
                self.input(session, Input::Unlocked { waiter }, 0)
            }
            Ends::Drop => {
                task.phase = Phase::Ended;
                self.tell(|| format!("task {number} drops its guard"));
                self.input(session, Input::Abandoned { waiter }, 0)
            }
            Ends::Never => Ok(()),
        }
    }

    fn step(&mut self, place: usize) -> Result<(), Box<Failure>> {
        let what = self.plan.steps[place].what.clone();
        match what {
            What::Request(request) => self.request(place, request),
            What::Crash { session } => {
                self.crash(session);
                Ok(())
            }
            What::Pause { session, length } => {
                self.tell(|| format!("session {session} stands still for {length:?}"));
                let until = self.now + length;
                let process = &mut self.sessions[session];
                process.paused_until = process.paused_until.max(until);
                process.disturbed = true;
                Ok(())
            }
            What::Cut { session } => self.cut(session),
            What::Flush => {
                self.tell(|| "the store forgets everything".to_owned());
                self.store.flush();
                self.excuse();
                Ok(())
            }
            What::Failover { lag } => {
                self.tell(|| format!("the store is replaced by a copy {lag:?} old"));
                let then = self.now - lag;
                let copy = self.copies.iter().rev().find(|(time, _)| *time <= then);
                self.store = copy.map(|(_, copy)| copy.clone()).unwrap_or_default();
                self.excuse();
                Ok(())
            }
            What::Clock { by } => {
                self.tell(|| format!("the store's clock is set by {by} ms"));
                // The floor for tokens has ended with the clock that it was kept for.
                let second = self.server_now().0 / 1000;
                let state = self.store.state(LOCK);
                if by < 0 && state.is_none_or(|state| state.expires < second) {
                    (self.tokens, self.writer_tokens) = (0, 0);
                    self.given.clear();
                }
                self.clock += by * 1000;
                self.excuse();
                Ok(())
            }
            What::MadeUp { session, token } => {
                let tickets = self.sessions[session]
                    .core
                    .queued
                    .first()
                    .map(|q| (q.mode, q.tickets));
                let (mode, tickets) = tickets.unwrap_or((Mode::Write, Tickets::one(Ticket(1))));
                let granted = Granted {
                    mode,
                    tickets,
                    token,
                };
                self.tell(|| format!("somebody sends session {session} a made-up grant {granted}"));
                if self.sessions[session].hears {
                    let push = Push::Granted(granted);
                    return self.input(session, Input::Pushed(push), 0);
                }
                Ok(())
            }
        }
    }

    /// What the store has told may be wrong from now on.
    fn excuse(&mut self) {
        self.excused_until = self.now + LONGEST_TTL + DOUBT;
        for session in &mut self.sessions {
            session.disturbed = true;
        }
    }

    fn request(&mut self, place: usize, request: Request) -> Result<(), Box<Failure>> {
        let session = request.session;
        if !self.sessions[session].is_alive {
            return Ok(());
        }
        let now = self.now.max(self.sessions[session].paused_until);
        if now > self.now {
            self.at(now, Event::Step(place));
            return Ok(());
        }
        let steps = self.plan.steps[..place].iter();
        let number = steps
            .filter(|step| matches!(step.what, What::Request(_)))
            .count();
        let waiter = WaiterId(u64::try_from(number).unwrap_or(0));
        let process = &mut self.sessions[session];
        if process.core.is_idle() {
            // A lock that is idle is forgotten; its tickets go on above those that it had.
            let first = Ticket(self.now.0.max(process.core.next_ticket().0));
            let clock: Option<Estimate> = process.core.clock;
            process.core = Lock::new(
                first,
                clock,
                process.hears,
                mix(self.plan.seed ^ session as u64 ^ first.0),
            );
        }
        let queue = match request.wait {
            Wait::Never => Queue::Never,
            Wait::For(wait) => Queue::Until(now + wait),
            Wait::Forever => Queue::Forever,
        };
        let (mode, terms) = (request.mode, request.terms);
        let wait = match request.wait {
            Wait::Never => Some(Duration::ZERO),
            Wait::For(wait) => Some(wait),
            Wait::Forever => None,
        };
        let limit = wait.map(|wait| now + wait + terms.command_timeout + CALL_SLACK);
        if let Some(limit) = limit {
            self.at(limit, Event::CheckEnded { session, waiter });
        }
        if let Some(after) = request.leaves_after {
            self.at(now + after, Event::Leave { session, waiter });
        }
        let process = &mut self.sessions[session];
        process.tasks.insert(
            waiter,
            Task {
                number,
                phase: Phase::Waiting,
                ticket: None,
                arrival: None,
                until: now,
                cools: None,
                limit,
                was_unpolled: false,
                request,
            },
        );
        self.tell(|| format!("task {number} of session {session} asks for {mode}"));
        let requested = Input::Requested {
            waiter,
            mode,
            terms,
            queue,
        };
        self.input(session, requested, 0)?;
        self.input(session, Input::Polled { waiter }, 0)
    }

    fn crash(&mut self, session: usize) {
        if !self.sessions[session].is_alive {
            return;
        }
        self.tell(|| format!("session {session} crashes"));
        let plan = self.plan.sessions[session];
        let process = &mut self.sessions[session];
        process.is_alive = false;
        process.hears = false;
        process.life += 1;
        // What it held blocks others for as long as those that held had asked for.
        let mut longest = Duration::from_secs(3);
        let rtt = plan.delays[1] * 2 + Duration::from_millis(10);
        let mut is_fresh = false;
        for (_, waiter) in process.core.waiters.iter() {
            match waiter.stage {
                Stage::Active(active) => {
                    let min_hold = waiter.terms.min_hold.unwrap_or_default();
                    longest = longest.max(waiter.terms.ttl).max(min_hold);
                    is_fresh |= self.now.since(active.since) <= rtt * 3;
                }
                Stage::Cooling { until } => {
                    let followers = Duration::from_secs(3);
                    longest = longest.max(until.since(self.now) + followers);
                }
                // The lease is that of the turn before for as long as nobody takes this one: a second at most.
                Stage::Offered { .. } => is_fresh = true,
                // It may just be granted the lock.
                Stage::Waiting if process.core.calls.acquiring().is_some() => {
                    longest = longest.max(waiter.terms.first_ttl());
                }
                Stage::Waiting => {}
            }
        }
        // A release under way leaves the lease to whoever came to the grant meanwhile.
        is_fresh |= !process.core.calls.releases.is_empty();
        let is_checked = !self.faults.store
            && !self.faults.clock
            && !process.disturbed
            && !is_fresh
            && plan.loses_one_in == 0
            && plan.repeats_one_in == 0;
        if is_checked {
            // A command that was under way may yet be executed.
            let slack = plan.delays[0].max(plan.delays[1]) * 2 + Duration::from_millis(10);
            self.at(self.now + longest + slack, Event::CheckCrash { session });
        }
    }

    /// Both connections break: what is under way is lost, or executed without a reply, or much later.
    fn cut(&mut self, session: usize) -> Result<(), Box<Failure>> {
        if !self.sessions[session].is_alive {
            return Ok(());
        }
        self.tell(|| format!("the connections of session {session} break"));
        let process = &mut self.sessions[session];
        process.life += 1;
        process.disturbed = true;
        process.free = [[self.now; 2]; 2];
        let pushes = self.plan.sessions[session].pushes != Pushes::None;
        let life = process.life;
        process.hears = false;
        let calls: Vec<CallId> = process.core.calls.iter().map(|call| call.id).collect();
        let mut random = Random::new(mix(self.plan.seed ^ self.now.0));
        for call in calls {
            // Else no answer comes at all.
            if !random.one_in(3) {
                let reply = Err(CallError::NO_REPLY);
                self.at(
                    self.now,
                    Event::Reply {
                        session,
                        call,
                        reply,
                        life,
                    },
                );
            }
        }
        if pushes {
            let again = self.now + random.millis(1, 800);
            self.at(again, Event::Listens { session, life });
        }
        self.input(session, Input::Listening(false), 0)
    }

    /// Tells a core, and does what it orders. `link`: what is not sent by a task goes over the engine's connection.
    fn input(&mut self, session: usize, input: Input, link: usize) -> Result<(), Box<Failure>> {
        let mut effects = Vec::new();
        let now = self.now;
        let had_doubt = self.sessions[session].core.calls.doubt.is_some();
        self.sessions[session].core.handle(now, input, &mut effects);
        if !had_doubt && self.sessions[session].core.calls.doubt.is_some() {
            self.seen.doubts += 1;
        }
        if let Err(violation) = self.sessions[session].core.check() {
            let what = format!("session {session}: {violation:?}");
            return Err(self.fails(Kind::Core, what));
        }
        effects.sort_by_key(|effect| match effect {
            Effect::Call {
                command: Command::Release { .. },
                ..
            } => 0,
            Effect::Call { .. } => 1,
            Effect::Wake { .. } => 3,
            _ => 2,
        });
        for effect in effects {
            self.effect(session, effect, link)?;
        }
        self.watch_tickets(session)?;
        let timer = self.sessions[session]
            .core
            .next_timeout(now)
            .map(|(at, _)| at);
        let process = &mut self.sessions[session];
        if let Some(at) = timer
            && process
                .timer
                .is_none_or(|before| at < before || before <= now)
        {
            let at = at.max(now + Duration::from_micros(1));
            process.timer = Some(at);
            self.at(at, Event::Timer { session });
        }
        Ok(())
    }

    /// A task's ticket changes only if the task had to queue again.
    fn watch_tickets(&mut self, session: usize) -> Result<(), Box<Failure>> {
        let any = self.faults.any;
        let process = &mut self.sessions[session];
        let mut wrong = None;
        for (waiter, task) in &mut process.tasks {
            if task.phase != Phase::Waiting {
                continue;
            }
            let ticket = process.core.waiters.ticket(*waiter);
            if ticket != task.ticket {
                match (task.ticket, ticket) {
                    (Some(_), None) => {
                        self.seen.passed_over += 1;
                        if !task.was_unpolled {
                            wrong = Some(task.number);
                        }
                    }
                    (Some(_), Some(_)) => {
                        self.seen.requeued += 1;
                        if !any && !task.was_unpolled {
                            wrong = Some(task.number);
                        }
                    }
                    _ => {}
                }
                task.ticket = ticket;
                task.arrival = None;
            }
        }
        if let Some(number) = wrong
            && !process.disturbed
        {
            return Err(self.fails(Kind::PlaceLost, format!("task {number} lost its place")));
        }
        Ok(())
    }

    fn effect(&mut self, session: usize, effect: Effect, link: usize) -> Result<(), Box<Failure>> {
        match effect {
            Effect::Call { call, command, .. } => {
                let link = match command {
                    Command::Heartbeat { .. } | Command::Renew { .. } => 1,
                    _ => link,
                };
                self.tell(|| {
                    format!(
                        "session {session} sends {call:?} {}",
                        show_command(&command)
                    )
                });
                self.send(session, link, call, command);
                Ok(())
            }
            Effect::Wake { waiter } => {
                let process = &mut self.sessions[session];
                let Some(task) = process.tasks.get_mut(&waiter) else {
                    return Ok(());
                };
                let after = match task.request.polls_after {
                    Some(after) => after,
                    None if task.was_unpolled => Duration::from_micros(50),
                    None => {
                        task.was_unpolled = true;
                        Duration::from_secs(4)
                    }
                };
                self.at(self.now + after, Event::Poll { session, waiter });
                Ok(())
            }
            Effect::Grant {
                waiter,
                token,
                until,
            } => self.granted(session, waiter, token, until),
            Effect::LeaseEnds { waiter, until } => {
                if let Some(task) = self.sessions[session].tasks.get_mut(&waiter) {
                    task.until = until;
                    if task.phase == Phase::Holding {
                        self.at(
                            until + Duration::from_micros(2),
                            Event::CheckTold { session, waiter },
                        );
                    }
                }
                Ok(())
            }
            Effect::Refuse { waiter, why } => {
                self.seen.refused += 1;
                let wrong = self.ends(session, waiter, &[Phase::Waiting], &format!("{why:?}"));
                wrong.map_or(Ok(()), |what| Err(self.fails(Kind::Outcomes, what)))
            }
            Effect::Revoke { waiter, why } => {
                self.seen.revoked += 1;
                let phases = [Phase::Holding, Phase::Finishing];
                let wrong = self.ends(session, waiter, &phases, &format!("{why:?}"));
                if let Some(what) = wrong {
                    return Err(self.fails(Kind::Outcomes, what));
                }
                let is_explained = self.sessions[session].disturbed
                    || self.faults.any
                    || matches!(why, Loss::MaxHold | Loss::TtlEnded);
                if !is_explained {
                    let what = format!("session {session} lost the lock without a reason: {why:?}");
                    return Err(self.fails(Kind::Outcomes, what));
                }
                Ok(())
            }
            Effect::Finish { waiter, outcome } => {
                let wrong = self.ends(
                    session,
                    waiter,
                    &[Phase::Finishing],
                    &format!("{outcome:?}"),
                );
                if let Some(what) = wrong {
                    return Err(self.fails(Kind::Outcomes, what));
                }
                if outcome != Outcome::Released && !self.faults.any {
                    let what = format!("an unlock without any fault ends with {outcome:?}");
                    return Err(self.fails(Kind::Outcomes, what));
                }
                Ok(())
            }
            Effect::GiveUp { .. } => Ok(()),
        }
    }

    /// A task has its outcome. Says what is wrong about it.
    fn ends(
        &mut self,
        session: usize,
        waiter: WaiterId,
        from: &[Phase],
        outcome: &str,
    ) -> Option<String> {
        let task = self.sessions[session].tasks.get_mut(&waiter)?;
        let number = task.number;
        let phase = task.phase;
        // Its guard was dropped a moment ago.
        if phase == Phase::Ended && from.contains(&Phase::Holding) {
            return None;
        }
        task.phase = Phase::Ended;
        self.tell(|| format!("task {number}: {outcome}"));
        (!from.contains(&phase))
            .then(|| format!("task {number} was {phase:?} and is told {outcome}"))
    }

    fn granted(
        &mut self,
        session: usize,
        waiter: WaiterId,
        token: u64,
        until: Time,
    ) -> Result<(), Box<Failure>> {
        let now = self.now;
        let Some(task) = self.sessions[session].tasks.get(&waiter) else {
            return Ok(());
        };
        let (number, mode, phase, arrival) =
            (task.number, task.request.mode, task.phase, task.arrival);
        let was_unpolled = task.was_unpolled;
        self.tell(|| format!("task {number} has the {mode} lock, token {token}, until {until}"));
        if phase != Phase::Waiting {
            return Err(self.fails(
                Kind::Outcomes,
                format!("task {number} was {phase:?} and is granted the lock"),
            ));
        }
        let is_excused = now < self.excused_until;
        for (other, process) in self.sessions.iter().enumerate() {
            for task in process.tasks.values() {
                let excludes = mode == Mode::Write || task.request.mode == Mode::Write;
                let holds =
                    matches!(task.phase, Phase::Holding | Phase::Finishing) && now < task.until;
                // Unlocking is over for everybody else once the store has executed it.
                let holds = holds && task.phase == Phase::Holding;
                if process.is_alive && holds && excludes && !is_excused {
                    let what = format!(
                        "task {} of session {other} holds the lock as well",
                        task.number
                    );
                    return Err(self.fails(Kind::Exclusion, what));
                }
                // It is counted from the grant, of which the task hears a little later.
                let slack = self.plan.sessions[other].delays[0] + Duration::from_millis(6);
                let cools = task.cools.is_some_and(|until| now + slack < until);
                if excludes && cools && !self.faults.any {
                    let what = format!("`min_hold` of task {} is not over", task.number);
                    return Err(self.fails(Kind::MinHold, what));
                }
                let waits = task.phase == Phase::Waiting
                    && process.is_alive
                    && task.request.wait != Wait::Never;
                let is_earlier =
                    matches!((task.arrival, arrival), (Some(its), Some(mine)) if its < mine);
                if waits
                    && is_earlier
                    && excludes
                    && !self.faults.any
                    && !task.was_unpolled
                    && !was_unpolled
                {
                    let what = format!("task {number} has overtaken task {}", task.number);
                    return Err(self.fails(Kind::Overtaken, what));
                }
            }
        }
        let must_be_above = match mode {
            Mode::Write => self.tokens,
            Mode::Read => self.writer_tokens,
        };
        let may_repeat = is_excused && (self.faults.clock || self.faults.store);
        let must_be_new = !(may_repeat || (self.faults.clock_back && self.faults.store));
        if token <= must_be_above && must_be_new {
            return Err(self.fails(Kind::Token, format!("{token} after {must_be_above}")));
        }
        if !self.given.insert(token) && must_be_new {
            return Err(self.fails(Kind::Token, format!("{token} was given twice")));
        }
        self.tokens = self.tokens.max(token);
        if mode == Mode::Write {
            self.writer_tokens = self.writer_tokens.max(token);
        }
        self.seen.turns += 1;
        self.turns.push((number, now.since(Time(0))));
        let Some(task) = self.sessions[session].tasks.get_mut(&waiter) else {
            return Ok(());
        };
        task.phase = Phase::Holding;
        task.until = until;
        task.cools = task.request.terms.min_hold.map(|min_hold| now + min_hold);
        let holds = task.request.holds;
        if task.request.ends != Ends::Never {
            self.at(now + holds, Event::GiveBack { session, waiter });
        }
        self.at(
            until + Duration::from_micros(2),
            Event::CheckTold { session, waiter },
        );
        Ok(())
    }

    fn random(&mut self, session: usize) -> Random {
        let process = &mut self.sessions[session];
        process.sent += 1;
        Random::new(mix(self.plan.seed
            ^ mix(session as u64 + 1)
            ^ (process.sent << 8)))
    }

    /// When a message that is sent now arrives: the engine's connection keeps the order, the tasks' connection nearly.
    fn arrives(&mut self, session: usize, link: usize, direction: usize, delay: Duration) -> Time {
        let free = &mut self.sessions[session].free[link][direction];
        let at = self.now + delay;
        // Tasks on several threads may send their commands in another order than they told the core, and tell the core of
        // the replies in another order than these have come.
        let swaps = if link == 0 {
            Duration::from_micros(200)
        } else {
            Duration::ZERO
        };
        let at = at.max(*free - swaps) + Duration::from_micros(1);
        *free = at.max(*free);
        at
    }

    fn send(&mut self, session: usize, link: usize, call: CallId, command: Command) {
        let plan = self.plan.sessions[session];
        let mut random = self.random(session);
        let delay = random.micros(20, plan.delays[link].as_micros().try_into().unwrap_or(20));
        let life = self.sessions[session].life;
        let is_lost = plan.loses_one_in > 0 && random.one_in(plan.loses_one_in);
        let is_executed = !is_lost || random.one_in(2);
        let repeats = plan.repeats_one_in > 0 && random.one_in(plan.repeats_one_in);
        let event = Event::Command {
            session,
            link,
            call,
            command,
            life,
            is_deaf: is_lost,
        };
        if repeats {
            self.seen.repeated += 1;
            let mut again = event.clone();
            if let Event::Command { is_deaf, .. } = &mut again {
                *is_deaf = true;
            }
            // A client library sends again what has no answer yet.
            let later = if is_lost {
                random.millis(1, 3000)
            } else {
                Duration::ZERO
            };
            let at = self.arrives(session, link, 0, delay) + later;
            self.at(at, again);
        }
        if is_lost {
            self.seen.lost_messages += 1;
            if random.one_in(2) {
                let reply = Err(CallError::NO_REPLY);
                let event = Event::Reply {
                    session,
                    call,
                    reply,
                    life,
                };
                self.at(self.now + delay * 2, event);
            }
        }
        if is_executed {
            let at = if is_lost && random.one_in(2) {
                // It was in a buffer of a link that is gone.
                self.now + random.millis(1, 3000)
            } else {
                self.arrives(session, link, 0, delay)
            };
            self.at(at, event);
        }
    }

    fn execute(
        &mut self,
        session: usize,
        link: usize,
        call: CallId,
        command: &Command,
        life: u64,
        is_deaf: bool,
    ) {
        self.seen.commands += 1;
        match command {
            Command::Acquire { .. } => self.seen.acquires += 1,
            Command::Heartbeat { .. } => self.seen.heartbeats += 1,
            Command::Renew { .. } => self.seen.renewals += 1,
            Command::Release { .. } => self.seen.releases += 1,
        }
        let id = self.sessions[session].id;
        let plan = self.plan.sessions[session];
        let now = self.server_now();
        let mut told = Vec::new();
        let hears: Vec<_> = self
            .sessions
            .iter()
            .map(|process| (process.id, process.hears))
            .collect();
        let mut unheard = 0;
        let mut publish = |to: SessionId, _: &str, push: Push| {
            let place = hears.iter().position(|(id, hears)| *id == to && *hears);
            match place {
                Some(place) => told.push((place, push)),
                None => unheard += 1,
            }
            u64::from(place.is_some())
        };
        let view = self
            .store
            .execute(now, id, plan.pushes, LOCK, command, &mut publish);
        self.seen.unheard += unheard;
        if self.faults.store {
            self.copies.push((self.now, self.store.clone()));
        }
        self.tell(|| {
            format!(
                "the store executes {call:?} of session {session}: {}",
                show(&view)
            )
        });
        self.note_arrivals(session, command, &view);
        for (to, push) in told {
            self.seen.pushes += 1;
            let plan = self.plan.sessions[to];
            let mut random = self.random(to);
            let delay = random.micros(20, plan.delays[0].as_micros().try_into().unwrap_or(20));
            let at = self.arrives(to, 0, 1, delay);
            if plan.loses_pushes_one_in > 0 && random.one_in(plan.loses_pushes_one_in) {
                self.tell(|| format!("a push to session {to} is lost"));
                continue;
            }
            let life = self.sessions[to].life;
            self.at(
                at,
                Event::Push {
                    session: to,
                    push,
                    life,
                },
            );
        }
        if !is_deaf && life == self.sessions[session].life {
            let mut random = self.random(session);
            let delay = random.micros(20, plan.delays[link].as_micros().try_into().unwrap_or(20));
            let at = self.arrives(session, link, 1, delay);
            let reply = Ok(view);
            self.at(
                at,
                Event::Reply {
                    session,
                    call,
                    reply,
                    life,
                },
            );
        }
    }

    /// In which order tickets have come to the store.
    fn note_arrivals(&mut self, session: usize, command: &Command, view: &View) {
        let Command::Acquire { wants, .. } = command else {
            return;
        };
        if view.is_late {
            return;
        }
        let process = &mut self.sessions[session];
        for task in process.tasks.values_mut() {
            let Some(ticket) = task.ticket else {
                continue;
            };
            if task.arrival.is_none() && wants.iter().any(|want| want.tickets.contains(ticket)) {
                self.arrivals += 1;
                task.arrival = Some(self.arrivals);
            }
        }
        // Those that came together are in the order of their tickets.
        let mut together: Vec<_> = process
            .tasks
            .values_mut()
            .filter(|task| task.arrival.is_some())
            .collect();
        together.sort_by_key(|task| task.ticket);
        let mut arrivals: Vec<_> = together.iter().filter_map(|task| task.arrival).collect();
        arrivals.sort_unstable();
        for (task, arrival) in together.into_iter().zip(arrivals) {
            task.arrival = Some(arrival);
        }
    }

    /// What must be true at any time.
    fn look(&mut self) -> Result<(), Box<Failure>> {
        let now = self.server_now();
        let state = self.store.state(LOCK);
        let mut is_held = false;
        let mut has_queue = false;
        let mut ownerless = Vec::new();
        if let Some(state) = state {
            is_held = state.grants.values().any(|held| held.end > now);
            let is_there = |id: SessionId| {
                let mut sessions = self.sessions.iter();
                sessions.any(|process| {
                    process.id == id && process.is_alive && process.paused_until <= self.now
                })
            };
            has_queue = state.queue.iter().any(|range| is_there(range.session));
            for (number, process) in self.sessions.iter().enumerate() {
                if !process.is_alive || process.paused_until > self.now {
                    continue;
                }
                let is_used =
                    |tickets: Tickets| process.core.waiters.within(tickets).next().is_some();
                let grant = state.grants.get(&Holder::Session(process.id));
                // A `min_hold` that is over before the store's lease is.
                let mut tasks = process.tasks.values();
                let slack = Duration::from_millis(6);
                let cools = tasks.any(|task| task.cools.is_some_and(|end| self.now < end + slack));
                let is_kept = grant.is_some_and(|held| held.end > now + MARGIN) && !cools;
                let grant = is_kept && grant.is_some_and(|held| !is_used(held.granted.tickets));
                let mut queue = state.queue.iter();
                let queued = queue.any(|range| {
                    let is_alive = state
                        .waiters
                        .get(&range.session)
                        .is_some_and(|w| w.end > now);
                    range.session == process.id && is_alive && !is_used(range.tickets)
                });
                if grant || queued {
                    ownerless.push(number);
                }
            }
        }
        self.ownerless_since
            .retain(|number, _| ownerless.contains(number));
        let mut looks_again = false;
        for number in ownerless {
            let plan = self.plan.sessions[number];
            let process = &self.sessions[number];
            let delay = plan.delays[0].max(plan.delays[1]);
            let is_lossy = plan.loses_one_in > 0 || plan.repeats_one_in > 0 || process.disturbed;
            let bound = delay * 5
                + if plan.loses_one_in == 3 {
                    DOUBT * 3
                } else if is_lossy {
                    DOUBT
                } else {
                    Duration::from_millis(5)
                };
            let since = *self.ownerless_since.entry(number).or_insert(self.now);
            if self.now.since(since) > bound && !self.faults.clock && self.now >= self.excused_until
            {
                let what = format!(
                    "for {:?} the store has kept what nobody in session {number} has a use for",
                    self.now.since(since)
                );
                return Err(self.fails(Kind::Ownerless, what));
            }
            looks_again = !self.faults.clock && !self.faults.store;
        }
        if looks_again && self.looks_at.is_none_or(|at| at <= self.now) {
            let at = self.now + Duration::from_millis(100);
            self.looks_at = Some(at);
            self.at(at, Event::Look);
        }
        // A lock that is free while somebody waits.
        if has_queue && !is_held {
            let slowest = self
                .plan
                .sessions
                .iter()
                .map(|plan| plan.delays[0].max(plan.delays[1]))
                .max();
            // Without pushes the head of the queue asks every tenth of a second, and a session from far behind once a second.
            let polls = self
                .plan
                .sessions
                .iter()
                .any(|plan| plan.pushes == Pushes::None);
            let bound = slowest.unwrap_or_default() * 4
                + Duration::from_millis(match (self.faults.any, polls) {
                    (true, _) => 8000,
                    (false, true) => 1100,
                    (false, false) => 10,
                });
            let since = *self.unserved_since.get_or_insert(self.now);
            if self.now.since(since) > bound && self.now >= self.excused_until {
                let what = format!("for {:?} the lock has been free", self.now.since(since));
                return Err(self.fails(Kind::NotServed, what));
            }
        } else {
            self.unserved_since = None;
        }
        Ok(())
    }

    fn nothing_is_left(&mut self) -> Result<(), Box<Failure>> {
        for number in 0..self.sessions.len() {
            let process = &self.sessions[number];
            if process.is_alive && !process.core.is_idle() {
                let what = format!("session {number} is not idle: {:?}", process.core);
                return Err(self.fails(Kind::Litter, what));
            }
        }
        let now = self.server_now();
        let ids: Vec<_> = self
            .sessions
            .iter()
            .filter(|process| process.is_alive)
            .map(|process| process.id)
            .collect();
        let left = self.store.state(LOCK).and_then(|state| {
            let grants = state
                .grants
                .iter()
                .filter(|(_, held)| held.end > now + MARGIN);
            let mut of_living = grants
                .filter(|(holder, _)| matches!(holder, Holder::Session(id) if ids.contains(id)));
            of_living.next().map(|left| format!("{left:?}"))
        });
        match left {
            // A lagging copy may have a lock that was given back; its lease ends.
            Some(left) if !self.faults.clock && !self.faults.store => {
                Err(self.fails(Kind::Litter, left))
            }
            _ => Ok(()),
        }
    }
}

/// The process that an event happens in.
fn event_of(event: &Event) -> Option<usize> {
    match event {
        Event::Reply { session, .. }
        | Event::Push { session, .. }
        | Event::Listens { session, .. }
        | Event::Timer { session }
        | Event::Poll { session, .. }
        | Event::Leave { session, .. }
        | Event::GiveBack { session, .. }
        | Event::CheckTold { session, .. }
        | Event::CheckEnded { session, .. } => Some(*session),
        Event::Step(_) | Event::Command { .. } | Event::CheckCrash { .. } | Event::Look => None,
    }
}

fn show(view: &View) -> String {
    if view.is_late {
        return "too late".to_owned();
    }
    let mut text = String::new();
    if let Some(grant) = &view.grant {
        let _ = write!(
            text,
            "granted {} for {:?} (epoch {})",
            grant.granted, grant.left, grant.epoch
        );
    }
    for (mode, tickets) in &view.queued {
        let _ = write!(text, " queued {}{tickets}", mode.letter());
    }
    if text.is_empty() {
        text += "nothing";
    }
    text
}

fn show_command(command: &Command) -> String {
    match command {
        Command::Acquire { wants, .. } => {
            let wants: Vec<_> = wants.iter().map(ToString::to_string).collect();
            format!("acquire {}", wants.join(" "))
        }
        Command::Heartbeat { .. } => "heartbeat".to_owned(),
        Command::Renew { ticket, ttl, epoch } => {
            format!("renew {} to {ttl:?}, epoch {epoch}", ticket.0)
        }
        Command::Release {
            tickets, keep_out, ..
        } => format!("release {tickets}, keeping out for {keep_out:?}"),
    }
}
