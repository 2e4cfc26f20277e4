//! A reader of the log events of this process, for tests about what is logged.

use std::fmt::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Keeps each event as a line, with the text of its fields as it came.
#[derive(Clone, Default)]
pub(crate) struct Reader(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    is_blocked: bool,
    /// Threads that stand still in here.
    stuck: usize,
}

impl Reader {
    /// Reads the events of all threads. `None`: another test of this process does, which happens under `cargo test`.
    pub(crate) fn start() -> Option<Self> {
        let reader = Self::default();
        tracing::subscriber::set_global_default(reader.clone()).ok()?;
        Some(reader)
    }

    /// From now on it reads nothing, as one that writes to a pipe that is full.
    pub(crate) fn block(&self) {
        self.state().is_blocked = true;
    }

    /// Ends [`block`](Self::block).
    pub(crate) fn unblock(&self) {
        self.state().is_blocked = false;
        self.0.opened.notify_all();
    }

    /// How many threads have an event to tell and cannot.
    pub(crate) fn stuck(&self) -> usize {
        self.state().stuck
    }

    /// The lines that hold all of these texts.
    pub(crate) fn with(&self, texts: &[&str]) -> Vec<String> {
        let state = self.state();
        let has_all = |line: &&String| texts.iter().all(|text| line.contains(text));
        state.lines.iter().filter(has_all).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Reader {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("redis_lock")
    }

    fn event(&self, event: &Event<'_>) {
        struct Line(String);

        impl Visit for Line {
            fn record_str(&mut self, field: &Field, value: &str) {
                write!(self.0, " {field}={value}").expect("a string grows");
            }

            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, " {field}={value:?}").expect("a string grows");
            }
        }

        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        let mut state = self.state();
        state.stuck += 1;
        while state.is_blocked {
            state = self
                .0
                .opened
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.stuck -= 1;
        state.lines.push(line.0);
        drop(state);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
