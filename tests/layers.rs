//! The layers of the library: a file imports from its own layer and from those below, and the lowest need no other crate.

use std::{fs, path::Path};

/// From top to bottom. Above them all is what has no folder: `lib.rs` with all it re-exports, and `macro_support.rs`.
const LAYERS: [&str; 7] = [
    "api", "engine", "store", "link", "threads", "core", "values",
];

/// The simulator compiles these, and has no dependencies.
const PURE: [&str; 3] = ["core/", "values/", "store/memory.rs"];

/// Crates that bring sockets, clocks, tasks, random numbers, or what is global.
const IMPURE: [&str; 5] = ["tokio", "redis", "tracing", "once_cell", "rand"];

#[test]
fn each_file_imports_only_from_its_own_layer_and_from_those_below() {
    let mut imports = 0;
    let mut faults = Vec::new();
    for (file, code) in sources() {
        let own = file.split('/').next().unwrap_or_default();
        for (line, from) in imports_of(&code) {
            imports += 1;
            if layer(from) < layer(own) {
                faults.push(format!("{file}:{line}: `{own}` uses `crate::{from}`"));
            }
        }
    }
    assert!(imports > 100, "only {imports} imports were found");
    assert!(faults.is_empty(), "upwards:\n{}", faults.join("\n"));
}

#[test]
fn core_values_and_the_store_in_memory_need_no_other_crate() {
    let mut faults = Vec::new();
    for (file, code) in sources() {
        if PURE.iter().any(|pure| file.starts_with(pure)) {
            for (number, line) in (1..).zip(code.lines()) {
                let crates = line.split(|char| !is_of_name(char));
                for found in crates.filter(|word| IMPURE.contains(word)) {
                    faults.push(format!("{file}:{number}: `{found}`"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "not pure:\n{}", faults.join("\n"));
}

/// `None`, which is less than all others, is above all layers.
fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

/// All files, by their paths in `src`, and without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../redis-lock/src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a file of text");
                let code: Vec<_> = text.lines().map(without_comment).collect();
                let name = path.strip_prefix(&root).expect("a path below");
                sources.push((name.display().to_string(), code.join("\n")));
            }
        }
    }
    sources
}

/// Cuts the end of a URL in a string off as well, which does no harm here.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// The first name of each path behind `crate::`, and the line that it is in.
fn imports_of(code: &str) -> Vec<(usize, &str)> {
    let mut imports = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        for start in starts(code, at + found.len()) {
            let path = code[start..].trim_start();
            let from = path.split(|char| !is_of_name(char)).next();
            let line = code[..code.len() - path.len()].lines().count();
            imports.extend(
                from.filter(|name| !name.is_empty())
                    .map(|name| (line, name)),
            );
        }
    }
    imports
}

/// Where paths begin: right there, or, if a brace is there, behind it and behind each comma that is in no inner braces.
fn starts(code: &str, at: usize) -> Vec<usize> {
    if !code[at..].starts_with('{') {
        return vec![at];
    }
    let mut starts = Vec::new();
    let mut depth = 0;
    for (offset, char) in code[at..].char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match (char, depth) {
            (_, 0) => break,
            ('{' | ',', 1) => starts.push(at + offset + 1),
            _ => {}
        }
    }
    starts
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
