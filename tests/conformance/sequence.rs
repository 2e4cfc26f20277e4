//! One random sequence of commands.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use crate::{
    core::io::{Command, Untouched, View, Want},
    memory_store::{Form, Holder, Memory, State},
    random::Random,
    real::Real,
    values::{
        mode::Mode,
        session::{Pushes, SessionId},
        ticket::{Ticket, Tickets},
        time::ServerTime,
    },
};

const LOCK: &str = "{l}:word";
const STEPS: u64 = 25;
/// 2026.
const START: u64 = 1_790_000_000;

/// What happened, to see that the sequences are worth it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    late: u64,
    alone: u64,
    queued: u64,
    granted: u64,
    grown: u64,
    busy: u64,
    renewed: u64,
    handed_over: u64,
    kept_out: u64,
    unheard: u64,
    died: u64,
    clock_back: u64,
}

impl Seen {
    #[cfg(test)]
    pub(crate) fn all(&self) -> bool {
        [
            self.late,
            self.alone,
            self.queued,
            self.granted,
            self.grown,
            self.busy,
            self.renewed,
            self.handed_over,
            self.kept_out,
            self.unheard,
            self.died,
            self.clock_back,
        ]
        .into_iter()
        .all(|count| count > 0)
    }
}

struct Session {
    id: SessionId,
    pushes: Pushes,
    next: u64,
    epoch: u64,
    view: Option<View>,
    untouched: Option<Untouched>,
}

