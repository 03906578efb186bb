//! The sources of settings, laid over each other with a note of where each value came from.
//!
//! Each value is checked alone as it comes in, on top of the defaults, so that its error can name its place;
//! what is left for the end are settings that contradict each other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::keys::{self, Key};
use super::{Config, Overrides};
use crate::error::{Error, Result};

/// The name of the file in the working directory.
const LOCAL_FILE: &str = ".inferno.toml";
/// The settings that are paths, or tables of them.
const PATHS: [Key; 3] = [("model", "path"), ("server", "api_keys_file"), ("server", "models")];
/// A settings file that is longer is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Variables that the build and the tests read; they are no settings.
const OTHER_VARIABLES: [&str; 10] = [
    "INFERNO_LLAMA_CPP_DIR",
    "INFERNO_BUILD_CACHE",
    "INFERNO_MARCH",
    "INFERNO_OPENMP",
    "INFERNO_METAL",
    "INFERNO_CLANG",
    "INFERNO_STAGE_ONLY",
    "INFERNO_WITHOUT_PATCHES",
    "INFERNO_FUZZ_CASES",
    "INFERNO_BLESS",
];
/// The beginnings of more such names: of tests, and of the simulated GPU.
const OTHER_PREFIXES: [&str; 2] = ["INFERNO_TEST_", "INFERNO_METAL_SIM"];

/// The environment, as [`Config::load`] got it.
type Env = BTreeMap<OsString, OsString>;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it has its default.
    Default,
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// In a variable of this name.
    Variable(String),
    /// By a flag of the command, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in a file: `section.key`.
    pub key: String,
    /// Its value as a file would have it; `None` where it is left open.
    pub value: Option<String>,
    /// Where it was made.
    pub origin: Origin,
}

/// The settings in effect, and where each was made.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    layers: Layers,
}

impl Loaded {
    /// Every setting with its value and where it was made, in the order of the types.
    pub fn explain(&self) -> Vec<Setting> {
        let defaults = table_of(&toml::to_string(&Config::default()).expect("the defaults are plain data"));
        let look_up = |table: &Table, (section, key): Key| Some(table.get(section)?.get(key)?.to_string());
        keys::all()
            .map(|key| Setting {
                key: keys::dotted(key),
                value: look_up(&self.layers.values, key).or_else(|| look_up(&defaults, key)),
                origin: self.layers.origin(key),
            })
            .collect()
    }

    /// Tells the place of a setting that turned out to be wrong only when it was used: an [`Error::InvalidRequest`] about a
    /// field that a file or a variable set becomes an [`Error::Config`]. Other errors stay as they are.
    #[must_use]
    pub fn placed(&self, error: Error) -> Error {
        let Error::InvalidRequest { field, what } = error else { return error };
        let made = |key: &Key| matches!(self.layers.origin(*key), Origin::File { .. } | Origin::Variable(_));
        match keys::all().find(|key| key.1 == field && made(key)) {
            Some(key) => wrong(&self.layers.origin(key).to_string(), &keys::dotted(key), what),
            None => Error::InvalidRequest { field, what },
        }
    }
}

/// Reads all sources; `os` is as in [`std::env::consts::OS`].
pub(super) fn load(dir: &Path, env: &Env, os: &str, overrides: &Overrides) -> Result<Loaded> {
    let mut layers = Layers::default();
    layers.add_file(&dir.join(LOCAL_FILE))?;
    for path in user_files(env, os)? {
        layers.add_file(&path)?;
    }
    layers.finish(env, overrides)
}

/// Reads one file in place of those that are looked for.
pub(super) fn load_file(file: &Path, env: &Env, overrides: &Overrides) -> Result<Loaded> {
    fs::metadata(file).map_err(|error| Error::io("read", file, error))?;
    let mut layers = Layers::default();
    layers.add_file(file)?;
    layers.finish(env, overrides)
}

