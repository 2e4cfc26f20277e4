//! The shell around the core of one lock: a mutex, tasks, commands. The shell decides nothing.
//!
//! The core gets each input under the lock's own mutex. Effects on holders are noted under the same mutex, so that two threads
//! cannot note them in another order. Commands are sent, and tasks woken, once the mutex is free: first
//! the commands, in the order in which the core gives them.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn, ready},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tokio::{runtime::Handle, task::unconstrained};
use tracing::Level;

use crate::{
    core::{
        calls::{Kind, Mark},
        io::{
            CallError, CallErrorKind, CallId, Command, Effect, Input, Queue, Refusal, Terms, View,
            WaiterId,
        },
        lock::Lock,
        timers::Timer,
    },
    engine::{hold::Hold, owner::Owner, schedule, session::Session},
    link::{
        Link, Reply,
        cause::failed_for,
        code::{Class, class, did_nothing, is_foreign, is_transient, no_reply},
        front::Front,
    },
    store::{self, Sent, redis::names::Names},
    threads::{report::report, runtime::Engine},
    values::{key::Key, loss::Loss, session::Pushes, ticket::Ticket, time::Time},
};

/// One lock in one session.
pub(crate) struct Entry {
    /// A random number that tells the entries apart.
    pub(crate) number: u64,
    pub(crate) engine: Engine,
    pub(crate) link: Arc<Link>,
    pub(crate) front: Arc<Front>,
    pub(crate) names: Names,
    pub(crate) key: Key,
    state: Mutex<State>,
}

struct State {
    core: Lock,
    /// The requests that the core knows.
    holds: BTreeMap<WaiterId, Arc<Hold>>,
    waiters: u64,
    planned: Option<Time>,
    /// The `acquire` in flight, while one task alone waits for the reply.
    inline: Option<Arc<Inline>>,
    /// The error of the latest command that failed.
    error: Option<RedisError>,
    /// The lock is idle: a new request needs a new entry.
    is_retired: bool,
}

/// A reply that the requesting task awaits itself, so that no other task has to be woken.
pub(crate) struct Inline {
    call: CallId,
    reply: Mutex<Option<Reply<View>>>,
}

impl Inline {
    fn take(&self) -> Option<Reply<View>> {
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.take()
    }

    /// `Ready(None)`: another task awaits the reply now.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<RedisResult<View>>> {
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        // If the poll panics (in process, it runs the wakers of others), the reply counts as lost.
        let Some(mut waits) = reply.take() else {
            return Poll::Ready(None);
        };
        match waits.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => {
                *reply = Some(waits);
                Poll::Pending
            }
        }
    }
}

/// A command that the core has ordered.
pub(crate) struct Outgoing {
    entry: Arc<Entry>,
    call: CallId,
    command: Command,
    within: Duration,
}

/// What is to be done once the mutex is free.
#[derive(Default)]
struct Work {
    /// Releases first.
    calls: Vec<(CallId, Command, Duration)>,
    woken: Vec<Arc<Hold>>,
    retired: Option<Ticket>,
    /// A release was given up. `true`: a task had held the lock.
    given_up: Option<bool>,
    lost: Vec<(Arc<Hold>, Loss)>,
    is_settled: bool,
}

/// The origin of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// A task that can await a reply.
    Task,
    /// A `drop`, which cannot wait.
    Drop,
    Engine,
}