pub(crate) struct Sequence {
    random: Random,
    now: u64,
    sessions: Vec<Session>,
    memory: Memory,
    story: String,
}

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let sessions = (1..=2 + random.below(3))
            .map(|id| Session {
                id: SessionId(u128::from(id)),
                // Nobody subscribes to these channels: who is counted is deaf.
                pushes: random.pick(&[
                    Pushes::None,
                    Pushes::Uncounted,
                    Pushes::Uncounted,
                    Pushes::Counted,
                ]),
                next: 1,
                epoch: 0,
                view: None,
                untouched: None,
            })
            .collect();
        Sequence {
            random,
            now: START,
            sessions,
            memory: Memory::default(),
            story: String::new(),
        }
    }

    pub(crate) async fn compare(mut self, real: &mut Real, seen: &mut Seen) -> Result<(), String> {
        real.flush().await;
        real.stop_clock(self.now);
        for _ in 0..STEPS {
            if self.random.one_in(3) {
                let (back, by) = (
                    self.random.one_in(12),
                    self.random.pick(&[1, 1, 2, 3, 5, 12]),
                );
                seen.clock_back += u64::from(back);
                self.now = if back {
                    self.now - by * 3
                } else {
                    self.now + by
                };
                real.stop_clock(self.now);
                let _ = writeln!(
                    self.story,
                    "the clock is set to +{}",
                    self.now.cast_signed() - START.cast_signed()
                );
            }
            let place = usize::try_from(self.random.below(self.sessions.len() as u64)).unwrap_or(0);
            let command = self.command(place);
            let Session { id, pushes, .. } = self.sessions[place];
            let before = self.memory.state(LOCK).cloned();
            let mut unheard = 0;
            let now = ServerTime(self.now * 1_000_000);
            let expected = self
                .memory
                .execute(now, id, pushes, LOCK, &command, &mut |_, _, _| {
                    unheard += 1;
                    0
                });
            let (view, redis) = real.execute(id, pushes, &command).await;
            let _ = writeln!(
                self.story,
                "{id:?} {pushes:?} {command:?}\n  memory {expected:?}\n  redis  {view:?}"
            );
            let is_same = View {
                now: None,
                ..expected.clone()
            } == View {
                now: None,
                ..view.clone()
            };
            if !is_same {
                return Err(format!("the views differ\n{}", self.story));
            }
            let state = self.memory.state(LOCK);
            note(seen, &command, &view, before.as_ref(), state, unheard);
            let memory = dump(state, self.now);
            if memory != redis {
                return Err(format!(
                    "the states differ\n{}memory {memory:#?}\nredis {redis:#?}",
                    self.story
                ));
            }
            let session = &mut self.sessions[place];
            session.untouched = match (&command, &view.grant) {
                (Command::Acquire { ttl, .. }, Some(grant)) if grant.epoch == 0 => {
                    Some(Untouched {
                        granted: grant.granted,
                        ttl: *ttl,
                    })
                }
                _ => session.untouched,
            };
            session.view = Some(view);
        }
        Ok(())
    }

    fn command(&mut self, place: usize) -> Command {
        let Sequence {
            random,
            sessions,
            now,
            ..
        } = self;
        let session = &mut sessions[place];
        let known = session.view.as_ref().map(|view| {
            let grant = view.grant.as_ref().map(|grant| grant.granted.tickets);
            let mut all: Vec<Tickets> = grant.into_iter().collect();
            all.extend(view.queued.iter().map(|(_, tickets)| *tickets));
            all
        });
        let known = known.unwrap_or_default();
        let any = |random: &mut Random, next: u64| {
            if known.is_empty() || random.one_in(5) {
                let from = 1 + random.below(next);
                Tickets {
                    from: Ticket(from),
                    to: Ticket(from + random.below(3)),
                }
            } else {
                random.pick(&known)
            }
        };
        let ttl = Duration::from_secs(random.pick(&[1, 2, 4, 9, 30]));
        let first = known.first().map_or(session.next, |tickets| tickets.from.0);
        let done_below = Ticket(match random.below(8) {
            0 => session.next,
            1 => first + 1,
            _ => first.min(session.next),
        });
        match random.below(10) {
            0..=3 => {
                // Mostly new tickets; sometimes those that were asked for before.
                let mut next = if random.one_in(4) {
                    session.next.saturating_sub(2).max(1)
                } else {
                    session.next
                };
                let mut wants: Vec<Want> = Vec::new();
                for _ in 0..random.pick(&[1, 1, 1, 2, 3]) {
                    let from = next;
                    let to = from + random.pick(&[0, 0, 1, 3]);
                    next = to + 1;
                    wants.push(Want {
                        mode: random.pick(&[Mode::Read, Mode::Write]),
                        tickets: Tickets {
                            from: Ticket(from),
                            to: Ticket(to),
                        },
                        is_try: random.one_in(4),
                    });
                }
                session.next = session.next.max(next);
                let late = random.one_in(12);
                Command::Acquire {
                    wants,
                    done_below,
                    ttl,
                    not_after: Some(ServerTime(
                        if late { *now - 1 } else { *now + 1 } * 1_000_000,
                    )),
                }
            }
            4 | 5 => Command::Heartbeat {
                done_below,
                keeps_grant: !random.one_in(4),
            },
            6 | 7 => {
                if random.one_in(2) {
                    session.epoch += 1;
                }
                Command::Renew {
                    // Sometimes one that nobody has been granted.
                    ticket: if random.one_in(6) {
                        Ticket(session.next)
                    } else {
                        any(random, session.next).from
                    },
                    ttl,
                    epoch: if random.one_in(4) {
                        random.below(3)
                    } else {
                        session.epoch
                    },
                }
            }
            _ => Command::Release {
                tickets: any(random, session.next),
                keep_out: if random.one_in(3) {
                    ttl
                } else {
                    Duration::ZERO
                },
                untouched: None,
            },
        }
        .with_untouched(session.untouched)
    }
}

impl Command {
    /// A release of exactly what was granted may say what the word was.
    fn with_untouched(self, untouched: Option<Untouched>) -> Self {
        match self {
            Command::Release {
                tickets,
                keep_out,
                untouched: _,
            } if keep_out.is_zero() => Command::Release {
                tickets,
                keep_out,
                untouched: untouched.filter(|untouched| untouched.granted.tickets == tickets),
            },
            other => other,
        }
    }
}

