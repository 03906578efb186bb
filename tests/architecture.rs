//! Holds the floors of DESIGN.md: imports point down, and what belongs to one floor stays there.
//!
//! The sources are read as text: comments and literals are blanked, then names and paths are looked up. Code under
//! `#[cfg(test)]` may use what it needs; only `unsafe` is looked for there too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the bottom to the top, each with all that it may import. A new arrow is a change of architecture:
/// it is made here, in a commit that says why. Arrows to a later row are refused whatever the table says.
const FLOORS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("version", &[]),
    ("builtin", &[]),
    ("sys", &["error"]),
    ("sampling", &["error"]),
    ("text", &["error"]),
    ("template", &["error"]),
    ("gguf", &["error"]),
    ("device", &["error", "version", "sys", "gguf"]),
    ("model", &["error", "builtin", "sys", "template", "gguf", "device"]),
    ("chain", &["error", "sys", "sampling", "model"]),
    ("state", &["error", "model"]),
    ("session", &["error", "version", "sys", "sampling", "gguf", "device", "model", "chain", "state"]),
    ("sequences", &["error", "sys", "model", "session"]),
    ("embedding", &["error", "sys", "gguf", "model", "session"]),
    ("doctor", &["error", "sys", "gguf", "device", "model", "session"]),
    ("tune", &["error", "sys", "gguf", "device", "model"]),
    (
        "engine",
        &[
            "error",
            "sys",
            "sampling",
            "text",
            "template",
            "gguf",
            "device",
            "model",
            "chain",
            "session",
            "sequences",
            "embedding",
        ],
    ),
    ("config", &["error", "sampling", "device", "model", "session", "engine"]),
    ("blocking", &["error", "sampling", "template", "device", "model", "session", "engine"]),
    (
        "server",
        &["error", "version", "sampling", "template", "device", "model", "session", "engine", "config"],
    ),
    (
        "desktop",
        &["error", "version", "sampling", "template", "device", "model", "session", "engine", "config"],
    ),
    (
        "cli",
        &[
            "error", "version", "builtin", "sampling", "text", "template", "gguf", "device", "model",
            "state", "session", "engine", "config", "blocking", "server", "desktop", "doctor", "tune",
        ],
    ),
];

/// Names that belong to some modules alone, `main` being `src/main.rs`. A `!` asks for the macro of that name.
const NAMES: &[(&[&str], &[&str])] = &[
    (&["tokio"], &["engine", "server", "desktop", "cli", "main"]),
    (&["axum", "hyper", "hyper_util", "tower_http"], &["server"]),
    (&["clap", "clap_complete", "indicatif", "rustyline", "tracing_subscriber"], &["cli", "main"]),
    (&["println!", "eprintln!", "print!", "eprint!", "dbg!"], &["cli", "main"]),
];

/// The module whose files may say `unsafe`.
const UNSAFE: &str = "sys";

#[test]
fn the_sources_keep_to_their_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![];
    for directory in ["src", "build", "tests", "benches", "examples"] {
        rust_files(&root.join(directory), &mut paths);
    }
    paths.push(root.join("build.rs"));
    assert!(paths.len() > 5, "the sources were not found below {}", root.display());

    let files: Vec<File> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(root).expect("found below it").to_string_lossy().replace('\\', "/");
            File { path, text }
        })
        .collect();
    let faults = check(&files);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// A source file, by its path from the package's root, with `/` between the parts.
struct File {
    path: String,
    text: String,
}

/// All `.rs` files below a directory, which need not exist.
fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with the files, as `FILE:LINE: …`.
fn check(files: &[File]) -> Vec<String> {
    let mut faults = vec![];
    let exported = files.iter().find(|file| file.path == "src/lib.rs").map(|file| exports(&code(&file.text)));
    let exported = exported.unwrap_or_default();
    for file in files {
        if !file.text.starts_with("//! ") {
            faults.push(format!(
                "{}:1: the first line is not a //! comment that says what the file is for",
                file.path
            ));
        }
        let Some(inside) = file.path.strip_prefix("src/") else { continue };
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let code = code(&file.text);
        check_unsafe(file, module, &code, &mut faults);
        let code = without_tests(&code);
        check_names(file, module, &code, &mut faults);
        if module != "lib" && module != "main" {
            check_imports(file, module, &code, &exported, &mut faults);
        }
    }
    faults
}

