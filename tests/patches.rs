//! Holds the patch series: files and list agree, headers are complete, every patch applies exactly, and what does not is named.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../build/patch.rs"]
#[expect(dead_code, reason = "the build uses the rest")]
mod patch;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// DEP-3, plus two of ours. `Bug` is optional: where one exists.
const FIELDS: &[&str] = &["Description", "Author", "Forwarded", "Last-Update", "X-Devices", "X-Test"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> PathBuf {
    root().join("patches")
}

fn read(name: &str) -> String {
    fs::read_to_string(patches().join(name)).unwrap()
}

/// What stands before the diff, as fields; continuation lines belong to the field above.
fn header(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = vec![];
    for line in text.lines().take_while(|l| !l.starts_with("diff --git ")) {
        if let Some(more) = line.strip_prefix(' ') {
            fields.last_mut().expect("a continuation follows a field").1 += &format!("\n{more}");
        } else if let Some((name, value)) = line.split_once(": ") {
            fields.push((name.into(), value.into()));
        }
    }
    fields
}

#[test]
fn series_and_files_agree() {
    let listed = patch::series(&patches()).unwrap();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a patch is listed twice");
    let present: BTreeSet<_> = fs::read_dir(patches())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".patch"))
        .collect();
    assert_eq!(unique, present);
}

#[test]
fn every_overlay_file_belongs_to_one_patch() {
    fn files(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, into) } else { into.push(path) }
        }
    }
    let overlay = patches().join("overlay");
    let mut present = vec![];
    files(&overlay, &mut present);
    let mut listed: Vec<PathBuf> = vec![];
    for name in patch::series(&patches()).unwrap() {
        listed.extend(patch::overlay(&read(&name)).map(|file| overlay.join(file)));
    }
    present.sort();
    listed.sort();
    assert_eq!(present, listed);
}

#[test]
fn headers_are_complete() {
    for name in patch::series(&patches()).unwrap() {
        let fields = header(&read(&name));
        for field in FIELDS {
            let value = fields.iter().find(|(n, _)| n == field).map(|(_, v)| v.trim());
            assert!(value.is_some_and(|v| !v.is_empty()), "{name} has no {field}");
        }
        let value = |field: &str| &fields.iter().find(|(n, _)| n == field).unwrap().1;
        assert!(
            value("Description").lines().count() > 1,
            "{name}: the description is one line, without its why"
        );
        let date: Vec<_> = value("Last-Update").split('-').map(|n| n.parse::<u32>().unwrap()).collect();
        assert!(matches!(date[..], [2026..=2999, 1..=12, 1..=31]), "{name}: Last-Update is no date");
        // the test that fails without the patch exists: FILE followed by a name in it
        let (file, test) =
            value("X-Test").split_once(' ').unwrap_or_else(|| panic!("{name}: X-Test: FILE TEST"));
        let source = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{name}: {file}: {e}"));
        assert!(source.contains(test), "{name}: {file} has no {test}");
    }
}