fn note(
    seen: &mut Seen,
    command: &Command,
    view: &View,
    before: Option<&State>,
    after: Option<&State>,
    unheard: u64,
) {
    let count = |state: Option<&State>| state.map_or(0, |state| state.grants.len());
    seen.late += u64::from(view.is_late);
    seen.alone += u64::from(after.is_some_and(|state| state.form == Form::Sole));
    seen.queued += u64::from(!view.queued.is_empty());
    seen.unheard += unheard;
    seen.kept_out += u64::from(after.is_some_and(|state| {
        state
            .grants
            .keys()
            .any(|holder| matches!(holder, Holder::KeptOut(_)))
    }));
    match command {
        Command::Acquire { wants, .. } => {
            seen.granted += u64::from(view.grant.is_some());
            let grows = view.grant.is_some_and(|grant| {
                let tickets = grant.granted.tickets;
                tickets.to.0 - tickets.from.0 > 3
            });
            seen.grown += u64::from(grows);
            let is_nothing = view.grant.is_none() && view.queued.is_empty() && !view.is_late;
            seen.busy += u64::from(is_nothing && wants.iter().any(|want| want.is_try));
        }
        Command::Renew { epoch, .. } => {
            seen.renewed += u64::from(view.grant.is_some_and(|grant| grant.epoch == *epoch));
        }
        Command::Release { .. } => {
            seen.handed_over += u64::from(view.found && count(after) > 0);
        }
        Command::Heartbeat { .. } => seen.died += u64::from(count(after) < count(before)),
    }
}

/// What Redis should have.
fn dump(state: Option<&State>, second: u64) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(state) = state else {
        return all;
    };
    all.insert(
        "ttl".to_owned(),
        (state.expires - second * 1000).to_string(),
    );
    let pushes = |pushes: Pushes| match pushes {
        Pushes::None => "-",
        Pushes::Counted => "p",
        Pushes::Uncounted => "c",
    };
    let name = |holder: &Holder| match holder {
        Holder::Session(id) => id.to_string(),
        Holder::KeptOut(id) => format!("!{id}"),
    };
    match state.form {
        Form::Free => {
            all.insert("word".to_owned(), format!("free {}", state.last));
            return all;
        }
        Form::Sole => {
            for (holder, held) in &state.grants {
                let word = format!(
                    "{} {}~{} {} *",
                    name(holder),
                    held.granted,
                    held.epoch,
                    state.span
                );
                all.insert("word".to_owned(), word);
            }
            return all;
        }
        Form::Full => {}
    }
    let mut ends: Vec<_> = state
        .grants
        .iter()
        .map(|(holder, held)| (held.end, name(holder)))
        .collect();
    ends.sort();
    let show = |ends: Vec<(ServerTime, String)>| {
        ends.into_iter()
            .fold(String::new(), |mut text, (end, name)| {
                let _ = write!(text, "{name}={} ", end.0);
                text
            })
    };
    all.insert("grants".to_owned(), show(ends));
    let mut ends: Vec<_> = state
        .waiters
        .iter()
        .map(|(id, waiting)| (waiting.end, id.to_string()))
        .collect();
    ends.sort();
    all.insert("waiters".to_owned(), show(ends));
    let queue = state.queue.iter().fold(String::new(), |mut text, range| {
        let _ = write!(text, "{} {}=0 ", range.session, range.tickets.from.0);
        text
    });
    all.insert("queue".to_owned(), queue);
    all.insert("record last".to_owned(), state.last.to_string());
    all.insert("record span".to_owned(), state.span.to_string());
    let mut records: BTreeMap<SessionId, String> = BTreeMap::new();
    for (holder, held) in &state.grants {
        if let Holder::Session(id) = holder {
            // How a session hears matters only while it waits.
            let pushes = state
                .waiters
                .get(id)
                .map_or("*", |waiting| pushes(waiting.pushes));
            records.insert(*id, format!("{pushes} {}~{}", held.granted, held.epoch));
        }
    }
    for range in &state.queue {
        let waiting = state.waiters.get(&range.session);
        let record = records.entry(range.session).or_insert_with(|| {
            waiting
                .map_or("?", |waiting| pushes(waiting.pushes))
                .to_owned()
        });
        let _ = write!(record, " {}{}", range.mode.letter(), range.tickets);
    }
    for (id, record) in records {
        all.insert(format!("record {id}"), record);
    }
    all
}