fn check_unsafe(file: &File, module: &str, code: &str, faults: &mut Vec<String>) {
    if module != UNSAFE {
        for at in occurrences(code, "unsafe") {
            faults.push(format!("{}:{}: `unsafe` belongs in src/{UNSAFE}/", file.path, line(code, at)));
        }
    }
}

fn check_names(file: &File, module: &str, code: &str, faults: &mut Vec<String>) {
    for (names, modules) in NAMES.iter().filter(|(_, modules)| !modules.contains(&module)) {
        for name in *names {
            for at in occurrences(code, name) {
                let allowed = modules.join(", ");
                faults.push(format!("{}:{}: `{name}` belongs in: {allowed}", file.path, line(code, at)));
            }
        }
    }
}

fn check_imports(
    file: &File,
    module: &str,
    code: &str,
    exported: &BTreeMap<String, String>,
    faults: &mut Vec<String>,
) {
    let rank = |name: &str| FLOORS.iter().position(|(known, _)| *known == name);
    let Some(own) = rank(module) else {
        faults.push(format!(
            "{}:1: the module `{module}` has no row in FLOORS of tests/architecture.rs",
            file.path
        ));
        return;
    };
    for (at, name) in root_paths(&file.path, code) {
        let target = exported.get(&name).unwrap_or(&name);
        if target == module {
            continue;
        }
        let place = format!("{}:{}", file.path, line(code, at));
        let mut arrow = format!("`{module}` imports `{target}`");
        if *target != name {
            let _ = write!(arrow, " (as `crate::{name}`)");
        }
        match rank(target) {
            None => faults.push(format!("{place}: {arrow}, which is no module with a row in FLOORS")),
            Some(other) if other > own => faults.push(format!("{place}: {arrow}, which lies above it")),
            Some(_) if !FLOORS[own].1.contains(&target.as_str()) => {
                faults.push(format!("{place}: {arrow}, an arrow that FLOORS does not have"));
            }
            Some(_) => {}
        }
    }
}

/// What `lib.rs` re-exports, and from which module: `use module::{A, B as C};`
fn exports(code: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for at in occurrences(code, "use") {
        let statement = code[at + 3..].split(';').next().unwrap_or_default();
        let Some((module, names)) = statement.split_once("::") else { continue };
        for name in names.split([',', '{', '}', ':']) {
            let name = name.rsplit(" as ").next().unwrap_or_default().trim();
            found.insert(name.to_owned(), module.trim().to_owned());
        }
    }
    found
}

