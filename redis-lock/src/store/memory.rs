//! The protocol in memory: the same rules as the scripts, over maps. The caller gives the time.
//!
//! The store of `Locker::in_process`, the server of the simulator, and the model that the scripts are compared with.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    core::{
        io::{Command, GrantView, Granted, Push, Untouched, View, Want},
        lock::WAITER_LEASE,
    },
    values::{
        mode::Mode,
        session::{Pushes, SessionId},
        ticket::{Ticket, Tickets},
        time::{ServerTime, millis},
    },
};

/// How many ranges one command serves at the most.
const BATCH: usize = 100;
/// A state that is kept for up to this much longer than needed, in milliseconds, is left alone.
const MOST_SPARE: u64 = 15_000;

/// Sends a push. Returns how many receivers there were.
pub(crate) type Publish<'a> = &'a mut dyn FnMut(SessionId, &str, Push) -> u64;

/// All locks of one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    locks: HashMap<String, State>,
    /// With more locks than this, locks whose time is over are looked for.
    enough: usize,
}

/// The holder of a grant: a session, or none any more (`min_hold`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Session(SessionId),
    KeptOut(SessionId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) granted: Granted,
    pub(crate) epoch: u64,
    /// The end of the lease.
    pub(crate) end: ServerTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) session: SessionId,
    pub(crate) mode: Mode,
    pub(crate) tickets: Tickets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The end of the waiter lease.
    pub(crate) end: ServerTime,
    pub(crate) pushes: Pushes,
}

/// How a lock is kept: as a word, or in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// No session has the lock. No token up to the last token is given again.
    Free,
    /// One session has the lock, and no session waits: the lock word is enough.
    Sole,
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) form: Form,
    /// When the store forgets the lock, in milliseconds.
    pub(crate) expires: u64,
    pub(crate) last: u64,
    /// The longest lease, in milliseconds.
    pub(crate) span: u64,
    pub(crate) grants: BTreeMap<Holder, Held>,
    pub(crate) queue: Vec<Range>,
    pub(crate) waiters: BTreeMap<SessionId, Waiting>,
}

impl Memory {
    /// Executes a command of a session for a lock.
    pub(crate) fn execute(
        &mut self,
        now: ServerTime,
        session: SessionId,
        pushes: Pushes,
        lock: &str,
        command: &Command,
        publish: Publish<'_>,
    ) -> View {
        let is_there = |state: &State| state.expires >= now.0 / 1000;
        if self.locks.len() > self.enough {
            self.locks.retain(|_, state| is_there(state));
            self.enough = self.locks.len() * 2;
        }
        let state = self.locks.remove(lock).filter(is_there);
        let mut run = Run {
            now,
            session,
            pushes,
            lock,
            publish,
            found: false,
            more: false,
            most_spare: MOST_SPARE,
            state: state.unwrap_or(State::NONE),
        };
        let is_late = matches!(
            command,
            Command::Acquire { not_after, .. } if not_after.is_none_or(|not_after| now > not_after)
        );
        if !is_late {
            run.execute(command);
        }
        let view = run.view(is_late);
        let state = run.state;
        if is_there(&state) {
            self.locks.insert(lock.to_owned(), state);
        }
        view
    }

    /// The present state of a lock.
    #[allow(dead_code, reason = "for the simulator")]
    pub(crate) fn state(&self, lock: &str) -> Option<&State> {
        self.locks.get(lock)
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&String, &State)> {
        self.locks.iter()
    }

    /// Forgets everything, as `FLUSHALL` does.
    #[allow(dead_code, reason = "for the simulator")]
    pub(crate) fn flush(&mut self) {
        self.locks.clear();
    }

    /// Forgets a lock, with its holders and waiters.
    pub(crate) fn forget(&mut self, lock: &str) {
        self.locks.remove(lock);
    }
}

impl State {
    const NONE: State = State {
        form: Form::Free,
        expires: 0,
        last: 0,
        span: 0,
        grants: BTreeMap::new(),
        queue: Vec::new(),
        waiters: BTreeMap::new(),
    };
}

