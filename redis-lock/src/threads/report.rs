//! Log events, emitted by the thread `redis-lock-log`.
//!
//! A `tracing` subscriber is code of the user. A subscriber that writes to a full pipe blocks, and must delay log lines
//! only. So the code that reports an event does not emit the event: renewals, releases and users' tasks go on, and the thread
//! emits the events in order. When 1,000 events wait, further events are dropped and counted.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tracing::{Level, Span, dispatcher, level_filters::LevelFilter};

/// How many events may wait to be emitted.
const LONGEST: usize = 1000;

type Event = Box<dyn FnOnce() + Send>;

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    events: VecDeque::new(),
    dropped: 0,
    has_thread: false,
});
static MORE: Condvar = Condvar::new();

struct Queue {
    events: VecDeque<Event>,
    /// How many events were dropped since the last event that waits.
    dropped: u64,
    has_thread: bool,
}

/// Reports an event to the subscriber and in the span of the caller. `emit` is called later, in the log thread. If no subscriber
/// wants events of this level, the call costs a comparison of two numbers.
pub(crate) fn report(level: Level, emit: impl FnOnce() + Send + 'static) {
    if level > LevelFilter::current() {
        return;
    }
    let subscriber = dispatcher::get_default(Clone::clone);
    let span = Span::current();
    let event = move || dispatcher::with_default(&subscriber, || span.in_scope(emit));
    let mut queue = queue();
    if queue.events.len() == LONGEST {
        queue.dropped += 1;
        return;
    }
    queue.events.push_back(Box::new(event));
    if !queue.has_thread {
        let thread = thread::Builder::new().name("redis-lock-log".to_owned());
        // If the thread cannot be started, the events wait for the next call.
        queue.has_thread = thread.spawn(emit_all).is_ok();
    }
    drop(queue);
    MORE.notify_one();
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn emit_all() {
    loop {
        let mut queue = queue();
        while queue.events.is_empty() {
            queue = MORE.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let events = std::mem::take(&mut queue.events);
        let dropped = std::mem::take(&mut queue.dropped);
        drop(queue);
        for event in events {
            // A subscriber that panics loses this event only.
            let _panicked = catch_unwind(AssertUnwindSafe(event));
        }
        if dropped > 0 {
            let _panicked = catch_unwind(|| {
                tracing::warn!(
                    dropped,
                    "log events of redis-lock were dropped, since what reads them is slow"
                );
            });
        }
    }
}
