//! Measures redis-lock, its peers and its own promises. Started by scripts/bench:
//!
//! `bench run URL DATE FOLDER full|quick [ITEM...]` measures all items, or those that are named, with the server at URL,
//! which must be for it alone, and writes `BENCHMARKS.md` and the plots into FOLDER. `NETWORK_URL` in the environment leads to
//! another server, behind a link with a delay.
//!
//! `bench worker URL JOB...` is what it starts itself as other processes.

mod bare;
mod baton;
mod clock;
mod contender;
mod cost;
mod effort;
mod fairness;
mod fleet;
mod free;
mod handover;
mod held;
mod idle;
mod job;
mod network;
mod plot;
mod readers;
mod report;
mod rhythm;
mod scene;
mod server;
mod setup;
mod stats;
mod turn;
mod wakeup;
mod worker;

use std::{fs, path::Path, time::Instant};

use crate::{effort::Effort, job::Job, report::Section, server::Server, worker::work};

/// In the order of the report.
const ITEMS: [&str; 9] = [
    "free", "network", "cost", "handover", "wakeup", "fairness", "readers", "idle", "held",
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let short: Vec<&str> = words.iter().map(String::as_str).collect();
    match short[..] {
        ["worker", url, ..] => work(url, Job::from_words(&words[2..])),
        ["run", url, date, folder, effort, ref items @ ..] => {
            let effort = match effort {
                "full" => Effort::Full,
                "quick" => Effort::Quick,
                _ => panic!("full or quick"),
            };
            let unknown = items.iter().find(|item| !ITEMS.contains(item));
            assert!(
                unknown.is_none(),
                "no such item: {unknown:?}; there are {ITEMS:?}"
            );
            let items = if items.is_empty() { &ITEMS } else { items };
            run(url, date, Path::new(folder), effort, items);
        }
        _ => panic!("bench run URL DATE FOLDER full|quick [ITEM...]"),
    }
}

fn run(url: &str, date: &str, folder: &Path, effort: Effort, items: &[&str]) {
    let mut server = Server::new(url);
    let mut sections = Vec::new();
    for item in ITEMS {
        if items.contains(&item) {
            let started = Instant::now();
            sections.extend(measure(item, &mut server, effort));
            eprintln!(
                "measured {item} in {:.0} s",
                started.elapsed().as_secs_f64()
            );
        }
    }
    let text = report::document(&setup::preface(&mut server, date), &sections);
    fs::write(folder.join("BENCHMARKS.md"), text).expect("the folder can be written to");
    let plots = folder.join("benches/plots");
    fs::create_dir_all(&plots).expect("the folder can be written to");
    for plot in sections.iter().flat_map(|section| &section.plots) {
        let file = plots.join(plot.name).with_extension("svg");
        fs::write(file, &plot.svg).expect("the folder can be written to");
    }
}

fn measure(item: &str, server: &mut Server, effort: Effort) -> Vec<Section> {
    match item {
        "free" => vec![free::measure(server, effort)],
        "network" => {
            let url = std::env::var("NETWORK_URL").ok();
            vec![network::measure(url.as_deref(), effort)]
        }
        "cost" => vec![cost::measure(server, effort)],
        "handover" => handover::measure(server, effort),
        "wakeup" => vec![wakeup::measure(server, effort)],
        "fairness" => vec![fairness::measure(server, effort)],
        "readers" => vec![readers::measure(server, effort)],
        "idle" => vec![idle::measure(server, effort)],
        "held" => vec![held::measure(server, effort)],
        _ => unreachable!("it is one of the items"),
    }
}