/// One command under way.
struct Run<'a> {
    now: ServerTime,
    session: SessionId,
    pushes: Pushes,
    lock: &'a str,
    publish: Publish<'a>,
    found: bool,
    more: bool,
    most_spare: u64,
    state: State,
}

impl Run<'_> {
    fn execute(&mut self, command: &Command) {
        match command {
            Command::Acquire {
                wants,
                done_below,
                ttl,
                ..
            } => self.acquire(wants, *done_below, millis(*ttl)),
            Command::Heartbeat {
                done_below,
                keeps_grant,
            } => self.heartbeat(*done_below, *keeps_grant),
            Command::Renew { ticket, ttl, epoch } => self.renew(*ticket, millis(*ttl), *epoch),
            Command::Release {
                tickets,
                keep_out,
                untouched,
            } => {
                if !untouched.is_some_and(|untouched| self.release_untouched(untouched)) {
                    self.release(*tickets, millis(*keep_out));
                }
            }
        }
    }

    fn acquire(&mut self, wants: &[Want], done_below: Ticket, ttl: u64) {
        if let [want] = wants
            && self.acquire_alone(*want, done_below, ttl)
        {
            return;
        }
        self.open();
        self.repair();
        self.done_below(done_below);
        self.stay_alive();
        self.serve();
        for want in wants {
            self.want(*want, ttl);
        }
        self.stay_alive();
        // All ranges in front may be deaf, and this session be the first that hears.
        self.serve();
        self.settle();
    }

    /// Acquires for a session that is alone with the lock. False: the lock word is not enough, the full state is needed.
    fn acquire_alone(&mut self, want: Want, done_below: Ticket, ttl: u64) -> bool {
        if self.state.form == Form::Free && self.state.last < self.now.0 {
            return self.take_alone(want, ttl);
        }
        let Some(held) = self.sole() else {
            return false;
        };
        let tickets = held.granted.tickets;
        if done_below > tickets.to {
            return self.state.last < self.now.0 && self.take_alone(want, ttl);
        }
        if want.tickets.to <= tickets.to {
            return true;
        }
        if want.mode != held.granted.mode || (want.is_try && want.mode == Mode::Write) {
            return want.is_try;
        }
        let rest = without(held.granted, tickets.from.max(done_below));
        let behind = Tickets {
            from: want.tickets.from.max(tickets.to.next()),
            to: want.tickets.to,
        };
        let grown = self.granted(want.mode, behind, Some(rest));
        let last = grown.last_token();
        let lease = Self::joined(want, ttl);
        let end = held.end.max(self.after(lease));
        if last > end.0 {
            return false;
        }
        self.state.last = last;
        self.state.span = self.state.span.max(lease);
        self.state.expires = end.0 / 1000;
        self.put(grown, held.epoch, end);
        true
    }

    /// The lease of a grant that grows, in milliseconds. A reader that joins readers holds at once, and has a whole lease; a writer
    /// has its turn later, and needs the waiter lease until then.
    fn joined(want: Want, ttl: u64) -> u64 {
        match want.mode {
            Mode::Read => ttl,
            Mode::Write => millis(WAITER_LEASE),
        }
    }

    fn take_alone(&mut self, want: Want, ttl: u64) -> bool {
        let granted = self.granted(want.mode, want.tickets, None);
        let last = granted.last_token();
        if last > self.now.0 + ttl * 1000 {
            return false;
        }
        self.state = State {
            form: Form::Sole,
            expires: self.now.0 / 1000 + ttl,
            last,
            span: ttl,
            ..State::NONE
        };
        self.put(granted, 0, self.after(ttl));
        true
    }

    /// The grant that would be made now for these tickets. `behind`: the grant that grows by them. Their tokens are above all
    /// before, and not below the clock. The others' are new as well if another session has been given tokens since; else they
    /// stay, or become greater, so that the last token is not ahead of the clock for long.
    fn granted(&self, mode: Mode, tickets: Tickets, behind: Option<Granted>) -> Granted {
        let (last, now) = (self.state.last, self.now.0);
        let Some(before) = behind else {
            return Granted {
                mode,
                tickets,
                token: now.max(last + 1),
            };
        };
        let from = before.tickets.from;
        let least = if before.last_token() == last {
            before.token
        } else {
            last + 1
        };
        Granted {
            tickets: Tickets {
                from,
                to: tickets.to,
            },
            token: least.max(now.saturating_sub(tickets.from.0 - from.0)),
            ..before
        }
    }

    /// The grant of this session, if it is in the lock word.
    fn sole(&self) -> Option<Held> {
        let held = self.state.grants.get(&Holder::Session(self.session))?;
        let end = held.end.min(self.after(self.state.span));
        let is_sole = self.state.form == Form::Sole && end > self.now;
        is_sole.then_some(Held { end, ..*held })
    }

    fn want(&mut self, want: Want, ttl: u64) {
        let Some(want) = self.unknown(want) else {
            return;
        };
        let is_queue_empty = self.state.queue.is_empty();
        let mine = self.mine();
        if let Some(held) = mine
            && is_queue_empty
            && held.granted.mode == want.mode
            && !(want.is_try && want.mode == Mode::Write)
        {
            let grown = self.granted(want.mode, want.tickets, Some(held.granted));
            self.state.last = grown.last_token();
            let lease = Self::joined(want, ttl);
            self.put(grown, held.epoch, held.end.max(self.after(lease)));
            self.state.span = self.state.span.max(lease);
            self.keep(lease);
        } else if mine.is_none() && is_queue_empty && self.fits(want.mode) {
            let granted = self.granted(want.mode, want.tickets, None);
            self.state.last = granted.last_token();
            self.put(granted, 0, self.after(ttl));
            self.state.span = self.state.span.max(ttl);
            self.keep(ttl);
        } else if !want.is_try {
            self.join(want);
        }
    }

    /// The part of `want` above every ticket that the store knows of this session.
    fn unknown(&self, want: Want) -> Option<Want> {
        let granted = self.mine().map(|held| held.granted.tickets.to);
        let queued = self.state.queue.iter();
        let queued = queued.filter(|range| range.session == self.session);
        let top = queued.map(|range| range.tickets.to).chain(granted).max();
        let from = top.map_or(want.tickets.from, |top| want.tickets.from.max(top.next()));
        let to = want.tickets.to;
        (from <= to).then_some(Want {
            tickets: Tickets { from, to },
            ..want
        })
    }

    fn join(&mut self, want: Want) {
        match self.state.queue.last_mut() {
            Some(last) if last.session == self.session && last.mode == want.mode => {
                last.tickets.to = want.tickets.to;
            }
            _ => self.state.queue.push(Range {
                session: self.session,
                mode: want.mode,
                tickets: want.tickets,
            }),
        }
    }

    fn heartbeat(&mut self, done_below: Ticket, keeps_grant: bool) {
        let lease = millis(WAITER_LEASE);
        if self.state.form != Form::Full {
            match self.sole() {
                Some(held) if held.granted.tickets.to < done_below => {
                    return self.close();
                }
                Some(_) if !keeps_grant => return,
                Some(held) if held.end < self.after(lease) && lease > self.state.span => {}
                Some(held) => return self.lengthen_alone(held, lease),
                None => return,
            }
        }
        self.open();
        self.repair();
        self.done_below(done_below);
        self.stay_alive();
        let end = self.after(lease);
        if let Some(held) = self.state.grants.get_mut(&Holder::Session(self.session))
            && keeps_grant
            && held.end < end
        {
            held.end = end;
            self.state.span = self.state.span.max(lease);
            self.keep(lease);
        }
        self.serve();
        self.settle();
    }

    fn lengthen_alone(&mut self, held: Held, lease: u64) {
        let end = self.after(lease);
        if held.end < end {
            self.state.expires = end.0 / 1000;
            self.put(held.granted, held.epoch, end);
        }
    }

    fn renew(&mut self, ticket: Ticket, ttl: u64, epoch: u64) {
        if self.renew_alone(ticket, ttl, epoch) || self.state.form == Form::Free {
            return;
        }
        if self.state.form == Form::Sole && self.sole().is_none() {
            return;
        }
        self.open();
        self.repair();
        self.stay_alive();
        self.serve();
        let end = self.after(ttl);
        if let Some(held) = self.state.grants.get_mut(&Holder::Session(self.session))
            && held.granted.tickets.contains(ticket)
            && epoch >= held.epoch
        {
            held.end = if epoch > held.epoch {
                end
            } else {
                held.end.max(end)
            };
            held.epoch = epoch;
            self.state.span = self.state.span.max(ttl);
            self.keep(ttl);
        }
        self.settle();
    }

    /// Renews a lease in the lock word. False: the full state is needed, or there is no such lease.
    fn renew_alone(&mut self, ticket: Ticket, ttl: u64, epoch: u64) -> bool {
        let Some(held) = self.sole() else {
            return false;
        };
        if !held.granted.tickets.contains(ticket) || epoch < held.epoch {
            return true;
        }
        let mut end = self.after(ttl);
        if epoch == held.epoch {
            end = end.max(held.end);
        }
        if self.state.last > end.0 {
            return false;
        }
        self.state.span = self.state.span.max(ttl);
        self.state.expires = end.0 / 1000;
        self.put(held.granted, epoch, end);
        true
    }

    /// Releases a lock whose word has not changed since the grant. The floor for tokens stays until the clock has passed the floor.
    fn release_untouched(&mut self, untouched: Untouched) -> bool {
        let grant = self.state.grants.get(&Holder::Session(self.session));
        let is_same = self.state.form == Form::Sole
            && self.state.span == millis(untouched.ttl)
            && grant.is_some_and(|held| held.granted == untouched.granted && held.epoch == 0);
        if is_same {
            let last = self.state.last;
            self.found = true;
            self.state = State {
                last,
                expires: last / 1000,
                ..State::NONE
            };
        }
        is_same
    }

    fn release(&mut self, tickets: Tickets, keep_out: u64) {
        if self.state.form == Form::Free {
            return;
        }
        if let Some(held) = self.sole()
            && keep_out == 0
        {
            let granted = held.granted;
            self.found = starts(tickets, granted.tickets);
            if self.found && tickets.to >= granted.tickets.to {
                self.close();
            } else if self.found {
                let rest = without(granted, tickets.to.next());
                self.state.expires = held.end.0 / 1000;
                self.put(rest, held.epoch, held.end);
            }
            return;
        }
        if self.state.form == Form::Sole && self.sole().is_none() {
            return;
        }
        self.open();
        self.repair();
        let holder = Holder::Session(self.session);
        if let Some(held) = self.mine()
            && starts(tickets, held.granted.tickets)
        {
            self.found = true;
            let granted = held.granted;
            if tickets.to >= granted.tickets.to {
                self.state.grants.remove(&holder);
            } else {
                let rest = without(granted, tickets.to.next());
                self.put(rest, held.epoch, held.end);
            }
            if keep_out > 0 {
                self.keep_out(held, keep_out);
            }
        }
        let before = self.state.queue.len();
        self.state.queue.retain_mut(|range| {
            let is_named = range.session == self.session && range.tickets.from >= tickets.from;
            if is_named && range.tickets.to > tickets.to && range.tickets.from <= tickets.to {
                range.tickets.from = tickets.to.next();
            }
            !(is_named && range.tickets.to <= tickets.to)
        });
        self.found |= self.state.queue.len() < before;
        self.forget_waiters();
        self.serve();
        self.tell_head();
        self.settle();
    }

    /// If only a `min_hold` keeps out the head of the queue, no release will come: tells the head when the `min_hold` ends.
    fn tell_head(&mut self) {
        let mut holders = self.state.grants.keys();
        if holders.any(|holder| matches!(holder, Holder::Session(_))) {
            return;
        }
        let Some(head) = self.state.queue.first() else {
            return;
        };
        let waiting = self.state.waiters.get(&head.session);
        if head.session != self.session
            && waiting.is_some_and(|waiting| waiting.pushes != Pushes::None)
        {
            (self.publish)(head.session, self.lock, Push::Sooner);
        }
    }

    fn keep_out(&mut self, held: Held, ms: u64) {
        // Nobody gives this back, so nobody cuts the rest of the state's time either.
        self.most_spare = 1000;
        let end = self.after(ms);
        let holder = Holder::KeptOut(self.session);
        let before = self.state.grants.get(&holder).map(|held| held.end);
        let end = before.map_or(end, |before| before.max(end));
        self.state.grants.insert(holder, Held { end, ..held });
        self.state.span = self.state.span.max(ms);
        self.keep(ms);
    }

    /// Tickets below this one are done.
    fn done_below(&mut self, first: Ticket) {
        if let Some(held) = self.mine() {
            let tickets = held.granted.tickets;
            if tickets.to < first {
                self.state.grants.remove(&Holder::Session(self.session));
            } else if tickets.from < first {
                self.put(without(held.granted, first), held.epoch, held.end);
            }
        }
        self.state.queue.retain_mut(|range| {
            let is_mine = range.session == self.session;
            if is_mine && range.tickets.to >= first {
                range.tickets.from = range.tickets.from.max(first);
            }
            !is_mine || range.tickets.to >= first
        });
        self.forget_waiters();
    }

    /// Gives the lock to the head of the queue, and to all ranges behind that may hold beside the head. A session that does not
    /// hear the push keeps its place, and is passed over.
    fn serve(&mut self) {
        let mut passed_over = 0;
        for _ in 0..BATCH {
            let Some(head) = self.state.queue.get(passed_over).copied() else {
                return;
            };
            let Some(waiting) = self.state.waiters.get(&head.session).copied() else {
                self.state.queue.remove(passed_over);
                continue;
            };
            if !self.fits(head.mode) {
                return;
            }
            let mine = self
                .state
                .grants
                .get(&Holder::Session(head.session))
                .copied();
            let before = mine.map(|mine| mine.granted);
            let held = Held {
                granted: self.granted(head.mode, head.tickets, before),
                epoch: mine.map_or(0, |mine| mine.epoch),
                end: mine.map_or(waiting.end, |mine| mine.end.max(waiting.end)),
            };
            if head.session != self.session && waiting.pushes != Pushes::None {
                let push = Push::Granted(held.granted);
                let heard = (self.publish)(head.session, self.lock, push);
                if heard == 0 && waiting.pushes == Pushes::Counted {
                    passed_over += 1;
                    continue;
                }
            }
            self.state.queue.remove(passed_over);
            self.state.last = held.granted.last_token();
            self.state
                .grants
                .insert(Holder::Session(head.session), held);
            self.forget_waiters();
        }
        self.more = true;
    }

    fn fits(&self, mode: Mode) -> bool {
        let mut holders = self.state.grants.values();
        holders.all(|held| mode == Mode::Read && held.granted.mode == Mode::Read)
    }

    /// Replaces the word by the full state.
    fn open(&mut self) {
        if self.state.form == Form::Full {
            return;
        }
        let furthest = self.after(self.state.span);
        for held in self.state.grants.values_mut() {
            held.end = held.end.min(furthest);
        }
        let ends = self.state.grants.values().map(|held| held.end);
        let left = ends.map(|end| millis(end.since(self.now))).max();
        self.state.form = Form::Full;
        self.state.expires = self.now.0 / 1000 + left.unwrap_or(0) + 2;
    }

    /// Ends the leases that are over. Cuts leases that are longer than the longest lease: the clock was set back.
    fn repair(&mut self) {
        let now = self.now;
        let furthest = self.after(self.state.span);
        self.state.grants.retain(|_, held| {
            held.end = held.end.min(furthest);
            held.end > now
        });
        self.state.waiters.retain(|_, waiting| {
            waiting.end = waiting.end.min(furthest);
            waiting.end > now
        });
        let waiters = &self.state.waiters;
        self.state
            .queue
            .retain(|range| waiters.contains_key(&range.session));
    }

    /// Begins this session's waiter lease anew, if the session has a place in the queue.
    fn stay_alive(&mut self) {
        let mut queue = self.state.queue.iter();
        if queue.any(|range| range.session == self.session) {
            let lease = millis(WAITER_LEASE);
            let waiting = Waiting {
                end: self.after(lease),
                pushes: self.pushes,
            };
            self.state.waiters.insert(self.session, waiting);
            self.state.span = self.state.span.max(lease);
            self.keep(lease);
        }
    }

    /// Removes the waiter leases of sessions without a place in the queue.
    fn forget_waiters(&mut self) {
        let queue = &self.state.queue;
        self.state
            .waiters
            .retain(|session, _| queue.iter().any(|range| range.session == *session));
    }

    /// Keeps the state for as long as a session may rely on it, and not much longer.
    fn settle(&mut self) {
        if self.state.grants.is_empty() && self.state.queue.is_empty() {
            return self.close();
        }
        let grants = self.state.grants.values().map(|held| held.end.0);
        let waiters = self.state.waiters.values().map(|waiting| waiting.end.0);
        let latest = grants.chain(waiters).chain([self.state.last]).max();
        let left = latest
            .unwrap_or(0)
            .saturating_sub(self.now.0)
            .div_ceil(1000);
        let expires = self.now.0 / 1000 + left + 2;
        if self.state.expires > expires + self.most_spare {
            self.state.expires = expires;
        } else {
            self.keep(0);
        }
    }

    /// No session holds the lock or waits.
    fn close(&mut self) {
        let last = self.state.last;
        let ahead = last.saturating_sub(self.now.0).div_ceil(1000);
        self.state = State {
            last,
            expires: self.now.0 / 1000 + ahead + 2,
            ..State::NONE
        };
    }

    /// Keeps the state for at least this long, and for as long as the clock could show less than the last token.
    fn keep(&mut self, ms: u64) {
        let ahead = self.state.last.saturating_sub(self.now.0).div_ceil(1000);
        let expires = self.now.0 / 1000 + ms.max(ahead) + 2;
        self.state.expires = self.state.expires.max(expires);
    }

    fn put(&mut self, granted: Granted, epoch: u64, end: ServerTime) {
        let held = Held {
            granted,
            epoch,
            end,
        };
        let holder = Holder::Session(self.session);
        self.state.grants.insert(holder, held);
    }

    fn mine(&self) -> Option<Held> {
        let holder = Holder::Session(self.session);
        self.state.grants.get(&holder).copied()
    }

    fn after(&self, ms: u64) -> ServerTime {
        self.now + Duration::from_millis(ms)
    }

    fn view(&self, is_late: bool) -> View {
        let mut view = View {
            now: Some(self.now),
            is_late,
            found: self.found,
            grant: None,
            queued: Vec::new(),
            place: 0,
            others_left: Duration::ZERO,
            more: self.more,
        };
        if is_late {
            return view;
        }
        let furthest = self.after(self.state.span);
        for (holder, held) in &self.state.grants {
            let left = held.end.min(furthest).since(self.now);
            let left = Duration::from_millis(millis(left));
            if left.is_zero() {
                continue;
            }
            if *holder == Holder::Session(self.session) {
                view.grant = Some(GrantView {
                    granted: held.granted,
                    left,
                    epoch: held.epoch,
                });
            } else {
                view.others_left = view.others_left.max(left);
            }
        }
        for (place, range) in self.state.queue.iter().enumerate() {
            if range.session == self.session {
                if view.queued.is_empty() {
                    view.place = u64::try_from(place).unwrap_or(u64::MAX);
                }
                view.queued.push((range.mode, range.tickets));
            }
        }
        view
    }
}

/// Whether these tickets are the first tickets of a grant, or all.
fn starts(tickets: Tickets, grant: Tickets) -> bool {
    tickets.from <= grant.from && tickets.to >= grant.from
}

/// The rest of a grant when the tickets below `first` are done.
fn without(granted: Granted, first: Ticket) -> Granted {
    Granted {
        token: granted.origin() + first.0,
        tickets: Tickets {
            from: first,
            to: granted.tickets.to,
        },
        ..granted
    }
}
