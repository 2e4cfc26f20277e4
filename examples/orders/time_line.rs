//! Who held what, from when to when: printed for people, and checked.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::worker::{Event, STEPS, TTL, now};

/// The width of the picture, in characters.
const WIDTH: u64 = 48;

/// All holds, of all processes.
#[derive(Default)]
pub(crate) struct TimeLine {
    holds: Vec<Hold>,
}

struct Hold {
    entry: Event,
    /// As in [`Event::at`]; nothing while it is held.
    left: Option<u64>,
    killed: bool,
}

impl TimeLine {
    /// Notes what a worker has said.
    pub(crate) fn add(&mut self, event: Event) {
        if event.enters {
            self.holds.push(Hold {
                entry: event,
                left: None,
                killed: false,
            });
        } else if let Some(hold) = self.open_hold_of(event.process) {
            hold.left = Some(event.at);
        }
    }

    /// Notes that a worker is dead now.
    pub(crate) fn kill(&mut self, process: u32) {
        if let Some(hold) = self.open_hold_of(process) {
            hold.left = Some(now());
            hold.killed = true;
        }
    }

    /// Checks everything that the locks promise; says in a sentence what was checked.
    pub(crate) fn check(&self) -> anyhow::Result<String> {
        let expected = 3 * STEPS + 1;
        ensure!(
            self.holds.len() as u64 == expected,
            "{} holds, not {expected}",
            self.holds.len()
        );
        let mut readers_met = false;
        for order in self.orders() {
            let holds = self.holds_of(order);
            for (index, second) in holds.iter().enumerate() {
                for first in &holds[..index] {
                    readers_met |= meet(first, second)?;
                }
            }
        }
        ensure!(readers_met, "no two readers held an order together");
        let pause = self
            .pause_after_kill()
            .context("nobody took over from the killed process")?;
        ensure!(
            pause < 3 * TTL,
            "the killed process blocked others for {pause:?}"
        );
        Ok(format!(
            "in {expected} holds no writer met anybody, readers shared, tokens rose, and what the killed process held \
             was taken over after {:.2} s (its lease: {} s)",
            pause.as_secs_f64(),
            TTL.as_secs(),
        ))
    }

    fn open_hold_of(&mut self, process: u32) -> Option<&mut Hold> {
        self.holds
            .iter_mut()
            .find(|hold| hold.entry.process == process && hold.left.is_none())
    }

    fn orders(&self) -> BTreeSet<u64> {
        self.holds.iter().map(|hold| hold.entry.order).collect()
    }

    /// In the order of their entry.
    fn holds_of(&self, order: u64) -> Vec<&Hold> {
        let mut holds: Vec<_> = self
            .holds
            .iter()
            .filter(|hold| hold.entry.order == order)
            .collect();
        holds.sort_by_key(|hold| hold.entry.at);
        holds
    }

    /// How long the killed process's order stood still.
    fn pause_after_kill(&self) -> Option<Duration> {
        let killed = self.holds.iter().find(|hold| hold.killed)?;
        let heir = self.holds.iter().find(|hold| self.takes_over(hold))?;
        Some(Duration::from_micros(heir.entry.at - killed.left?))
    }

    /// Whether this is the hold right after the one that was killed.
    fn takes_over(&self, hold: &Hold) -> bool {
        let holds = self.holds_of(hold.entry.order);
        holds
            .windows(2)
            .any(|pair| pair[0].killed && std::ptr::eq(pair[1], hold))
    }
}

/// Checks two holds of one order; says whether the second came in beside the first.
fn meet(first: &Hold, second: &Hold) -> anyhow::Result<bool> {
    let beside = second.entry.at < first.left.context("a worker never left")?;
    let exclude = first.entry.writes || second.entry.writes;
    ensure!(!(beside && exclude), "these overlap:\n{first}\n{second}");
    if let (false, Some(earlier), Some(later)) = (beside, first.entry.token, second.entry.token) {
        ensure!(
            earlier < later,
            "the token does not rise:\n{first}\n{second}"
        );
    }
    Ok(beside)
}

impl fmt::Display for TimeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self
            .holds
            .iter()
            .map(|hold| hold.entry.at)
            .min()
            .unwrap_or(0);
        let end = self
            .holds
            .iter()
            .filter_map(|hold| hold.left)
            .max()
            .unwrap_or(start);
        let seconds = |at: u64| Duration::from_micros(at.saturating_sub(start)).as_secs_f64();
        let column = |at: u64| {
            let column = at.saturating_sub(start) * WIDTH / (end - start).max(1);
            usize::try_from(column).unwrap_or(0)
        };
        for order in self.orders() {
            writeln!(
                f,
                "\norder {order}\n process  mode   token              from     to"
            )?;
            for hold in self.holds_of(order) {
                let (from, to) = (hold.entry.at, hold.left.unwrap_or(end));
                let before = column(from);
                let bar =
                    if hold.entry.writes { "█" } else { "░" }.repeat((column(to) - before).max(1));
                let remark = match hold {
                    _ if hold.killed => " killed",
                    _ if self.takes_over(hold) => " takes over",
                    _ => "",
                };
                writeln!(
                    f,
                    "{hold}  {:>5.2}  {:>5.2}  {:before$}{bar}{remark}",
                    seconds(from),
                    seconds(to),
                    ""
                )?;
            }
        }
        writeln!(
            f,
            "\n█ writes  ░ reads  (times in seconds; no token where the attribute holds the lock)"
        )
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.entry.writes { "write" } else { "read" };
        let token = self
            .entry
            .token
            .map_or("-".to_owned(), |token| token.to_string());
        write!(f, "{:>8}  {mode:<5}  {token:<16}", self.entry.process)
    }
}