/// Where the user's settings may stand, the later winning.
fn user_files(env: &Env, os: &str) -> Result<Vec<PathBuf>> {
    let directory =
        |name: &str| env.get(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = |directory: PathBuf| directory.join("inferno").join("config.toml");
    if os == "windows" {
        return Ok(directory("APPDATA").map(file).into_iter().collect());
    }
    let mut files = Vec::new();
    if os == "macos" {
        files.extend(directory("HOME").map(|home| file(home.join("Library").join("Application Support"))));
    }
    match directory("XDG_CONFIG_HOME") {
        Some(relative) if relative.is_relative() => {
            let what = format!("{} is relative: an absolute path is needed", relative.display());
            return Err(wrong("XDG_CONFIG_HOME", "directory", what));
        }
        Some(config) => files.push(file(config)),
        None => files.extend(directory("HOME").map(|home| file(home.join(".config")))),
    }
    Ok(files)
}

/// The values that were set so far, by section and key, and where.
#[derive(Debug, Clone, Default)]
struct Layers {
    values: Table,
    origins: BTreeMap<Key, Origin>,
}

impl Layers {
    fn origin(&self, key: Key) -> Origin {
        self.origins.get(&key).cloned().unwrap_or(Origin::Default)
    }

    /// Takes a value after checking it alone.
    fn set(&mut self, key: Key, value: Value, origin: Origin) -> Result<()> {
        let place = origin.to_string();
        let config = alone(key, &value).map_err(|what| wrong(&place, &keys::dotted(key), what))?;
        config.check().map_err(|(_, problem)| wrong(&place, &keys::dotted(key), problem.what))?;
        let value = match (&origin, value) {
            (Origin::File { path, .. }, value) if PATHS.contains(&key) => {
                beside(path, value).map_err(|what| wrong(&place, &keys::dotted(key), what))?
            }
            (_, value) => value,
        };
        let section = self.values.entry(key.0).or_insert_with(|| Value::Table(Table::new()));
        section.as_table_mut().expect("only tables are put here").insert(key.1.to_owned(), value);
        self.origins.insert(key, origin);
        Ok(())
    }

    /// Lays variables and flags over the files.
    fn finish(mut self, env: &Env, overrides: &Overrides) -> Result<Loaded> {
        self.add_variables(env)?;
        self.add_flags(overrides)?;
        let config = self.merged()?;
        Ok(Loaded { config, layers: self })
    }

    /// Takes the settings of a file, if it exists.
    fn add_file(&mut self, path: &Path) -> Result<()> {
        let Some(text) = read(path)? else { return Ok(()) };
        let place = |offset: usize| format!("{}:{}", path.display(), line_of(&text, offset));
        let syntax = |error: toml::de::Error| {
            wrong(&place(error.span().map_or(0, |span| span.start)), "syntax", error.message())
        };
        let spans = toml::de::DeTable::parse(&text).map_err(syntax)?;
        let values: Table = toml::from_str(&text).map_err(syntax)?;

        for (section, settings) in spans.get_ref() {
            let at = place(section.span().start);
            let section = section.get_ref().as_ref();
            let Some(settings) = settings.get_ref().as_table() else {
                let what = match keys::sections().contains(&section) {
                    true => format!("is a section: [{section}] with keys is needed"),
                    false => unknown(section),
                };
                return Err(wrong(&at, section, what));
            };
            if !keys::sections().contains(&section) {
                let what = format!("is not a section: {} are", keys::sections().join(", "));
                return Err(wrong(&at, section, what));
            }
            for name in settings.keys() {
                let line = line_of(&text, name.span().start);
                let name = name.get_ref().as_ref();
                let dotted = format!("{section}.{name}");
                let key = keys::find(section, name)
                    .ok_or_else(|| wrong(&format!("{}:{line}", path.display()), &dotted, unknown(&dotted)))?;
                let value = values[section][name].clone();
                self.set(key, value, Origin::File { path: path.to_owned(), line })?;
            }
        }
        Ok(())
    }

    /// Takes the `INFERNO_*` variables.
    fn add_variables(&mut self, env: &Env) -> Result<()> {
        for (name, text) in env {
            let name = name.to_string_lossy();
            if !name.starts_with("INFERNO_")
                || OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || OTHER_VARIABLES.contains(&name.as_ref())
            {
                continue;
            }
            let Some(key) = keys::all().find(|key| keys::variable(*key) == name) else {
                // "INFERNO_CONTEXT_SIZE" is meant where the variable ends in "CONTEXT_SIZE".
                let end = name.trim_start_matches("INFERNO_");
                let near = keys::all().find(|key| key.1.to_uppercase() == end).map(keys::variable);
                let near = match near {
                    Some(near) => format!(", did you mean {near}?"),
                    None => keys::suggestion(&name, '\0', keys::all().map(keys::variable)),
                };
                return Err(wrong(&name, "variable", format!("no setting has this name{near}")));
            };
            let Some(text) = text.to_str() else {
                return Err(wrong(&name, &keys::dotted(key), "is not valid UTF-8"));
            };
            self.set(key, value_of_variable(key, text), Origin::Variable(name.into_owned()))?;
        }
        Ok(())
    }

    /// Takes the flags of the command.
    fn add_flags(&mut self, overrides: &Overrides) -> Result<()> {
        // Of all types only a path may be without a text; that of the model is the likeliest.
        let path = ("model", "path");
        let text = toml::to_string(overrides)
            .map_err(|error| wrong(&keys::flag(path), &keys::dotted(path), error.to_string()))?;
        let flags = table_of(&text);
        for key in keys::all() {
            if let Some(value) = flags.get(key.0).and_then(|section| section.get(key.1)) {
                self.set(key, value.clone(), Origin::Flag(keys::flag(key)))?;
            }
        }
        Ok(())
    }

    /// All values over the defaults, checked against each other.
    fn merged(&self) -> Result<Config> {
        let config = Config::deserialize(self.values.clone())
            .map_err(|error| wrong("all sources together", "settings", error.message()))?;
        config.check().map_err(|(section, problem)| {
            let find = |field| keys::find(section, field).map(|key| (key, self.origin(key)));
            let dotted = format!("{section}.{}", problem.field);
            let (mut place, mut what) = (Origin::Default, problem.what);
            if let Some((_, origin)) = find(problem.field) {
                place = origin;
            }
            if let Some((key, origin)) =
                problem.other.and_then(find).filter(|other| other.1 != Origin::Default)
            {
                what = format!("{what} ({} is set at {origin})", keys::dotted(key));
                if place == Origin::Default {
                    place = origin;
                }
            }
            wrong(&place.to_string(), &dotted, what)
        })?;
        Ok(config)
    }
}

/// Reads a settings file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>> {
    let failed = |error| Error::io("read", path, error);
    let refused = |what: &str| Err(failed(io::Error::new(io::ErrorKind::InvalidInput, what)));
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if facts.is_dir() {
        return refused("it is a directory, a settings file is needed");
    }
    if !facts.is_file() {
        return refused("it is not a regular file");
    }
    if facts.len() > MAX_FILE_BYTES {
        return refused("it is longer than 1 MiB, which no settings file is");
    }
    let bytes = fs::read(path).map_err(failed)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
            Err(wrong(&format!("{}:{line}", path.display()), "encoding", "is not valid UTF-8"))
        }
    }
}