/// The first names of all paths that start at the crate's root, by `crate::` or by enough `super::`, with their places.
fn root_paths(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    for at in occurrences(code, "crate") {
        // `$crate::` and `crate` in `pub(crate)` have no path of interest, or none at all.
        if let Some(rest) = code[at..].strip_prefix("crate").and_then(after_colons) {
            found.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    let of_file = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count() - 1;
    for at in occurrences(code, "super") {
        let before = code[..at].trim_end();
        if before.ends_with("::") {
            continue; // counted from the first of its chain
        }
        let (mut rest, mut up) = (&code[at..], 0);
        while let Some(further) = rest.strip_prefix("super").and_then(after_colons) {
            (rest, up) = (further, up + 1);
        }
        if up == of_file + inline_modules(code, at) {
            found.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    found
}

/// What follows a `::`.
fn after_colons(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix("::").map(str::trim_start)
}

/// The name that begins the text, or the names that begin the entries of the braces that do.
fn first_names(text: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(list) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut names, mut depth, mut entry) = (vec![], 0, true);
    for (index, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entry = true,
            c if entry && !c.is_whitespace() => {
                names.push(name(&list[index..]));
                entry = false;
            }
            _ => {}
        }
    }
    names.retain(|name| name != "self");
    names
}

/// How many `mod name { … }` enclose this place.
fn inline_modules(code: &str, at: usize) -> usize {
    occurrences(code, "mod")
        .filter(|start| {
            let Some(open) = code[*start..].find(['{', ';']).map(|offset| start + offset) else {
                return false;
            };
            code[open..].starts_with('{') && open < at && at < end_of_braces(code, open)
        })
        .count()
}

/// Where the brace that opens here is closed.
fn end_of_braces(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (index, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return index,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The code without the items under `#[cfg(test)]`; lines stay where they are.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    while let Some(start) = kept.find("#[cfg(test)]") {
        let end = match kept[start..].find(['{', ';']).map(|offset| start + offset) {
            Some(open) if kept[open..].starts_with('{') => end_of_braces(&kept, open),
            Some(semicolon) => semicolon,
            None => kept.len() - 1,
        };
        let blank: String = kept[start..=end.min(kept.len() - 1)].chars().map(blanked).collect();
        kept.replace_range(start..=end.min(kept.len() - 1), &blank);
    }
    kept
}

/// Where this word stands as a whole word; one that ends in `!` also when spaces are before the `!`.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let (bare, is_macro) = word.strip_suffix('!').map_or((word, false), |bare| (bare, true));
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(bare).map(|(at, _)| at).filter(move |at| {
        let after = &code[at + bare.len()..];
        !code[..*at].ends_with(in_word)
            && !after.starts_with(in_word)
            && (!is_macro || after.trim_start().starts_with('!') && !after.trim_start().starts_with("!="))
    })
}

/// The line of a place, from 1.
fn line(code: &str, at: usize) -> usize {
    1 + code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// A character of what is not looked at: line ends stay, for the line numbers.
fn blanked(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// The source with comments and the contents of literals blanked; lines stay where they are.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let length = blank_length(rest, code.chars().next_back());
        let (skipped, kept) = match length {
            0 => (0, rest.chars().next().map_or(0, char::len_utf8)),
            length => (length, 0),
        };
        code.extend(rest[..skipped].chars().map(blanked));
        code.push_str(&rest[..kept]);
        rest = &rest[skipped + kept..];
    }
    code
}

/// The length of the comment or literal that begins the text, 0 if none does.
fn blank_length(text: &str, before: Option<char>) -> usize {
    let to = |end: Option<usize>| end.unwrap_or(text.len());
    if text.starts_with("//") {
        return to(text.find('\n'));
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && text.starts_with(['r', 'b', 'c']) {
        let opening = text.trim_start_matches(['r', 'b', 'c']);
        let hashes = opening.len() - opening.trim_start_matches('#').len();
        let prefix = text.len() - opening.len();
        if prefix <= 2 && opening[hashes..].starts_with('"') && text[..prefix].contains('r') {
            let body = prefix + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return to(text[body..].find(&close).map(|end| body + end + close.len()));
        }
        // b"…", c"…" and b'…' are what follows their letter; the letter alone is harmless.
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    // A character, not a lifetime: one character, or an escape, before the closing quote.
    let is_char = |text: &str| text.starts_with("'\\") || text.chars().nth(2) == Some('\'');
    if text.starts_with('\'') && is_char(text) {
        return quoted(text, '\'');
    }
    0
}

/// The length of a literal with backslash escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The checker itself, on snippets.
mod checker {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files
            .iter()
            .map(|(path, text)| File { path: (*path).to_owned(), text: format!("//! A file.\n{text}") })
            .collect();
        check(&files)
    }

    fn fault(path: &str, text: &str) -> String {
        let lib = ("src/lib.rs", "mod engine; mod error;\npub use engine::{Model, Event as Happening};");
        faults(&[lib, (path, text)]).join("\n")
    }

    #[test]
    fn the_table_itself_points_down() {
        for (index, (module, imports)) in FLOORS.iter().enumerate() {
            for import in *imports {
                let below = FLOORS[..index].iter().any(|(known, _)| known == import);
                assert!(below, "{module} may import {import}, which is not below it");
            }
        }
    }

    #[test]
    fn an_import_upwards_is_found_in_every_form() {
        for text in [
            "use crate::engine::Engine;",
            "use crate::{\n    error::Result,\n    engine::{a, b},\n};",
            "fn f() { crate::engine::run() }",
            "use super::engine;",
            "mod inner { use super::super::engine::Engine; }",
            "use crate::Model;",
            "use crate::Happening;",
            "use crate :: engine;",
        ] {
            let found = fault("src/model.rs", text);
            assert!(found.contains("`model` imports `engine`") && found.contains("above"), "{text}: {found}");
        }
        assert_eq!(
            fault("src/model.rs", "\nuse crate::{\n    engine::Engine,\n};"),
            "src/model.rs:3: `model` imports `engine`, which lies above it"
        );
        assert!(fault("src/sys/call.rs", "use super::super::engine;").contains("`sys` imports `engine`"));
        assert!(fault("src/sys/mod.rs", "use super::engine;").contains("`sys` imports `engine`"));
        assert!(fault("src/model.rs", "use crate::Model;").contains("(as `crate::Model`)"));
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        assert!(fault("src/text.rs", "use crate::sys::x;").contains("an arrow that FLOORS does not have"));
        assert!(fault("src/text.rs", "use crate::nothing::x;").contains("no module with a row"));
        assert!(fault("src/novel.rs", "").contains("the module `novel` has no row"));
    }

    #[test]
    fn what_belongs_to_other_floors_is_found() {
        assert_eq!(
            fault("src/model.rs", "\nfn f() { unsafe { g() } }"),
            "src/model.rs:3: `unsafe` belongs in src/sys/"
        );
        assert!(
            fault("src/model.rs", "#[cfg(test)]\nmod tests { unsafe fn f() {} }").contains(":3: `unsafe`")
        );
        assert!(fault("src/session.rs", "use tokio::sync::mpsc;").contains("`tokio` belongs in: engine"));
        assert!(fault("src/engine/run.rs", "use axum::Router;").contains("`axum` belongs in: server"));
        assert!(fault("src/engine.rs", "use clap::Parser;").contains("`clap` belongs in: cli"));
        for print in ["println!(\"x\")", "eprint ! ()", "std::dbg!(1)"] {
            assert!(fault("src/engine.rs", &format!("fn f() {{ {print}; }}")).contains("belongs in: cli"));
        }
        let undocumented = File { path: "build/stage.rs".into(), text: "use std::fs;\n".into() };
        assert_eq!(check(&[undocumented]).len(), 1);
    }

    #[test]
    fn what_only_looks_like_a_fault_is_none() {
        for (path, text) in [
            ("src/model.rs", "// use crate::engine;\n/* unsafe /* tokio */ println! */\n/// unsafe"),
            ("src/model.rs", "const A: &str = \"unsafe crate::engine \\\" tokio\";"),
            ("src/model.rs", "const A: &str = r#\"unsafe \" tokio\"#; const B: &[u8] = br\"unsafe\";"),
            (
                "src/model.rs",
                "fn f<'a>(x: &'a str) -> char { '\"' } // unsafe\nfn g() -> char { '\\'' } // unsafe",
            ),
            ("src/model.rs", "#[expect(unsafe_code)] fn tokio_like() {}"),
            (
                "src/model.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::engine;\n    fn f() { println!(); }\n}",
            ),
            ("src/model.rs", "#[cfg(test)]\nuse crate::engine;\nuse crate::error::Error;"),
            ("src/model.rs", "mod inner { use super::engine; }\nuse self::inner::x;\npub(crate) fn f() {}"),
            ("src/sys/mod.rs", "fn f() { unsafe { g() } }"),
            ("src/cli/run.rs", "use crate::Model;\nfn f() { println!(); tokio::spawn(()); }"),
            ("src/main.rs", "fn main() { eprintln!(); }"),
            ("src/engine.rs", "fn f() { let print = 1; print != 2; }"),
            ("tests/it/main.rs", "fn main() { println!(); }"),
        ] {
            assert_eq!(fault(path, text), "", "{text}");
        }
    }
}
