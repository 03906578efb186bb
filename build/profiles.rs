//! Turns `src/device/profiles/*.toml` into the C++ table that `tests/metal-sim/host/profile.h` declares.
//!
//! README.md there describes the files. Each fact says who it is from; a file that has a fact too many or too few, or
//! one without a source, stops the build.

use crate::compile;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// How a value is written in C++.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Number,
    /// A member of this enumeration.
    Member(&'static str),
    /// An array of texts.
    Texts,
}

/// The members of `Profile` and of `Quirks`, in their order there, as C++ wants them.
const FACTS: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("vendor", Kind::Text),
    ("architecture", Kind::Text),
    ("simdgroup_width", Kind::Number),
    ("simdgroup_reduction", Kind::Bool),
    ("simdgroup_matrix", Kind::Bool),
    ("bfloat", Kind::Member("Bfloat")),
    ("threadgroup_memory", Kind::Number),
    ("max_threads", Kind::Number),
    ("unified_memory", Kind::Bool),
    ("memory", Kind::Number),
    ("memory_bandwidth", Kind::Number),
    ("max_buffer_length", Kind::Number),
    ("recommended_max_working_set", Kind::Number),
    ("residency_sets", Kind::Bool),
    ("location", Kind::Member("Location")),
    ("low_power", Kind::Bool),
    ("removable", Kind::Bool),
    ("headless", Kind::Bool),
    ("registry_id", Kind::Number),
    ("family_apple", Kind::Number),
    ("family_mac", Kind::Number),
    ("family_common", Kind::Number),
    ("family_metal", Kind::Number),
];
const QUIRKS: &[(&str, Kind)] = &[
    ("concurrent_barriers_do_not_order", Kind::Bool),
    ("stale_reads_in_concurrent_encoders", Kind::Bool),
    ("simd_max_half_wrong_at_infinity", Kind::Bool),
    ("unaligned_loads_wrong", Kind::Bool),
    ("half_subnormals_flushed", Kind::Bool),
    ("short_index_miscompiled", Kind::Bool),
    ("shift64_slow", Kind::Bool),
    ("large_buffers_refused", Kind::Bool),
    ("no_copy_needs_page_alignment", Kind::Bool),
];
const MACHINE: &[(&str, Kind)] =
    &[("name", Kind::Text), ("devices", Kind::Texts), ("default_device", Kind::Text)];

/// The C++ source of the tables: one `Profile` for each file in the directory, one `Machine` for each in `machines/`.
pub(crate) fn table(dir: &Path) -> Result<String, String> {
    let mut text =
        String::from("#include \"profile.h\"\n\nnamespace metal_sim {\n\nconst Profile profiles[] = {\n");
    let profiles = compile::sources(dir, &["toml"])?;
    for path in &profiles {
        let mut facts = read(path)?;
        let quirks = match facts.remove("quirks") {
            Some(Value::Table(quirks)) => members(path, &quirks, QUIRKS)?,
            _ => return Err(format!("{}: there is no table [quirks]", path.display())),
        };
        let facts = members(path, &facts, FACTS)?;
        let _ = writeln!(text, "    {{{}, {facts}, .quirks = {{{quirks}}}}},", id(path));
    }
    text.push_str("};\n\nconst Machine machines[] = {\n");
    let machines = compile::sources(&dir.join("machines"), &["toml"])?;
    for path in &machines {
        let _ = writeln!(text, "    {{{}, {}}},", id(path), members(path, &read(path)?, MACHINE)?);
    }
    let (profiles, machines) = (profiles.len(), machines.len());
    let _ = write!(
        text,
        "}};\n\nconst size_t profile_count = {profiles};\nconst size_t machine_count = {machines};\n\n}} // namespace metal_sim\n"
    );
    Ok(text)
}

fn read(path: &PathBuf) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.parse().map_err(|e| format!("{}: {e}", path.display()))
}

fn id(path: &Path) -> String {
    format!(".id = \"{}\"", path.file_stem().expect("a file").display())
}

/// The facts as designated initialisers.
fn members(path: &Path, facts: &Table, wanted: &[(&str, Kind)]) -> Result<String, String> {
    if let Some(key) = facts.keys().find(|key| !wanted.iter().any(|(name, _)| name == key)) {
        return Err(format!("{}: {key} is not a key of it", path.display()));
    }
    let one = |(name, kind): &(&str, Kind)| {
        let fact = facts.get(*name).ok_or("is missing")?;
        let said = |key: &str| fact.get(key).and_then(Value::as_str).unwrap_or("");
        if said("source").is_empty() {
            return Err("has no source");
        }
        if said("source") == "assumed" && said("note").is_empty() {
            return Err("is assumed, and no note says why");
        }
        let value =
            fact.get("value").and_then(|value| literal(value, *kind)).ok_or("has a value of another type")?;
        Ok(format!(".{name} = {value}"))
    };
    let fail = |name: &str, what: &str| format!("{}: {name} {what}", path.display());
    let all: Result<Vec<_>, String> =
        wanted.iter().map(|entry| one(entry).map_err(|what| fail(entry.0, what))).collect();
    Ok(all?.join(", "))
}

fn literal(value: &Value, kind: Kind) -> Option<String> {
    Some(match (kind, value) {
        // toml's strings have no escapes that C++ reads otherwise, but for those of control characters
        (Kind::Text, Value::String(text)) => format!("{text:?}"),
        (Kind::Bool, Value::Boolean(value)) => value.to_string(),
        (Kind::Number, Value::Integer(value)) => format!("{}u", u64::try_from(*value).ok()?),
        (Kind::Member(name), Value::String(text)) => format!("{name}::{}", text.replace('-', "_")),
        (Kind::Texts, Value::Array(values)) => {
            let texts: Option<Vec<_>> = values.iter().map(|value| literal(value, Kind::Text)).collect();
            format!("{{{}}}", texts?.join(", "))
        }
        _ => return None,
    })
}