/// The defaults with this one value, or what is wrong with its type.
fn alone((section, key): Key, value: &Value) -> Result<Config, String> {
    let settings = Table::from_iter([(key.to_owned(), value.clone())]);
    let table = Table::from_iter([(section.to_owned(), Value::Table(settings))]);
    Config::deserialize(table).map_err(|error| in_plain_words(error.message()))
}

/// Names the types as a file's author knows them.
fn in_plain_words(message: &str) -> String {
    let words = [
        ("expected u32", "a whole number that is not negative is needed"),
        ("expected usize", "a whole number that is not negative is needed"),
        ("expected u16", "a whole number from 0 to 65535 is needed"),
        ("expected u8", "a small whole number that is not negative is needed"),
        ("expected f32", "a number is needed"),
        ("expected a boolean", "true or false is needed"),
        ("expected a sequence", "a list is needed"),
        ("expected a map", "a table is needed"),
        ("expected a string", "a text in quotes is needed"),
        ("expected path string", "a text in quotes is needed"),
    ];
    let known =
        words.iter().find_map(|(rust, plain)| Some(format!("{}{plain}", message.strip_suffix(rust)?)));
    known.unwrap_or_else(|| message.trim_end().replace('\n', " "))
}

/// A variable's text is a text where one is wanted, and else what it would be in a file.
fn value_of_variable(key: Key, text: &str) -> Value {
    let as_text = Value::String(text.to_owned());
    match alone(key, &as_text) {
        Ok(_) => as_text,
        Err(_) => text.trim().parse().unwrap_or(as_text),
    }
}

/// A path in a file is relative to the file's directory; in a table, each is.
fn beside(file: &Path, value: Value) -> Result<Value, &'static str> {
    match value {
        Value::String(path) => {
            let path = file.parent().unwrap_or(Path::new("")).join(path);
            let path = path.into_os_string().into_string();
            path.map(Value::String).map_err(|_| "the directory of this file is not valid UTF-8")
        }
        Value::Table(paths) => {
            let paths = paths.into_iter().map(|(name, path)| Ok((name, beside(file, path)?)));
            paths.collect::<Result<Table, _>>().map(Value::Table)
        }
        other => Ok(other),
    }
}