#[test]
fn one_patch_changes_what_its_name_says() {
    for name in patch::series(&patches()).unwrap() {
        let words = name.trim_end_matches(".patch");
        assert!(words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        assert!(!words.starts_with(|c: char| c.is_ascii_digit()), "{name}: the order is in `series`");
    }
}

/// A tree with the files that a patch touches, as they are before it: the staged tree with the series taken back.
fn pristine(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let staged = Path::new(env!("NATIVE_STAGED_TREE"));
    for file in files {
        let mut text = fs::read_to_string(staged.join(file)).unwrap();
        for name in patch::series(&patches()).unwrap().iter().rev() {
            for part in
                diffy::patch_set::PatchSet::parse(&read(name), diffy::patch_set::ParseOptions::gitdiff())
            {
                let part = part.unwrap();
                let diffy::patch_set::FileOperation::Modify { original, .. } =
                    part.operation().strip_prefix(1)
                else {
                    panic!("{name}: not a modification");
                };
                if original == *file {
                    text = diffy::apply(&text, &part.patch().as_text().unwrap().reverse()).unwrap();
                }
            }
        }
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn touched() -> Vec<String> {
    let mut files = vec![];
    for name in patch::series(&patches()).unwrap() {
        files.extend(read(&name).lines().filter_map(|l| l.strip_prefix("--- a/")).map(str::to_owned));
    }
    files.sort();
    files.dedup();
    files
}

#[test]
fn every_patch_applies_exactly_and_in_order() {
    let files = touched();
    let tree = pristine(&files.iter().map(String::as_str).collect::<Vec<_>>());
    for name in patch::series(&patches()).unwrap() {
        patch::apply(tree.path(), &name, &read(&name)).unwrap();
    }
    for file in files {
        let staged = fs::read_to_string(Path::new(env!("NATIVE_STAGED_TREE")).join(&file)).unwrap();
        assert_eq!(fs::read_to_string(tree.path().join(&file)).unwrap(), staged, "{file}");
    }
}

/// `scripts/prove-patches` builds with each of these behind the series, to see the patch's test fail.
#[test]
fn what_takes_a_patch_back_applies_behind_the_series() {
    let series = patch::series(&patches()).unwrap();
    for entry in fs::read_dir(root().join("scripts/prove-patches.d")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(series.contains(&name), "{name} takes back a patch that is not in the series");
        let text = fs::read_to_string(&path).unwrap();
        let tree = tempfile::tempdir().unwrap();
        for file in text.lines().filter_map(|l| l.strip_prefix("--- a/")) {
            let copy = tree.path().join(file);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(Path::new(env!("NATIVE_STAGED_TREE")).join(file), copy).unwrap();
        }
        patch::apply(tree.path(), &name, &text).unwrap();
    }
}

/// The others are left out of the series, so that what comes behind them must fit without.
#[test]
fn what_is_not_taken_back_can_be_left_out() {
    let series = patch::series(&patches()).unwrap();
    let files = touched();
    let tree = pristine(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let before: Vec<_> = files.iter().map(|f| fs::read(tree.path().join(f)).unwrap()).collect();
    let mut stuck = vec![];
    for left_out in &series {
        if root().join("scripts/prove-patches.d").join(left_out).exists() {
            continue;
        }
        for (file, text) in files.iter().zip(&before) {
            fs::write(tree.path().join(file), text).unwrap();
        }
        let mut rest = series.iter().filter(|name| *name != left_out);
        if let Some(error) = rest.find_map(|name| patch::apply(tree.path(), name, &read(name)).err()) {
            stuck.push(format!("without {left_out}: {error}"));
        }
    }
    assert!(stuck.is_empty(), "these need files in scripts/prove-patches.d: {stuck:#?}");
}

#[test]
fn a_hunk_that_does_not_apply_names_the_patch() {
    let file = "ggml/src/ggml-cpu/amx/mmq.cpp";
    let name = "amx-tile-config-survives-gcc-12.patch";
    let tree = pristine(&[file]);
    let moved =
        fs::read_to_string(tree.path().join(file)).unwrap().replace("tc.rows[7] = 16;", "tc.rows[7] = 8;");
    fs::write(tree.path().join(file), moved).unwrap();
    let error = patch::apply(tree.path(), name, &read(name)).unwrap_err();
    assert!(error.contains(name) && error.contains(file), "{error}");

    let error = patch::apply(tree.path(), "empty.patch", "Description: none\n").unwrap_err();
    assert!(error.contains("empty.patch"), "{error}");
    let create =
        "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n";
    let error = patch::apply(tree.path(), "create.patch", create).unwrap_err();
    assert!(error.contains("only modifications"), "{error}");
}

/// Compiles the function that makes the AMX tile configuration, with the patch or without, to assembly, and counts the
/// bytes of the configuration that are stored before it is loaded. Needs no CPU with AMX.
#[cfg(target_arch = "x86_64")]
fn tile_config_assembly(patched: bool) -> String {
    let file = "ggml/src/ggml-cpu/amx/mmq.cpp";
    let tree = pristine(&[file]);
    let path =
        if patched { Path::new(env!("NATIVE_STAGED_TREE")).join(file) } else { tree.path().join(file) };
    let source = fs::read_to_string(path).unwrap();
    let cut = |from: &str, to: &str| {
        let start = source.find(from).unwrap_or_else(|| panic!("no {from:?} in {file}"));
        &source[start..start + source[start..].find(to).unwrap() + to.len()]
    };
    let probe = format!(
        "#include <immintrin.h>\n#include <stdint.h>\n{}\n{}\nvoid probe() {{ ggml_tile_config_init(); }}\n",
        cut("struct tile_config_t", "\n};"),
        cut("inline void ggml_tile_config_init", "\n}\n"),
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.cpp"), probe).unwrap();
    let output = Command::new("g++")
        .args(["-O3", "-march=sapphirerapids", "-S", "-o", "-", "probe.cpp"])
        .current_dir(dir.path())
        .output()
        .expect("g++ runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn amx_tile_config_is_stored_whole() {
    // rows[0..8] are 8 8 16 16 16 16 16 16, one byte each, at offset 48: as one 64-bit constant, or from .rodata
    let stores_rows = |assembly: &str| {
        let before = assembly.split("ldtilecfg").next().unwrap();
        before.contains("1157442765409224712") || before.contains("LC") || before.matches("movb").count() >= 8
    };
    assert!(stores_rows(&tile_config_assembly(true)), "{}", tile_config_assembly(true));
    let version = Command::new("g++").arg("-dumpversion").output().unwrap().stdout;
    let major: u32 = String::from_utf8(version).unwrap().trim().split('.').next().unwrap().parse().unwrap();
    if major <= 12 {
        let without = tile_config_assembly(false);
        assert!(!stores_rows(&without), "this compiler keeps the stores without the patch:\n{without}");
    }
}
