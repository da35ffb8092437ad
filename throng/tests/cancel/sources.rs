//! Reads the public API off the sources: which functions there are, what they return, what is written about them.
//!
//! It knows Rust as rustfmt leaves it: items begin at column 0, what is in a block of theirs at column 4. What it finds elsewhere and
//! cannot place is an error, not an omission.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A public function or method.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// `name`, or `Type::name`; of a macro that writes methods, `macro!::name`.
    pub(crate) name: String,
    pub(crate) doc: String,
    /// Everything up to the body, and before it the head of the block it stands in: for the bounds.
    pub(crate) signature: String,
    pub(crate) returns: String,
    pub(crate) at: String,
}

/// What the sources tell.
#[derive(Default, Debug)]
pub(crate) struct Api {
    pub(crate) functions: Vec<Function>,
    /// Macros, by their names with the `!`.
    pub(crate) macros: BTreeSet<String>,
    /// Attributes.
    pub(crate) attributes: BTreeSet<String>,
    /// The errors with a case for a cancelled caller.
    pub(crate) cancellable: BTreeSet<String>,
}

/// What a file says, by itself.
#[derive(Default)]
struct File {
    functions: Vec<Function>,
    exports: BTreeSet<String>,
    macros: BTreeSet<String>,
    attributes: BTreeSet<String>,
    cancellable: BTreeSet<String>,
    /// Names of other types, with what they stand for.
    aliases: BTreeMap<String, String>,
}

/// All files below `root`, by their paths, without those that hold tests only.
pub(crate) fn files(root: &Path) -> Vec<(String, String)> {
    fn collect(root: &Path, under: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(under).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !stem.ends_with("tests") && stem != "model" {
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a readable source")));
            }
        }
    }
    let mut found = Vec::new();
    collect(root, root, &mut found);
    found.sort();
    found
}

/// Reads them all.
pub(crate) fn api(files: &[(String, String)]) -> Api {
    let parsed: Vec<File> = files.iter().map(|(name, text)| File::parse(name, text)).collect();
    let mut api = Api::default();
    let mut exports = BTreeSet::new();
    let mut aliases = BTreeMap::new();
    for file in &parsed {
        exports.extend(file.exports.iter().cloned());
        api.macros.extend(file.macros.iter().cloned());
        api.attributes.extend(file.attributes.iter().cloned());
        api.cancellable.extend(file.cancellable.iter().cloned());
        aliases.extend(file.aliases.iter().map(|(alias, meaning)| (alias.clone(), meaning.clone())));
    }
    // Aliases may stand for each other.
    for _ in 0..=aliases.len() {
        for (alias, meaning) in &aliases {
            if words(meaning).any(|word| api.cancellable.contains(word)) {
                api.cancellable.insert(alias.clone());
            }
        }
    }
    for file in parsed {
        let owner = |function: &Function| function.name.split("::").next().unwrap_or_default().to_owned();
        let is_public = |function: &Function| exports.contains(&owner(function)) || function.name.contains('!');
        api.functions.extend(file.functions.into_iter().filter(is_public));
    }
    api
}

/// A block at column 0.
#[derive(Clone, PartialEq, Debug)]
enum Block {
    /// Nothing in it is ours.
    Skipped,
    /// Functions in it are the type's.
    Type {
        name: String,
        head: String,
        /// Without `pub`, since the trait says so.
        all: bool,
    },
}

