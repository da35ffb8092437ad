//! Layers point downwards: a module imports from its own layer and those below it.
//!
//! The layers are read from the comments in `lib.rs` (`// Layer 3: ..` stands above the `mod` lines of that layer), the imports from the sources: every
//! `crate::name` outside comments and strings. What a module re-exports at the root counts as that module's. Where the rule is broken on purpose
//! the pair stands in `KNOWN`, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Imports that point upwards: from, to, why. One that is no longer there must leave this list.
const KNOWN: &[(&str, &str, &str)] = &[
    ("task", "spawn", "the error of a refused allocation is the error of the spawn that asked for it"),
    ("sched", "spawn", "a runtime that closes refuses a submission with the error of its spawn"),
    ("sched", "cancel", "what parks asks first whether the task was cancelled"),
    ("rt", "spawn", "to run a closure on a runtime is to spawn it there"),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The layer of each module, and the module of each name re-exported at the root.
fn layers(lib: &str) -> (BTreeMap<String, u32>, BTreeMap<String, String>) {
    let mut layers = BTreeMap::new();
    let mut exports = BTreeMap::new();
    let mut layer = None;
    for line in lib.lines() {
        if let Some((number, _)) = line.strip_prefix("// Layer ").and_then(|rest| rest.split_once(':')) {
            layer = Some(number.parse().expect("a layer's number"));
        } else if let Some(module) = line.strip_prefix("mod ").or(line.strip_prefix("pub mod ")).and_then(|rest| rest.strip_suffix(';')) {
            layers.insert(module.to_owned(), layer.expect("every module stands under the comment of its layer"));
        } else if let Some((module, names)) = line.strip_prefix("pub use ").and_then(|rest| rest.split_once("::")) {
            for name in names.split(|c| !is_word(c)).filter(|name| !name.is_empty()) {
                exports.insert(name.to_owned(), module.to_owned());
            }
        }
    }
    (layers, exports)
}

/// The source without its comments and strings.
fn code(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or("").split('"').step_by(2).collect::<String>() + "\n").collect()
}

/// The first words of all paths that begin at the root of the crate.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c| is_word(c) || c == ':' || c == '$') {
            continue;
        }
        let path = &code[at + "crate::".len()..];
        assert!(!path.starts_with('{'), "name the module in each `use crate::` line");
        names.insert(path.chars().take_while(|&c| is_word(c)).collect());
    }
    names
}

#[test]
fn modules_import_from_below() {
    let root = source();
    let (layers, exports) = layers(&fs::read_to_string(root.join("lib.rs")).expect("lib.rs"));
    assert!(layers.len() > 10, "the layers were not found in lib.rs: {layers:?}");

    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut upwards = BTreeSet::new();
    for file in &files {
        let path = file.strip_prefix(&root).expect("below the root");
        let module = path.iter().next().expect("a name").to_str().expect("a plain name").trim_end_matches(".rs").to_owned();
        let is_test = path.file_stem().is_some_and(|stem| stem == "model" || stem.to_string_lossy().ends_with("tests"));
        if module == "lib" || is_test {
            continue;
        }
        let layer = layers[&module];
        for name in imports(&code(&fs::read_to_string(file).expect("a readable source"))) {
            let target = if layers.contains_key(&name) { &name } else { exports.get(&name).unwrap_or(&name) };
            match layers.get(target) {
                Some(&of_target) if of_target > layer => {
                    upwards.insert((module.clone(), target.clone()));
                }
                Some(_) => {}
                None => panic!("{}: `crate::{name}` is in no layer", path.display()),
            }
        }
    }

    let known: BTreeSet<_> = KNOWN.iter().map(|(from, to, _)| ((*from).to_owned(), (*to).to_owned())).collect();
    let new: Vec<_> = upwards.difference(&known).collect();
    assert!(new.is_empty(), "these import from a layer above their own: {new:?}");
    let gone: Vec<_> = known.difference(&upwards).collect();
    assert!(gone.is_empty(), "these exceptions are not needed any more: {gone:?}");
}