impl Entry {
    pub(crate) fn new(engine: &Engine, owner: &Owner, first: Ticket) -> Self {
        let front = Arc::clone(&owner.front);
        let link = Arc::clone(&owner.link);
        let number = rand::random();
        let core = Lock::new(first, link.clock(), front.is_listening(), number);
        Entry {
            number,
            engine: engine.clone(),
            link,
            front,
            names: owner.names.clone(),
            key: owner.key.clone(),
            state: Mutex::new(State {
                core,
                holds: BTreeMap::new(),
                waiters: 0,
                planned: None,
                inline: None,
                error: None,
                is_retired: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store is told about this session's pushes.
    fn pushes(&self) -> Pushes {
        if self.front.is_listening() {
            self.front.pushes()
        } else {
            Pushes::None
        }
    }

    /// Tells the core an input. May be called anywhere.
    pub(crate) fn tell(self: &Arc<Self>, input: Input) {
        self.tells(input, By::Engine);
    }

    /// A task has dropped its request or its hold.
    pub(crate) fn drops(self: &Arc<Self>, waiter: WaiterId) {
        self.tells(Input::Abandoned { waiter }, By::Drop);
    }

    fn tells(self: &Arc<Self>, input: Input, by: By) -> Option<Arc<Inline>> {
        let gone = match input {
            Input::Abandoned { waiter } => Some(waiter),
            _ => None,
        };
        let mut state = self.state();
        let work = self.handle(&mut state, input);
        let gone = gone.and_then(|waiter| state.holds.remove(&waiter));
        let inline = self.finish(state, work, by);
        drop(gone);
        inline
    }

    /// A task asks for the lock. `Err`: this entry is retired.
    pub(crate) fn requests(
        self: &Arc<Self>,
        hold: &Arc<Hold>,
        terms: Terms,
        queue: Queue,
    ) -> Result<Option<Arc<Inline>>, Ticket> {
        let mut state = self.state();
        if state.is_retired {
            return Err(state.core.next_ticket());
        }
        state.waiters += 1;
        let waiter = WaiterId(state.waiters);
        hold.joins(self, waiter);
        state.holds.insert(waiter, Arc::clone(hold));
        let requested = Input::Requested {
            waiter,
            mode: hold.owner.mode,
            terms,
            queue,
        };
        let work = self.handle(&mut state, requested);
        // Other tasks depend on this reply now, and the task that awaits it may not be polled.
        let shared = state.inline.take();
        let inline = self.finish(state, work, By::Task);
        if let Some(shared) = shared
            && let Some(reply) = shared.take()
        {
            self.spawn(shared.call, reply);
        }
        Ok(inline)
    }

    /// The task is polled, and takes the lock if its turn has come.
    pub(crate) fn polled(self: &Arc<Self>, waiter: WaiterId) -> Option<Arc<Inline>> {
        if !self.state().core.awaits_poll(waiter) {
            return None;
        }
        self.tells(Input::Polled { waiter }, By::Task)
    }

    /// The task gives the lock back, and waits for the outcome.
    pub(crate) fn unlocks(self: &Arc<Self>, waiter: WaiterId) -> Option<Arc<Inline>> {
        self.tells(Input::Unlocked { waiter }, By::Task)
    }

    /// Drives the reply that the task awaits itself. Done when there may be news for the task.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        inline: &mut Option<Arc<Inline>>,
        news: impl Future<Output = ()>,
    ) {
        let mut news = pin!(news);
        poll_fn(|context| {
            if let Some(own) = inline {
                match own.poll(context) {
                    Poll::Ready(Some(outcome)) => {
                        let call = own.call;
                        *inline = self.replied(call, outcome, By::Task);
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => *inline = None,
                    Poll::Pending => {}
                }
            }
            news.as_mut().poll(context)
        })
        .await;
    }

    /// The task that drove a reply is gone: another task awaits the reply.
    pub(crate) fn hands_on(self: &Arc<Self>, inline: Option<Arc<Inline>>) {
        if let Some(inline) = inline
            && let Some(reply) = inline.take()
        {
            self.spawn(inline.call, reply);
        }
    }

    fn handle(self: &Arc<Self>, state: &mut State, input: Input) -> Work {
        let now = self.engine.now();
        let mut effects = Vec::new();
        let mark = state.core.mark();
        state.core.handle(now, input, &mut effects);
        debug_assert_eq!(state.core.check(), Ok(()), "{:?}", state.core);
        let mut work = Work::default();
        for effect in effects {
            Self::note(state, effect, &mut work);
        }
        work.is_settled = mark.is_some() && state.core.mark().is_none();
        if state.core.is_idle() && !state.is_retired {
            state.is_retired = true;
            work.retired = Some(state.core.next_ticket());
        }
        let at = state.core.next_timeout(now);
        let at = at.map(|(at, timer)| match (timer, state.core.lease_end()) {
            (Timer::Renewal, Some(end)) => schedule::together(at, end),
            _ => at,
        });
        // An earlier plan stays: to look too early does no harm, and a lock that is taken again and again is planned once.
        let stays = at.is_some() && state.planned.is_some_and(|before| Some(before) <= at);
        if !stays {
            let schedule = Session::of(&self.front).schedule(&self.engine);
            schedule.plan(self, state.planned, at);
            state.planned = at;
        }
        work
    }

    fn note(state: &mut State, effect: Effect, work: &mut Work) {
        match effect {
            Effect::Call {
                call,
                command,
                within,
            } => work.calls.push((call, command, within)),
            Effect::Wake { waiter } => work.woken.extend(state.holds.get(&waiter).cloned()),
            Effect::Grant {
                waiter,
                token,
                until,
            } => {
                if let Some(hold) = state.holds.get(&waiter) {
                    hold.begins(token, until);
                }
            }
            Effect::LeaseEnds { waiter, until } => {
                if let Some(hold) = state.holds.get(&waiter) {
                    hold.lasts(until);
                }
            }
            Effect::Refuse { waiter, why } => {
                if let Some(hold) = state.holds.remove(&waiter) {
                    let error = state.error.clone().filter(|_| why == Refusal::Failed);
                    hold.is_refused(why, error);
                    work.woken.push(hold);
                }
            }
            Effect::Revoke { waiter, why } => {
                if let Some(hold) = state.holds.remove(&waiter) {
                    hold.is_revoked(why);
                    work.lost.push((Arc::clone(&hold), why));
                    work.woken.push(hold);
                }
            }
            Effect::Finish { waiter, outcome } => {
                if let Some(hold) = state.holds.remove(&waiter) {
                    hold.finishes(outcome, state.error.clone());
                    work.woken.push(hold);
                }
            }
            Effect::GiveUp { was_held } => {
                work.given_up = Some(work.given_up.unwrap_or_default() || was_held);
            }
        }
    }

    /// Frees the mutex, and does the work. Returns a reply that the task awaits itself.
    fn finish(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        work: Work,
        by: By,
    ) -> Option<Arc<Inline>> {
        let is_alone = by == By::Task && work.calls.len() == 1 && state.holds.len() <= 1;
        let Work {
            mut calls,
            woken,
            retired,
            given_up,
            lost,
            is_settled,
        } = work;
        let mut inline = None;
        if is_alone
            && let Some((call, command, within)) = calls.pop_if(|(_, command, _)| {
                !matches!(command, Command::Heartbeat { .. } | Command::Renew { .. })
            })
        {
            let is_acquire = matches!(command, Command::Acquire { .. });
            let reply = self.send(command, within);
            let own = Arc::new(Inline {
                call,
                reply: Mutex::new(Some(reply)),
            });
            if is_acquire {
                state.inline = Some(Arc::clone(&own));
            }
            inline = Some(own);
        }
        drop(state);
        let mut together = Vec::new();
        for (call, command, within) in calls {
            match command {
                Command::Acquire { .. } | Command::Release { .. } if self.is_sent_here(by) => {
                    let reply = self.send(command, within);
                    self.spawn(call, reply);
                }
                command => together.push(Outgoing {
                    entry: Arc::clone(self),
                    call,
                    command,
                    within,
                }),
            }
        }
        send_together(together);
        if let Some(next) = retired {
            Session::of(&self.front).forget(self, next);
        }
        if let Some(was_held) = given_up {
            self.tells_of_litter(was_held);
        }
        if is_settled || (!woken.is_empty() && self.link.ending.has_begun()) {
            self.link.ending.tell();
        }
        // A waker is foreign code.
        for hold in woken {
            hold.tell_news();
        }
        for (hold, why) in lost {
            let owner = &hold.owner;
            let (key, mode, token) = (owner.key.clone(), owner.mode, hold.token());
            report(Level::WARN, move || {
                tracing::warn!(%key, %mode, token, "lock lost: {why}");
            });
        }
        inline
    }

    /// Whether a command goes out from the current runtime, and not from the engine. In a `Drop` no connection is made, since the
    /// `Drop` may run in a panic hook.
    fn is_sent_here(&self, by: By) -> bool {
        match by {
            By::Task => true,
            By::Drop => {
                let runtime = Handle::try_current();
                runtime.is_ok_and(|runtime| !self.link.is_ours() || self.link.is_in(&runtime))
            }
            By::Engine => false,
        }
    }

    fn tells_of_litter(&self, was_held: bool) {
        self.link.ending.has_failed(&self.key);
        let error = self.state().error.clone().unwrap_or_else(no_reply);
        let (key, link) = (self.key.clone(), Arc::clone(&self.link));
        if was_held {
            report(Level::WARN, move || {
                let error = failed_for(&key, link.server().as_deref(), &error);
                tracing::warn!(%key, %error, "lock not released; it ends with its ttl");
            });
        } else {
            report(Level::DEBUG, move || {
                let error = failed_for(&key, link.server().as_deref(), &error);
                tracing::debug!(%key, %error, "an acquisition that was given up could not be taken back; what it may hold ends with its ttl");
            });
        }
    }

    /// Sends a command from the current runtime.
    fn send(&self, command: Command, within: Duration) -> Reply<View> {
        let reply = store::call(&self.link, Box::new(self.sent(command)));
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let reply = link.within(within, reply).await;
            reply.unwrap_or_else(|| Err(no_reply()))
        })
    }

    fn sent(&self, command: Command) -> Sent {
        Sent {
            names: self.names.clone(),
            session: self.front.session(),
            pushes: self.pushes(),
            command,
        }
    }

    /// Spawns a task that awaits a reply, in the runtime that has sent the command.
    fn spawn(self: &Arc<Self>, call: CallId, mut reply: Reply<View>) {
        let runtime = Handle::try_current().ok();
        let here = runtime.filter(|runtime| self.link.is_in(runtime) || !self.link.is_ours());
        // The first poll sends the command now, before anything that the caller sends next. `unconstrained`: also if the caller's
        // task has used up its budget in tokio.
        if here
            .as_ref()
            .is_some_and(|runtime| self.link.is_in(runtime))
        {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(outcome) = pin!(unconstrained(reply.as_mut())).poll(&mut context) {
                reply = Box::pin(ready(outcome));
            }
        }
        let answers = Answers {
            entry: Arc::clone(self),
            call: Some(call),
        };
        let answered = async move {
            let outcome = reply.await;
            answers.are(outcome);
        };
        match here {
            Some(runtime) => drop(runtime.spawn(answered)),
            None => drop(self.engine.spawn(answered)),
        }
    }

    fn replied(
        self: &Arc<Self>,
        call: CallId,
        outcome: RedisResult<View>,
        by: By,
    ) -> Option<Arc<Inline>> {
        let mut state = self.state();
        if state
            .inline
            .as_ref()
            .is_some_and(|inline| inline.call == call)
        {
            state.inline = None;
        }
        let reply = outcome.map_err(|error| {
            let call_error = call_error(&error);
            self.tells_of_trouble(&error, state.core.calls.kind(call));
            // A closed connection must not hide the refused login that closed it.
            let is_login = |error: &RedisError| class(error) == Class::Login;
            if error.code().is_some() || !state.error.as_ref().is_some_and(is_login) {
                state.error = Some(error);
            }
            call_error
        });
        if reply.is_ok() {
            state.error = None;
        }
        let has_time = reply.as_ref().is_ok_and(|view| view.now.is_some());
        if reply.as_ref().is_ok_and(|view| !view.queued.is_empty()) {
            self.link.waits();
        }
        let work = self.handle(&mut state, Input::Replied { call, reply });
        if has_time && let Some(clock) = state.core.clock {
            self.link.tells_time(clock);
        }
        self.finish(state, work, by)
    }

    fn tells_of_trouble(&self, error: &RedisError, kind: Option<&Kind>) {
        let what = match kind {
            Some(Kind::Acquire { .. }) => "acquisition failed; trying again",
            Some(Kind::Heartbeat) => "heartbeat of the waiters failed; trying again",
            Some(Kind::Renew { .. }) => "renewal failed; trying again until the lease has ended",
            Some(Kind::Release(_)) => "release failed; trying again",
            None => return, // the core has given up the call before
        };
        let (key, link, error) = (self.key.clone(), Arc::clone(&self.link), error.clone());
        report(Level::DEBUG, move || {
            let error = failed_for(&key, link.server().as_deref(), &error);
            tracing::debug!(%key, %error, "{what}");
        });
    }

    /// The planned time has come. Returns commands that can go out together with other locks' commands.
    pub(crate) fn looks(self: &Arc<Self>) -> Vec<Outgoing> {
        let mut state = self.state();
        state.planned = None;
        let mut work = self.handle(&mut state, Input::TimeReached);
        let calls = mem::take(&mut work.calls);
        self.finish(state, work, By::Engine);
        calls
            .into_iter()
            .map(|(call, command, within)| Outgoing {
                entry: Arc::clone(self),
                call,
                command,
                within,
            })
            .collect()
    }

    /// The holds that are neither lost nor being given back.
    pub(crate) fn holds(&self) -> Vec<Arc<Hold>> {
        let state = self.state();
        let holds = state.holds.values().filter(|hold| hold.is_held());
        holds.cloned().collect()
    }

    /// See [`Lock::mark`].
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.state().core.mark()
    }

    /// See [`Lock::owes`].
    pub(crate) fn owes(&self, mark: Mark) -> bool {
        self.state().core.owes(mark)
    }
}

/// Tells the core the reply, or that there is none if the runtime ends first.
struct Answers {
    entry: Arc<Entry>,
    call: Option<CallId>,
}

impl Answers {
    fn are(mut self, outcome: RedisResult<View>) {
        if let Some(call) = self.call.take() {
            self.entry.replied(call, outcome, By::Engine);
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.entry.replied(call, Err(no_reply()), By::Engine);
        }
    }
}

/// Sends commands from the engine: heartbeats and renewals a hundred in a pipeline, other commands one by one.
pub(crate) fn send_together(outgoing: Vec<Outgoing>) {
    /// A longer pipeline would keep other commands waiting: each command takes Redis a few microseconds.
    const BATCH: usize = 100;
    let mut batches: Vec<Vec<Outgoing>> = Vec::new();
    for outgoing in outgoing {
        if matches!(
            outgoing.command,
            Command::Acquire { .. } | Command::Release { .. }
        ) {
            outgoing.goes_alone();
            continue;
        }
        let same = |batch: &&mut Vec<Outgoing>| {
            Arc::ptr_eq(&batch[0].entry.link, &outgoing.entry.link) && batch.len() < BATCH
        };
        match batches.iter_mut().find(same) {
            Some(batch) => batch.push(outgoing),
            None => batches.push(vec![outgoing]),
        }
    }
    for mut batch in batches {
        match (batch.pop(), batch.is_empty()) {
            (Some(alone), true) => alone.goes_alone(),
            (last, _) => {
                batch.extend(last);
                go_together(batch);
            }
        }
    }
}

impl Outgoing {
    fn goes_alone(self) {
        let Outgoing {
            entry,
            call,
            command,
            within,
        } = self;
        let answers = Answers {
            entry: Arc::clone(&entry),
            call: Some(call),
        };
        let engine = entry.engine.clone();
        engine.spawn(async move {
            let turns = Arc::clone(&entry.link.releases);
            let turn = match &command {
                Command::Release { .. } => turns.acquire().await.ok(),
                _ => None,
            };
            let outcome = entry.send(command, within).await;
            drop(turn);
            answers.are(outcome);
        });
    }
}

/// Commands over one link, in one pipeline.
fn go_together(batch: Vec<Outgoing>) {
    let (engine, link) = (
        batch[0].entry.engine.clone(),
        Arc::clone(&batch[0].entry.link),
    );
    let within = batch.iter().map(|outgoing| outgoing.within).max();
    let (sent, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|outgoing| {
            let sent = outgoing.entry.sent(outgoing.command);
            let answers = Answers {
                entry: outgoing.entry,
                call: Some(outgoing.call),
            };
            (sent, answers)
        })
        .unzip();
    let of = engine.clone();
    engine.spawn(async move {
        let replies = store::call_all(&of, &link, &sent);
        let replies = link.within(within.unwrap_or_default(), replies).await;
        match replies.unwrap_or_else(|| Err(no_reply())) {
            Ok(replies) => {
                for (answer, reply) in answers.into_iter().zip(replies) {
                    answer.are(reply);
                }
            }
            Err(error) => {
                for answer in answers {
                    answer.are(Err(error.clone()));
                }
            }
        }
    });
}

fn call_error(error: &RedisError) -> CallError {
    let kind = if is_foreign(error) {
        CallErrorKind::Foreign
    } else if class(error) == Class::Login {
        CallErrorKind::Login
    } else if is_transient(error) {
        CallErrorKind::Transient
    } else {
        CallErrorKind::Fatal
    };
    CallError {
        kind,
        did_nothing: did_nothing(error),
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