impl File {
    fn parse(file: &str, text: &str) -> File {
        let mut found = File::default();
        found.exports = exports(file, text, &mut found.macros, &mut found.attributes);
        let lines: Vec<&str> = text.lines().collect();
        let (mut doc, mut hidden) = (String::new(), false);
        let mut block: Option<Block> = None;
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let (code, indent) = (line.trim(), line.len() - line.trim_start().len());
            let place = format!("{file}:{}", at + 1);
            if let Some(text) = code.strip_prefix("///") {
                doc += text.trim();
                doc += "\n";
                at += 1;
                continue;
            }
            if code.starts_with("#[") {
                hidden |= code.starts_with("#[doc(hidden)]") || code.starts_with("#[cfg(") && code.contains("test");
                if code.starts_with("#[macro_export]") {
                    let name = lines[at..].iter().find_map(|line| line.strip_prefix("macro_rules! ")).expect("a macro follows");
                    found.macros.insert(format!("{}!", name.split([' ', '{', '(']).next().unwrap_or_default()));
                }
                at += 1;
                continue;
            }
            if code.is_empty() || code.starts_with("//") {
                at += 1;
                continue;
            }
            if indent == 0 && code.starts_with('}') {
                block = None;
            } else if indent == 0 && is_function(code) {
                let (function, next) = function(&lines, at, "", &doc, &place);
                if code.starts_with("pub ") && !hidden {
                    found.functions.extend([function]);
                }
                at = next;
                // Its body.
                block = (!lines[at].ends_with([';', '}'])).then_some(Block::Skipped);
            } else if indent == 0 {
                let (head, next) = gather(&lines, at);
                at = next;
                let opens = lines[at].ends_with('{');
                found.note(&head, &lines[at..]);
                block = opens.then(|| block_of(&head, hidden, &place));
            } else if is_function(code)
                && let Some(Block::Type { name, head, all }) = &block
                && (indent == 4 || name.ends_with('!'))
            {
                let (mut function, next) = function(&lines, at, head, &doc, &place);
                if (*all || code.starts_with("pub ")) && !hidden {
                    function.name = format!("{name}::{}", function.name);
                    found.functions.push(function);
                }
                at = next;
            } else {
                let skipped = block == Some(Block::Skipped);
                assert!(skipped || !is_function(code) || !code.starts_with("pub "), "{}: where is this?", place);
            }
            (doc, hidden) = (String::new(), false);
            at += 1;
        }
        found
    }

    /// Enters what an item at column 0 says of its own type.
    fn note(&mut self, head: &str, rest: &[&str]) {
        let name = |text: &str| text.split(|c: char| !is_word(c)).next().unwrap_or_default().to_owned();
        if let Some(what) = head.strip_prefix("pub struct ") {
            self.cancellable.extend((name(what) == "Cancelled").then(|| name(what)));
        } else if let Some(what) = head.strip_prefix("pub enum ") {
            let cases = rest.iter().skip(1).take_while(|line| !line.starts_with('}'));
            let is_case = |line: &&str| line.strip_prefix("    ").is_some_and(|case| name(case) == "Cancelled");
            // Other enums may have such a case, too: of a task's states, say.
            let is_error = name(what).ends_with("Error");
            self.cancellable.extend((is_error && cases.into_iter().any(is_case)).then(|| name(what)));
        } else if let Some(what) = head.strip_prefix("pub type ") {
            self.aliases.extend(what.split_once(" = ").map(|(alias, meaning)| (name(alias), meaning.to_owned())));
        } else if let Some((_, what)) = head.split_once(" From<Cancelled> for ") {
            self.cancellable.insert(name(what));
        }
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

fn is_function(code: &str) -> bool {
    let mut rest = code;
    for qualifier in ["pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    rest.starts_with("fn ")
}

/// What `pub use` lines make public. The names that come from other crates are macros and attributes.
fn exports(file: &str, text: &str, macros: &mut BTreeSet<String>, attributes: &mut BTreeSet<String>) -> BTreeSet<String> {
    let mut exports = BTreeSet::new();
    for statement in text.split("\npub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let (from, names) = statement.split_once("::").unwrap_or(("", statement));
        assert!(!names.contains('*'), "{file}: name what is made public");
        for name in words(names.rsplit_once("::{").map_or(names, |(_, names)| names)) {
            match from {
                // `select` is the one macro like a function.
                "throng_macros" if name == "select" => macros.insert("select!".to_owned()),
                "throng_macros" => attributes.insert(name.to_owned()),
                _ => exports.insert(name.to_owned()),
            };
        }
    }
    exports
}

/// The text of an item from its first line up to `{`, `;` or the end of its only line, and the number of the last line read.
fn gather(lines: &[&str], from: usize) -> (String, usize) {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate().skip(from) {
        text += line.trim();
        text += " ";
        if line.trim_end().ends_with(['{', ';', '}']) {
            return (text, at);
        }
    }
    panic!("an item without an end: {text}")
}

fn function(lines: &[&str], from: usize, head: &str, doc: &str, at: &str) -> (Function, usize) {
    let (text, next) = gather(lines, from);
    let after = text.split_once("fn ").expect("a function").1;
    let name = words(after).next().expect("a name").to_owned();
    // The arrow at the level of the signature itself: not one in a bound or a parameter's type.
    let (mut depth, mut arrow) = (0_i32, None);
    let characters: Vec<char> = after.chars().collect();
    for (i, &c) in characters.iter().enumerate() {
        match c {
            '(' | '[' | '<' => depth += 1,
            '>' if i > 0 && characters[i - 1] == '-' => arrow = arrow.or((depth == 0).then_some(i)),
            ')' | ']' | '>' => depth -= 1,
            '{' if depth == 0 => break,
            _ => {}
        }
    }
    let returns: String = arrow.map(|arrow| characters[arrow + 1..].iter().collect()).unwrap_or_default();
    let returns = returns.split(" where ").next().unwrap_or_default().split('{').next().unwrap_or_default().trim().to_owned();
    let signature = format!("{head} {text}");
    (Function { name, doc: doc.to_owned(), signature, returns, at: at.to_owned() }, next)
}

/// What kind of block an item at column 0 opens.
fn block_of(head: &str, hidden: bool, at: &str) -> Block {
    if hidden {
        return Block::Skipped;
    }
    if let Some(name) = head.strip_prefix("pub trait ").and_then(|rest| words(rest).next()) {
        return Block::Type { name: name.to_owned(), head: head.to_owned(), all: true };
    }
    if let Some(name) = head.strip_prefix("macro_rules! ").and_then(|rest| words(rest).next()) {
        return Block::Type { name: format!("{name}!"), head: head.to_owned(), all: false };
    }
    let Some(rest) = head.strip_prefix("impl").or(head.strip_prefix("unsafe impl")) else {
        assert!(!head.starts_with("pub mod"), "{at}: teach this test to read public modules that lie in a file");
        return Block::Skipped;
    };
    // `<..> Trait for Type<..> where ..`
    let mut depth = 0;
    let mut rest = rest.trim_start();
    if rest.starts_with('<') {
        let end = rest.char_indices().find(|&(i, c)| {
            depth += i32::from(c == '<') - i32::from(c == '>' && !rest[..i].ends_with('-'));
            depth == 0
        });
        rest = rest[end.expect("the generics end").0 + 1..].trim_start();
    }
    let (of, name) = match rest.split_once(" for ") {
        // `for<'a>` of a bound is no such `for`: it is followed by `<`.
        Some((of, name)) => (Some(of), name),
        None => (None, rest),
    };
    let name = name.split(['<', ' ']).next().unwrap_or_default().trim_start_matches('&');
    let name = name.rsplit("::").next().unwrap_or_default().to_owned();
    match of {
        None => Block::Type { name, head: head.to_owned(), all: false },
        // The one trait of std's whose methods park.
        Some("Iterator") => Block::Type { name, head: head.to_owned(), all: true },
        Some(_) => Block::Skipped,
    }
}