/// The text of an error for a key that does not exist.
fn unknown(dotted: &str) -> String {
    format!("is not a setting{}", keys::suggestion(dotted, '.', keys::all().map(keys::dotted)))
}

/// The table that a serialised value is, with floats as short as they were written.
fn table_of(text: &str) -> Table {
    toml::from_str(text).expect("what toml has written it can read")
}

/// The line in which a byte of the text is, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// Shorthand for [`Error::Config`].
fn wrong(place: &str, key: &str, what: impl Into<String>) -> Error {
    Error::Config { place: place.to_owned(), key: key.to_owned(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{LogLevel, ModelOverrides, SampleOverrides};
    use super::*;
    use crate::session::FlashAttention;

    /// A working directory and a home, with files in them.
    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Place { root: tempfile::tempdir().unwrap() };
            fs::create_dir_all(place.dir()).unwrap();
            fs::create_dir_all(place.user_file().parent().unwrap()).unwrap();
            place
        }

        fn dir(&self) -> PathBuf {
            self.root.path().join("work")
        }

        fn user_file(&self) -> PathBuf {
            self.root.path().join("home/.config/inferno/config.toml")
        }

        fn local(self, text: impl AsRef<[u8]>) -> Self {
            fs::write(self.dir().join(LOCAL_FILE), text).unwrap();
            self
        }

        fn user(self, text: &str) -> Self {
            fs::write(self.user_file(), text).unwrap();
            self
        }

        fn load_with(&self, variables: &[(&str, &str)], overrides: &Overrides) -> Result<Loaded> {
            let home = self.root.path().join("home").into_os_string();
            let mut env = Env::from([("HOME".into(), home), ("PATH".into(), "/bin".into())]);
            env.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
            load(&self.dir(), &env, "linux", overrides)
        }

        fn load(&self) -> Result<Loaded> {
            self.load_with(&[], &Overrides::default())
        }

        /// The error without the directory in front of its files.
        fn error_with(&self, variables: &[(&str, &str)], overrides: &Overrides) -> String {
            let error = self.load_with(variables, overrides).unwrap_err().to_string();
            error.replace(&format!("{}/", self.dir().display()), "")
        }

        fn error(&self) -> String {
            self.error_with(&[], &Overrides::default())
        }
    }

    fn error_of(local: &str) -> String {
        Place::new().local(local).error()
    }

    fn error_of_variable(name: &str, value: &str) -> String {
        Place::new().error_with(&[(name, value)], &Overrides::default())
    }

    #[test]
    fn without_any_source_the_defaults_hold() {
        let loaded = Place::new().load().unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.explain().iter().all(|setting| setting.origin == Origin::Default));
        assert_eq!(
            load(Path::new("nowhere"), &Env::new(), "linux", &Overrides::default()).unwrap().config,
            loaded.config
        );
    }

    #[test]
    fn the_keys_of_existing_users_work() {
        let place = Place::new()
            .local("[backend_config]\ngpu_enabled = false\ncontext_size = 2048\nbatch_size = 64\n");
        let backend = place.load().unwrap().config.backend_config;
        assert!(!backend.gpu_enabled);
        assert_eq!((backend.context_size, backend.batch_size), (Some(2048), Some(64)));
    }

    #[test]
    fn the_later_source_wins_key_by_key() {
        let place = Place::new()
            .local("[sampling]\ntop_k = 1\ntop_p = 0.1\nmin_p = 0.1\nseed = 1\n")
            .user("[sampling]\ntop_k = 2\ntop_p = 0.2\nmin_p = 0.2\n");
        let overrides = Overrides {
            sampling: SampleOverrides { top_k: Some(4), ..Default::default() },
            ..Default::default()
        };
        let variables = [("INFERNO_SAMPLING_TOP_K", "3"), ("INFERNO_SAMPLING_TOP_P", "0.3")];
        let loaded = place.load_with(&variables, &overrides).unwrap();
        let sampling = &loaded.config.sampling;
        assert_eq!((sampling.top_k, sampling.top_p, sampling.min_p, sampling.seed), (4, 0.3, 0.2, Some(1)));

        let explained = |key: &str| {
            let all = loaded.explain();
            let setting = all.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.clone().unwrap_or_default(), setting.origin.clone())
        };
        let file = |path: PathBuf, line| Origin::File { path, line };
        assert_eq!(explained("sampling.top_k"), ("4".into(), Origin::Flag("--top-k".into())));
        assert_eq!(
            explained("sampling.top_p"),
            ("0.3".into(), Origin::Variable("INFERNO_SAMPLING_TOP_P".into()))
        );
        assert_eq!(explained("sampling.min_p"), ("0.2".into(), file(place.user_file(), 4)));
        assert_eq!(explained("sampling.seed"), ("1".into(), file(place.dir().join(LOCAL_FILE), 5)));
        assert_eq!(explained("sampling.temperature"), ("0.8".into(), Origin::Default));
        assert_eq!(explained("backend_config.threads"), (String::new(), Origin::Default));
        assert_eq!(loaded.explain().len(), keys::all().count());
    }

    #[test]
    fn every_kind_of_value_can_come_from_a_variable() {
        let variables = [
            ("INFERNO_BACKEND_GPU_ENABLED", "false"),
            ("INFERNO_BACKEND_CONTEXT_SIZE", " 512 "),
            ("INFERNO_BACKEND_FLASH_ATTENTION", "on"),
            ("INFERNO_MODEL_PATH", "123"),
            ("INFERNO_SAMPLING_TEMPERATURE", "1"),
            ("INFERNO_SAMPLING_STOP", r#"["a", "b"]"#),
            ("INFERNO_SAMPLING_LOGIT_BIAS", "{ 5 = 1.5, 6 = false }"),
            ("INFERNO_SAMPLING_MIROSTAT", "0"),
            ("INFERNO_LOG_LEVEL", "debug"),
            ("INFERNO_MARCH", "x86-64-v3"),
            ("INFERNO_TEST_ANYTHING", "1"),
            ("INFERNO_METAL_SIM", "amd-rdna1"),
            ("INFERNO_METAL_SIM_SEED", "7"),
            ("INFERNOS", "1"),
        ];
        let config = Place::new().load_with(&variables, &Overrides::default()).unwrap().config;
        assert!(!config.backend_config.gpu_enabled);
        assert_eq!(config.backend_config.context_size, Some(512));
        assert_eq!(config.backend_config.flash_attention, FlashAttention::On);
        assert_eq!(config.model.path, Some("123".into()));
        assert_eq!(config.sampling.temperature, 1.0);
        assert_eq!(config.sampling.stop, ["a", "b"]);
        assert_eq!(config.sampling.logit_bias, [(5, 1.5), (6, f32::NEG_INFINITY)].into());
        assert_eq!(config.log.level, LogLevel::Debug);
    }

    #[test]
    fn flags_override_with_their_types() {
        let overrides = Overrides {
            model: ModelOverrides { path: Some("m.gguf".into()) },
            sampling: SampleOverrides {
                temperature: Some(0.1),
                logit_bias: Some([(5, f32::NEG_INFINITY)].into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let loaded = Place::new().load_with(&[], &overrides).unwrap();
        assert_eq!(loaded.config.model.path, Some("m.gguf".into()));
        assert_eq!(loaded.config.sampling.temperature, 0.1);
        assert_eq!(loaded.config.sampling.logit_bias, [(5, f32::NEG_INFINITY)].into());
        let values: Vec<_> = loaded.explain().into_iter().filter_map(|setting| setting.value).collect();
        assert!(values.contains(&"0.1".to_owned()), "{values:?}");

        let wrong = Overrides {
            sampling: SampleOverrides { temperature: Some(f32::NAN), ..Default::default() },
            ..Default::default()
        };
        let error = Place::new().error_with(&[], &wrong);
        assert!(error.starts_with("--temperature: sampling.temperature: NaN is out of range"), "{error}");
    }

    #[test]
    fn a_path_in_a_file_is_relative_to_the_file() {
        let place = Place::new().local("[model]\npath = \"m.gguf\"\n");
        assert_eq!(place.load().unwrap().config.model.path, Some(place.dir().join("m.gguf")));
        let place = Place::new().user("[model]\npath = \"/models/m.gguf\"\n");
        assert_eq!(place.load().unwrap().config.model.path, Some("/models/m.gguf".into()));
    }

    #[test]
    fn unknown_names_are_errors_with_line_key_and_the_nearest_name() {
        assert_eq!(
            error_of("[backend_config]\n\ncontxt_size = 1\n"),
            ".inferno.toml:3: backend_config.contxt_size: is not a setting, did you mean backend_config.context_size?"
        );
        assert_eq!(
            error_of("context_size = 1\n"),
            ".inferno.toml:1: context_size: is not a setting, did you mean backend_config.context_size?"
        );
        assert_eq!(
            error_of("# x\n[sampler]\ntop_k = 1\n"),
            ".inferno.toml:2: sampler: is not a section: backend_config, model, sampling, engine, server, worker, log are"
        );
        assert_eq!(error_of("[log]\nzzzz = 1"), ".inferno.toml:2: log.zzzz: is not a setting");
        assert_eq!(
            error_of_variable("INFERNO_CONTEXT_SIZE", "1"),
            "INFERNO_CONTEXT_SIZE: variable: no setting has this name, did you mean INFERNO_BACKEND_CONTEXT_SIZE?"
        );
        assert_eq!(
            error_of_variable("INFERNO_SAMPLING_TEMPRATURE", "1"),
            "INFERNO_SAMPLING_TEMPRATURE: variable: no setting has this name, did you mean INFERNO_SAMPLING_TEMPERATURE?"
        );
        assert_eq!(error_of_variable("INFERNO_X", ""), "INFERNO_X: variable: no setting has this name");
    }

    #[test]
    fn what_is_found_wrong_later_has_its_place() {
        let loaded = Place::new().local("[backend_config]\n\ndevice = \"GPU9\"").load().unwrap();
        let text = |field| loaded.placed(Error::request(field, "there is none")).to_string();
        assert!(
            text("device").ends_with(".inferno.toml:3: backend_config.device: there is none"),
            "{}",
            text("device")
        );
        // a default and what is no setting have no place
        assert_eq!(text("threads"), Error::request("threads", "there is none").to_string());
        assert_eq!(text("prompt"), Error::request("prompt", "there is none").to_string());
        let by_variable =
            Place::new().load_with(&[("INFERNO_BACKEND_DEVICE", "GPU9")], &Overrides::default());
        let error = by_variable.unwrap().placed(Error::request("device", "there is none")).to_string();
        assert_eq!(error, "INFERNO_BACKEND_DEVICE: backend_config.device: there is none");
    }

    #[test]
    fn wrong_types_are_errors_that_say_what_is_needed() {
        for (local, expected) in [
            (
                "[backend_config]\ncontext_size = \"big\"",
                "2: backend_config.context_size: invalid type: string \"big\", a whole number that is not negative is needed",
            ),
            (
                "[backend_config]\ncontext_size = -1",
                "2: backend_config.context_size: invalid value: integer `-1`, a whole number that is not negative is needed",
            ),
            (
                "[backend_config]\ngpu_enabled = 1",
                "2: backend_config.gpu_enabled: invalid type: integer `1`, true or false is needed",
            ),
            (
                "[sampling]\ntemperature = true",
                "2: sampling.temperature: invalid type: boolean `true`, a number is needed",
            ),
            ("[sampling]\nstop = 1", "2: sampling.stop: invalid type: integer `1`, a list is needed"),
            ("[model]\npath = 1", "2: model.path: invalid type: integer `1`, a text in quotes is needed"),
            (
                "[log]\nlevel = \"loud\"",
                "2: log.level: unknown variant `loud`, expected one of `off`, `error`, `warn`, `info`, `debug`, `trace`",
            ),
            ("log = 1", "1: log: is a section: [log] with keys is needed"),
            (
                "[sampling]\nmirostat = 3",
                "2: sampling.mirostat: mirostat version 3 does not exist: 0 (off), 1 or 2 is needed",
            ),
            ("[backend_config]\ncontext_size = 1979-05-27", "2: backend_config.context_size: invalid type"),
            ("[[sampling]]\ntop_k = 1", "1: sampling: is a section"),
        ] {
            let error = error_of(local);
            assert!(error.starts_with(&format!(".inferno.toml:{expected}")), "{local:?}: {error}");
        }
        assert_eq!(
            error_of_variable("INFERNO_BACKEND_GPU_ENABLED", "yes"),
            "INFERNO_BACKEND_GPU_ENABLED: backend_config.gpu_enabled: invalid type: string \"yes\", true or false is needed"
        );
        assert_eq!(
            error_of_variable("INFERNO_BACKEND_THREADS", "-2"),
            "INFERNO_BACKEND_THREADS: backend_config.threads: invalid value: integer `-2`, a whole number that is not negative is needed"
        );
    }

    #[test]
    fn impossible_values_are_errors() {
        for (local, expected) in [
            ("[backend_config]\ncontext_size = 0", "2: backend_config.context_size: 0 is outside 1 to"),
            (
                "[backend_config]\ncontext_size = 1",
                "2: backend_config.context_size: 1 is too few: at least 2",
            ),
            ("[backend_config]\nbatch_size = 0", "2: backend_config.batch_size: 0 is outside 1 to"),
            ("[backend_config]\nubatch_size = 0", "2: backend_config.ubatch_size: 0 is outside 1 to"),
            ("[backend_config]\nthreads = 513", "2: backend_config.threads: 513 is outside 1 to 512"),
            ("[backend_config]\ndevice = \" \"", "2: backend_config.device: is empty"),
            ("[model]\npath = \"\"", "2: model.path: is empty"),
            ("[sampling]\ntop_p = 1.5", "2: sampling.top_p: 1.5 is out of range: above 0, up to 1"),
            ("[sampling]\ntemperature = nan", "2: sampling.temperature: NaN is out of range"),
            ("[sampling]\ntemperature = 1e300", "2: sampling.temperature: inf is out of range"),
            (
                "[sampling]\nstop = [\n\"a\",\n\"\"]",
                "2: sampling.stop: number 2 of the stop strings is empty",
            ),
            ("[sampling.logit_bias]\n1 = inf", "1: sampling.logit_bias: token 1 has inf"),
            ("[engine]\nmax_concurrent_requests = 0", "2: engine.max_concurrent_requests: 0 is out of range"),
        ] {
            let error = error_of(local);
            assert!(error.starts_with(&format!(".inferno.toml:{expected}")), "{local:?}: {error}");
        }
        let error = error_of_variable("INFERNO_MODEL_PATH", "");
        assert!(error.starts_with("INFERNO_MODEL_PATH: model.path: is empty"), "{error}");
    }

    #[test]
    fn contradictions_name_both_places() {
        assert_eq!(
            error_of("[backend_config]\ncontext_size = 512\nbatch_size = 1024\n"),
            ".inferno.toml:3: backend_config.batch_size: 1024 is more than context_size, which is 512 \
             (backend_config.context_size is set at .inferno.toml:2)"
        );
        let place = Place::new().local("[backend_config]\nubatch_size = 1024\n");
        assert_eq!(
            place.error_with(&[("INFERNO_BACKEND_BATCH_SIZE", "512")], &Overrides::default()),
            ".inferno.toml:2: backend_config.ubatch_size: 1024 is more than batch_size, which is 512 \
             (backend_config.batch_size is set at INFERNO_BACKEND_BATCH_SIZE)"
        );
        let flags = Overrides {
            sampling: SampleOverrides { mirostat: Some(crate::sampling::Mirostat::V2), ..Default::default() },
            ..Default::default()
        };
        let error = Place::new().local("[sampling]\ntop_k = 20").error_with(&[], &flags);
        assert!(error.starts_with(".inferno.toml:2: sampling.top_k: would be ignored"), "{error}");
        assert!(error.ends_with("(sampling.mirostat is set at --mirostat)"), "{error}");
        let error = error_of("[backend_config]\ngpu_enabled = false\ndevice = \"Metal0\"");
        assert!(
            error.starts_with(".inferno.toml:3: backend_config.device: \"Metal0\" cannot be used"),
            "{error}"
        );
        let error = error_of("[backend_config]\ncache_type_v = \"q8_0\"\nflash_attention = \"off\"");
        assert!(error.starts_with(".inferno.toml:2: backend_config.cache_type_v: a quantised V"), "{error}");
    }

    #[test]
    fn a_contradiction_that_a_later_source_resolves_is_none() {
        let place = Place::new().local("[backend_config]\nubatch_size = 1024\nbatch_size = 512\n");
        place.load_with(&[("INFERNO_BACKEND_BATCH_SIZE", "2048")], &Overrides::default()).unwrap();
    }

    #[test]
    fn broken_files_are_errors_with_their_place() {
        let error = error_of("[log]\nlevel = \n");
        assert!(error.starts_with(".inferno.toml:2: syntax: "), "{error}");
        let error = error_of("[log]\nlevel = \"off\"\nlevel = \"off\"\n");
        assert!(error.starts_with(".inferno.toml:3: syntax: duplicate key"), "{error}");
        assert_eq!(
            Place::new().local(b"[log]\n# \xff\n").error(),
            ".inferno.toml:2: encoding: is not valid UTF-8"
        );
        let long = Place::new().local("#".repeat(1 << 21));
        assert_eq!(
            long.error(),
            "cannot read .inferno.toml: it is longer than 1 MiB, which no settings file is"
        );
        let directory = Place::new();
        fs::create_dir(directory.dir().join(LOCAL_FILE)).unwrap();
        assert_eq!(
            directory.error(),
            "cannot read .inferno.toml: it is a directory, a settings file is needed"
        );
        // A byte order mark, Windows line ends, dotted keys and an empty file are fine.
        let text = "\u{feff}[backend_config]\r\ncontext_size = 512\r\n";
        assert_eq!(Place::new().local(text).load().unwrap().config.backend_config.context_size, Some(512));
        let dotted = Place::new().local("sampling.top_k = 7").load().unwrap();
        assert_eq!(dotted.config.sampling.top_k, 7);
        assert_eq!(error_of("\n\nsampling.top_k = true").split(": ").next().unwrap(), ".inferno.toml:3");
        Place::new().local("").load().unwrap();
    }

    #[test]
    fn the_users_directory_depends_on_the_system() {
        let env = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect::<Env>()
        };
        let files = |pairs: &[(&str, &str)], os| {
            let files = user_files(&env(pairs), os).unwrap();
            files.iter().map(|file| file.display().to_string().replace('\\', "/")).collect::<Vec<_>>()
        };
        assert_eq!(files(&[("HOME", "/h")], "linux"), ["/h/.config/inferno/config.toml"]);
        let both = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")];
        assert_eq!(files(&both, "linux"), ["/x/inferno/config.toml"]);
        assert_eq!(
            files(&both, "macos"),
            ["/h/Library/Application Support/inferno/config.toml", "/x/inferno/config.toml"]
        );
        assert_eq!(files(&[("APPDATA", "/a"), ("HOME", "/h")], "windows"), ["/a/inferno/config.toml"]);
        assert_eq!(files(&[("HOME", ""), ("XDG_CONFIG_HOME", "")], "linux"), [""; 0]);
        let error = user_files(&env(&[("XDG_CONFIG_HOME", "x")]), "linux").unwrap_err().to_string();
        assert_eq!(error, "XDG_CONFIG_HOME: directory: x is relative: an absolute path is needed");
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_not_utf8_are_errors() {
        use std::os::unix::ffi::OsStrExt;
        let env = Env::from([("INFERNO_MODEL_PATH".into(), OsStr::from_bytes(b"\xff").to_owned())]);
        let error = load(Path::new("nowhere"), &env, "linux", &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), "INFERNO_MODEL_PATH: model.path: is not valid UTF-8");
        let path = Some(OsStr::from_bytes(b"\xff").into());
        let flags = Overrides { model: ModelOverrides { path }, ..Default::default() };
        let error = load(Path::new("nowhere"), &Env::new(), "linux", &flags).unwrap_err().to_string();
        assert!(error.starts_with("--model: model.path: "), "{error}");
    }

    fn any_line() -> impl Strategy<Value = String> {
        let key = proptest::sample::select(keys::all().map(|key| key.1).collect::<Vec<_>>());
        let value = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f32>().prop_map(|n| n.to_string()),
            any::<bool>().prop_map(|n| n.to_string()),
            ".*".prop_map(|text| format!("{text:?}")),
            Just("[]".to_owned()),
            Just("{}".to_owned()),
        ];
        prop_oneof![
            4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
            2 => proptest::sample::select(vec!["[backend_config]", "[sampling]", "[engine]", "[log]", "[model]"])
                .prop_map(str::to_owned),
            1 => ".*",
        ]
    }

    proptest! {
        #[test]
        fn any_text_loads_or_gives_an_error(lines in proptest::collection::vec(any_line(), 0..6)) {
            let place = Place::new().local(lines.join("\n"));
            if let Ok(loaded) = place.load() {
                loaded.config.check().unwrap();
            }
        }

        #[test]
        fn any_variable_loads_or_gives_an_error(index in 0usize..100, value in ".*") {
            let all: Vec<_> = keys::all().map(keys::variable).collect();
            let env = Env::from([(all[index % all.len()].clone().into(), value.into())]);
            let _ = load(Path::new("nowhere"), &env, "linux", &Overrides::default());
        }
    }
}
