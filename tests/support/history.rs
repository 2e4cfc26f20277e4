//! Who held what, from when to when: written down by many tasks, checked afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A record shared by all tasks of a test; clones write to the same one.
#[derive(Clone, Debug, Default)]
pub struct History {
    stays: Arc<Mutex<Vec<Record>>>,
}

/// One holder that is inside. Dropping it is leaving: let that happen **before** the lock is given back, and begin
/// it **after** the lock was taken, so that what overlaps here has overlapped in truth.
#[derive(Debug)]
#[must_use = "the stay ends when this is dropped"]
pub struct Stay {
    history: History,
    index: usize,
}

#[derive(Clone, Debug)]
struct Record {
    key: String,
    mode: Mode,
    token: u64,
    entered: Instant,
    /// `None` as long as the holder is inside.
    left: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Read,
    Write,
}

impl History {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader of `key` enters.
    pub fn read(&self, key: &str, token: u64) -> Stay {
        self.enter(key, Mode::Read, token)
    }

    /// A writer of `key` enters.
    pub fn write(&self, key: &str, token: u64) -> Stay {
        self.enter(key, Mode::Write, token)
    }

    /// How many have entered so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether nobody has entered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks all that was recorded.
    ///
    /// # Panics
    ///
    /// If [`fault`](Self::fault) finds one.
    pub fn check(&self) {
        if let Some(fault) = self.fault() {
            panic!("{fault}");
        }
    }

    /// The first thing that must not be, per key: a writer beside anybody else, a token that comes twice, or a holder
    /// whose token is not above that of everybody who had left before it entered. (Readers among themselves are not
    /// compared: of two that were let in together, one may come and go before the other has noticed.)
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let mut keys: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in self
            .stays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
        {
            keys.entry(record.key.clone()).or_default().push(record);
        }
        keys.into_values().find_map(|mut records| {
            records.sort_by_key(|record| record.entered);
            overlap(&records).or_else(|| falling_token(&records))
        })
    }

    fn enter(&self, key: &str, mode: Mode, token: u64) -> Stay {
        let mut stays = self.stays.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read under the mutex, so that the order of the records is that of their times.
        let record = Record {
            key: key.to_owned(),
            mode,
            token,
            entered: Instant::now(),
            left: None,
        };
        stays.push(record);
        Stay {
            history: self.clone(),
            index: stays.len() - 1,
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut stays = self
            .history
            .stays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        stays[self.index].left = Some(Instant::now());
    }
}

impl Record {
    fn is_inside_at(&self, instant: Instant) -> bool {
        self.left.is_none_or(|left| left > instant)
    }
}

/// Goes through the entries in order and compares each with the one before it that leaves last: among all, if a
/// writer enters, and among the writers, if a reader does.
fn overlap(records: &[Record]) -> Option<String> {
    let mut last_to_leave: Option<&Record> = None;
    let mut last_writer_to_leave: Option<&Record> = None;
    for record in records {
        let rival = if record.mode == Mode::Write {
            last_to_leave
        } else {
            last_writer_to_leave
        };
        if let Some(rival) = rival.filter(|rival| rival.is_inside_at(record.entered)) {
            return Some(format!("inside together: {rival:?} and {record:?}"));
        }
        last_to_leave = later(last_to_leave, record);
        if record.mode == Mode::Write {
            last_writer_to_leave = later(last_writer_to_leave, record);
        }
    }
    None
}

fn later<'a>(first: Option<&'a Record>, second: &'a Record) -> Option<&'a Record> {
    first
        .filter(|first| {
            first
                .left
                .is_none_or(|left| second.left.is_some_and(|other| left > other))
        })
        .or(Some(second))
}

/// Goes through the entries in order and, beside them, through the leavings.
fn falling_token(records: &[Record]) -> Option<String> {
    let mut by_leaving: Vec<&Record> = records
        .iter()
        .filter(|record| record.left.is_some())
        .collect();
    by_leaving.sort_by_key(|record| record.left);
    let mut leavings = by_leaving.into_iter().peekable();
    let mut highest: Option<&Record> = None;
    let mut highest_writer: Option<&Record> = None;
    let mut by_token = BTreeMap::new();
    for record in records {
        while let Some(gone) = leavings.next_if(|gone| !gone.is_inside_at(record.entered)) {
            highest = higher(highest, gone);
            if gone.mode == Mode::Write {
                highest_writer = higher(highest_writer, gone);
            }
        }
        let rival = if record.mode == Mode::Write {
            highest
        } else {
            highest_writer
        };
        let rival = rival.filter(|rival| rival.token >= record.token);
        if let Some(rival) = by_token.insert(record.token, record).or(rival) {
            return Some(format!(
                "a token that does not rise: {rival:?}, then {record:?}"
            ));
        }
    }
    None
}

fn higher<'a>(first: Option<&'a Record>, second: &'a Record) -> Option<&'a Record> {
    first
        .filter(|first| first.token > second.token)
        .or(Some(second))
}
