//! The command from outside: the real binary on the built-in model, what it prints and how it ends.

use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const STORY: &str = "Once upon a time";
/// A process that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a process left.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// Asserts success and gives stdout.
    fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Asserts a failure with this exit code and one line that holds all of `words`.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{words:?}: {}", self.stderr);
        assert_eq!(self.stdout, "", "{words:?}");
        let line = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{words:?}: {:?}", self.stderr));
        assert!(line.starts_with("inferno: ") && !line.contains('\n'), "{words:?}: {line}");
        for word in words {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }

    /// The events of --json.
    fn events(self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// A place without settings, and the command in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inferno"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("INFERNO_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            // tests run side by side: more threads than cores make each other wait
            .env("INFERNO_BACKEND_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The command as `"$@"` of a shell's script.
    #[cfg(target_os = "linux")]
    fn in_shell(&self, script: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
        let inferno = self.command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(inferno.get_program()).args(inferno.get_args());
        for (name, value) in inferno.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(self.0.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Outcome {
        finish(self.command(arguments).spawn().unwrap())
    }

    fn run_with(&self, arguments: &[impl AsRef<OsStr>], input: impl AsRef<[u8]>) -> Outcome {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        let writer = thread::spawn(move || {
            // who does not read it to the end has a reason
            let _ = stdin.write_all(&input);
        });
        let outcome = finish(child);
        writer.join().unwrap();
        outcome
    }
}

fn run(arguments: &[impl AsRef<OsStr>]) -> Outcome {
    Place::new().run(arguments)
}

/// Reads a process to its end; kills it if there is none.
fn finish(mut child: Child) -> Outcome {
    fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = vec![];
            from.read_to_end(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        })
    }
    let stdout = child.stdout.take().map(reader);
    let stderr = child.stderr.take().map(reader);
    let code = end_of(&mut child);
    let text =
        |reader: Option<thread::JoinHandle<String>>| reader.map_or_else(String::new, |r| r.join().unwrap());
    Outcome { code, stdout: text(stdout), stderr: text(stderr) }
}

fn end_of(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it did not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the first output.
fn first_output(child: &mut Child) -> String {
    let mut buffer = [0; 64];
    let read = child.stdout.as_mut().unwrap().read(&mut buffer).unwrap();
    assert!(read > 0, "it ended without any output");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Waits for the first line on stderr: from then on Ctrl-C is listened to.
#[cfg(unix)]
fn built_in_model_is_announced(child: &mut Child) {
    let mut buffer = [0; 16];
    assert!(child.stderr.as_mut().unwrap().read(&mut buffer).unwrap() > 0);
    thread::sleep(Duration::from_millis(300));
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The built-in model's file.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}

fn model_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| fs::read(model()).unwrap())
}

/// More tokens than any test has patience for.
const ENDLESS: [&str; 6] = ["run", STORY, "--ignore-eos", "--context-size", "16384", "--quiet"];

// ---- run ----

#[test]
fn text_comes_before_the_end() {
    let place = Place::new();
    let mut child = place.command(&ENDLESS).spawn().unwrap();
    let first = first_output(&mut child);
    assert!(child.try_wait().unwrap().is_none(), "it was over when its first text came: {first}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_prompt_is_an_argument_a_flag_or_standard_input() {
    let place = Place::new();
    let options = ["--temperature", "0", "-n", "12", "--quiet"];
    let with = |first: &[&'static str]| [&["run"], first, &options].concat();
    let text = place.run(&with(&[STORY])).text();
    assert!(!text.is_empty());
    assert_eq!(place.run(&with(&["--prompt", STORY])).text(), text);
    assert_eq!(place.run_with(&with(&[]), STORY).text(), text);
    assert_eq!(place.run_with(&with(&["-"]), format!("{STORY}\n")).text(), text, "one line end is dropped");
    assert_eq!(place.run_with(&with(&["-"]), format!("{STORY}\r\n")).text(), text, "whatever its kind");
}

#[test]
fn nothing_but_the_answer_is_on_stdout_and_statistics_are_on_stderr() {
    let outcome = run(&["run", STORY, "-n", "5", "--seed", "3"]);
    let stderr = outcome.stderr.clone();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].contains("built-in model") && lines[0].contains("--model FILE"), "{stderr}");
    for part in ["prompt: ", "tok/s", "first token after", "generated: 5 tokens", "--max-tokens", "seed 3"] {
        assert!(lines[1].contains(part), "{part:?} is not in {stderr}");
    }
    assert!(!stderr.contains(['\r', '\x1b']), "{stderr:?}");
    let text = outcome.text();
    assert!(!text.ends_with('\n') && !text.contains('\x1b'), "{text:?}");
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let place = Place::new();
    let with =
        |seed| place.run(&["run", STORY, "-n", "40", "-q", "--temperature", "1.5", "--seed", seed]).text();
    let one = with("1");
    assert_eq!(with("1"), one);
    assert_ne!(with("2"), one);
}

#[test]
fn events_parse_and_add_up() {
    let place = Place::new();
    let arguments = ["run", STORY, "-n", "20", "--seed", "7", "-q"];
    let plain = place.run(&arguments).text();
    let events = place.run(&[&arguments[..], &["--json", "--logprobs", "2"]].concat()).events();

    let of = |name: &str| events.iter().filter(|e| e["event"] == name).collect::<Vec<_>>();
    let text: String = of("text").iter().map(|e| e["text"].as_str().unwrap()).collect();
    assert_eq!(text, plain);
    assert_eq!(events[0]["event"], "prefill");
    let done = events.last().unwrap();
    assert_eq!(done["event"], "done");
    assert_eq!(of("prefill").last().unwrap()["done"], done["prompt_tokens"]);
    assert_eq!((&done["finish"], &done["seed"]), (&"max_tokens".into(), &7.into()));
    assert_eq!(done["completion_tokens"], of("token").len());
    for token in of("token") {
        assert!(
            token["logprob"].as_f64().unwrap() <= 0.0 && token["top"].as_array().unwrap().len() == 2,
            "{token}"
        );
    }
}

#[test]
fn a_stop_string_ends_the_text_and_is_no_part_of_it() {
    let place = Place::new();
    let arguments = ["run", STORY, "-n", "60", "--temperature", "0", "-q"];
    let whole = place.run(&arguments).text();
    let stop = whole.split(' ').nth(6).unwrap();
    let events =
        place.run(&[&arguments[..], &["--json", "--stop", "never seen", "--stop", stop]].concat()).events();
    let text: String = events.iter().filter_map(|e| e["text"].as_str()).collect();
    assert_eq!(text, whole.split(stop).next().unwrap());
    assert_eq!(events.last().unwrap()["finish"]["stop"], stop);
}

#[test]
fn as_many_tokens_as_asked_for() {
    let done = |n: &str| run(&["run", STORY, "--json", "-q", "-n", n]).events().pop().unwrap();
    assert_eq!(done("7")["completion_tokens"], 7);
    assert_eq!(done("1")["completion_tokens"], 1);
    assert_eq!(done("0")["completion_tokens"], 0);
}

#[test]
fn with_chat_the_prompt_is_a_message() {
    let answer = run(&["run", "--chat", "What is 2 + 3?", "--temperature", "0", "-q"]).text();
    assert_eq!(answer.trim(), "5");
    let answer =
        run(&["run", "--chat", "--system", "Be brief.", "What is 2 + 3?", "--temperature", "0", "-q"]).text();
    assert!(answer.contains('5'), "{answer}");
}

#[test]
fn a_saved_state_is_not_read_again() {
    let place = Place::new();
    let arguments =
        ["run", "Once upon a time there was a hen.", "-n", "8", "--temperature", "0", "-q", "--json"];
    let first = place.run(&[&arguments[..], &["--save-state", "s"]].concat()).events();
    let again = place.run(&[&arguments[..], &["--restore-state", "s"]].concat()).events();
    let text = |events: &[Value]| events.iter().filter_map(|e| e["text"].as_str()).collect::<String>();
    assert_eq!(text(&again), text(&first));
    let (first, again) = (first.last().unwrap(), again.last().unwrap());
    assert_eq!(first["cached_tokens"], 0);
    assert_eq!(again["cached_tokens"].as_u64().unwrap(), first["prompt_tokens"].as_u64().unwrap() - 1);
    place
        .run(&[&arguments[..6], &["--restore-state", "s", "--cache-type-k", "q8_0", "-q"]].concat())
        .fails(1, &["s cannot be restored", "K cache type"]);
}

// ---- ends ----

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_answer_with_130() {
    let place = Place::new();
    let mut child = place.command(&ENDLESS[..5]).spawn().unwrap();
    first_output(&mut child);
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("interrupted after") && outcome.stderr.contains("generated: about"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_long_prompt() {
    let place = Place::new();
    let mut child = place
        .command(&["run", "-", "--context-size", "65536", "--ubatch-size", "64", "--json", "-q"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("The hen ran away. ".repeat(10_000).as_bytes()).unwrap();
    drop(stdin);
    first_output(&mut child);
    let pressed = Instant::now();
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(pressed.elapsed() < Duration::from_secs(20), "{:?}", pressed.elapsed());
    let last: Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"error".into(), &130.into()));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_measurements() {
    let place = Place::new();
    for arguments in [
        &["bench", "-p", "0", "-n", "64", "-r", "100000", "--json"][..],
        &["eval", "--show", "1000", "--json"],
    ] {
        let mut child = place.command(arguments).spawn().unwrap();
        built_in_model_is_announced(&mut child);
        interrupt(&child);
        assert_eq!(end_of(&mut child), Some(130), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_success() {
    let place = Place::new();
    for arguments in [&ENDLESS[..], &[&ENDLESS[..], &["--json"]].concat()] {
        let mut child = place.command(arguments).spawn().unwrap();
        first_output(&mut child);
        drop(child.stdout.take());
        let outcome = finish(child);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    }
    let mut child = place.command(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    let outcome = finish(child);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_model_that_is_deleted_while_in_use_goes_on() {
    let place = Place::new();
    let copy = place.file("copy.gguf", model_bytes());
    let arguments = [&ENDLESS[..], &["-n", "1500", "-m", "copy.gguf"]].concat();
    let mut child = place.command(&arguments).spawn().unwrap();
    first_output(&mut child);
    fs::remove_file(&copy).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);

    place.file("copy.gguf", model_bytes());
    let mut child = place.command(&[&arguments[..], &["--save-state", "s"]].concat()).spawn().unwrap();
    first_output(&mut child);
    fs::remove_file(&copy).unwrap();
    let outcome = finish(child);
    // the state could not be told from that of another model
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot read copy.gguf"), "{}", outcome.stderr);
    assert!(!place.path("s").exists());
}

// ---- bad input ----

#[test]
fn files_that_are_no_models_say_what_they_are() {
    let place = Place::new();
    let whole = model_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut file = whole.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let architecture = whole.windows(7).position(|w| w == b"\0\0\0llam").unwrap() + 3;
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", vec![], &["is not a valid GGUF file", "is empty"]),
        ("text", b"Dear reader,\nthis is no model.\n".to_vec(), &["text file", "Dear reader"]),
        ("quarter", whole[..whole.len() / 4].to_vec(), &["is not a valid GGUF file"]),
        ("half", whole[..whole.len() / 2].to_vec(), &["is not a valid GGUF file"]),
        ("three-quarters", whole[..whole.len() / 4 * 3].to_vec(), &["is not a valid GGUF file"]),
        ("almost", whole[..whole.len() - 4096].to_vec(), &["is not a valid GGUF file"]),
        ("tensors", with(8, &u64::MAX.to_le_bytes()), &["is not a valid GGUF file"]),
        ("entries", with(16, &u64::MAX.to_le_bytes()), &["is not a valid GGUF file"]),
        ("big-endian", with(4, &3u32.to_be_bytes()), &["big-endian"]),
        ("architecture", with(architecture, b"zebra"), &["zebra"]),
    ];
    for (name, bytes, words) in cases {
        place.file(name, bytes);
        place.run(&["run", "x", "-q", "-m", name]).fails(3, &[words, &[*name][..]].concat());
    }
    place.run(&["run", "x", "-m", "missing"]).fails(3, &["cannot open missing", "built-in model"]);
    place.run(&["info", "missing"]).fails(3, &["cannot open missing"]);
    fs::create_dir(place.path("directory")).unwrap();
    place
        .run(&["run", "x", "-m", "directory"])
        .fails(3, &["directory is not a valid GGUF file", "is a directory"]);
}

#[test]
fn prompts_that_cannot_be_continued_say_why() {
    let place = Place::new();
    let long = "The hen ran away. ".repeat(1000);
    place
        .run_with(&["run", "-q"], &long)
        .fails(4, &["the context holds 2048 tokens", "are needed", "--context-size"]);
    place.run(&["run", "-q", STORY, "-c", "4"]).fails(4, &["the context holds 4 tokens"]);
    place.run(&["run", "-q", STORY, "-n", "5000"]).fails(4, &["2048 tokens", "--max-tokens"]);
    for arguments in [&["run", ""][..], &["run", "--prompt", ""], &["run"], &["run", "-"]] {
        place.run(arguments).fails(2, &["the prompt is empty"]);
    }
    place.run_with(&["run"], b"ab\xff").fails(2, &["not valid UTF-8", "byte 2 (0xff"]);
    place.run_with(&["tokenize"], b"\xc3\xbc\xc3").fails(2, &["not valid UTF-8", "byte 2 (0xc3"]);
    place
        .run_with(&["chat", "-q"], b"/help\n\xff\n")
        .code
        .map_or_else(|| panic!(), |code| assert_eq!(code, 2));
}

#[test]
fn options_that_make_no_sense_are_named() {
    let place = Place::new();
    place.file("unknown.toml", "[backend_config]\ncontext_sise = 512\n");
    place.file("broken.toml", "[backend_config\n");
    place.file("device.toml", "[backend_config]\ndevice = \"GPU9\"\n");
    for (arguments, words) in [
        (&["-c", "0"][..], &["--context-size", "0 is outside 1 to"][..]),
        (&["-c", "1"], &["--context-size", "1 is too few"]),
        (&["-c", "64", "-b", "65"], &["--batch-size", "65 is more than context_size, which is 64"]),
        (&["-b", "4096"], &["--batch-size", "4096 is more than context_size, which is 2048"]),
        (&["-b", "64", "--ubatch-size", "65"], &["--ubatch-size", "65 is more than batch_size, which is 64"]),
        (&["--threads", "0"], &["--threads", "0 is outside 1 to 512"]),
        (&["--top-p", "1.5"], &["--top-p", "1.5 is out of range: above 0, up to 1"]),
        (&["--temperature", "nan"], &["--temperature", "NaN is out of range"]),
        (&["--temperature", "-1"], &["--temperature", "-1 is out of range"]),
        (&["--temperature", "warm"], &["--temperature", "'warm'", "a number is needed"]),
        (&["--max-tokens", "-5"], &["--max-tokens", "'-5'", "a whole number from 0"]),
        (&["--stop", ""], &["--stop", "is empty"]),
        (&["--seed", "4294967295"], &["--seed", "out of range"]),
        (&["--mirostat", "3"], &["--mirostat", "0 (off), 1 or 2"]),
        (&["--mirostat", "2", "--top-k", "5"], &["--top-k", "mirostat"]),
        (&["--logit-bias", "4096=1"], &["--logit-bias", "the model has no token 4096"]),
        (&["--logit-bias", "x"], &["--logit-bias", "'x'"]),
        (&["--logprobs", "1"], &["--json"]),
        (&["--json", "--logprobs", "101", "--quiet"], &[]),
        (&["--cache-type-v", "q4_0", "--flash-attention", "off"], &["--cache-type-v", "flash attention"]),
        (&["--cache-type-k", "q9"], &["--cache-type-k", "'q9'", "q8_0"]),
        (&["--device", "mtl7"], &["--device", "mtl7", "CPU"]),
        (&["--system", "x"], &["--chat"]),
        (&["--prompt", "y"], &["[PROMPT]", "--prompt"]),
        (&["--frobnicate"], &["--frobnicate", "inferno run --help"]),
        (&["--config", "unknown.toml"], &["unknown.toml:2", "context_sise", "did you mean", "context_size"]),
        (&["--config", "broken.toml"], &["broken.toml:1"]),
        (&["--config", "missing.toml"], &["missing.toml"]),
        (
            &["--config", "device.toml"],
            &["device.toml:2: backend_config.device: there is no \"GPU9\"", "auto, CPU"],
        ),
    ] {
        let outcome = place.run(&[&["run", "-q", "x"], arguments].concat());
        match words {
            [] => assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr),
            words => outcome.fails(2, words),
        }
    }
    place.file(".inferno.toml", "[sampling]\ntop_p = 1.5\n");
    place.run(&["run", "x"]).fails(2, &[".inferno.toml:2: sampling.top_p: 1.5 is out of range"]);
    fs::remove_file(place.path(".inferno.toml")).unwrap();
    let outcome = finish(place.command(&["run", "x"]).env("INFERNO_SAMPLING_TOP_Q", "1").spawn().unwrap());
    outcome.fails(2, &["INFERNO_SAMPLING_TOP_Q"]);
    let outcome = finish(place.command(&["config"]).env("INFERNO_LOG", "a=b=c").spawn().unwrap());
    outcome.fails(2, &["INFERNO_LOG"]);
    run(&["rum"]).fails(2, &["'rum'", "'run'"]);
}

#[test]
fn a_state_file_that_cannot_be_written_or_read_is_named() {
    let place = Place::new();
    place.file("text", "no state");
    place.run(&["run", "-q", "x", "--save-state", "nowhere/s"]).fails(1, &["cannot be saved in nowhere/s"]);
    place.run(&["run", "-q", "x", "--save-state", "."]).fails(1, &["cannot be saved in .", "directory"]);
    place.run(&["run", "-q", "x", "--restore-state", "missing"]).fails(1, &["cannot read missing"]);
    place.run(&["run", "-q", "x", "--restore-state", "text"]).fails(1, &["text cannot be restored"]);
}

#[test]
fn with_json_errors_are_events_too() {
    for (arguments, code, kind) in [
        (&["run", "--json", "x", "-m", "missing"][..], 3, "io"),
        (&["run", "--json", "x", "--top-p", "2"], 2, "config"),
        (&["run", "--json", "x", "--nonsense"], 2, "usage"),
        (&["run", "--json", "-q", STORY, "-c", "3"], 4, "context_overflow"),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        let event: Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
        assert_eq!((&event["event"], &event["exit_code"]), (&"error".into(), &code.into()), "{event}");
        assert_eq!(event["kind"], kind, "{event}");
        let message = event["message"].as_str().unwrap();
        assert_eq!(outcome.stderr, format!("inferno: {message}\n"));
    }
}

// ---- chat ----

#[test]
fn a_conversation_from_a_pipe() {
    let place = Place::new();
    let input = "What is 2 + 3?\n\nWhat is 4 + 4?\n/stats\n/system Be brief.\nTell me \\\na story.\n/save talk.json\n\
                 /quit\nWhat is 1 + 1?\n";
    let outcome = place.run_with(&["chat", "--temperature", "0", "-q"], input);
    assert!(
        outcome.stderr.contains(" from the cache") && outcome.stderr.contains("talk.json"),
        "{}",
        outcome.stderr
    );
    let answers = outcome.text();
    assert!(answers.starts_with("5\n8\n") && !answers.contains("> "), "{answers}");
    let saved: Value = serde_json::from_str(&fs::read_to_string(place.path("talk.json")).unwrap()).unwrap();
    let roles: Vec<_> = saved.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant", "user", "assistant"]);
    assert_eq!(saved[5]["content"], "Tell me \na story.");

    place.run_with(&["chat", "-q"], "/nonsense\n").fails(2, &["/nonsense", "/help"]);
    place.run_with(&["chat", "-q"], "/save nowhere/x\n").fails(1, &["cannot write nowhere/x"]);
    assert_eq!(place.run_with(&["chat", "-q"], "").text(), "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_conversation_that_waits_for_a_pipe() {
    let place = Place::new();
    let mut child = place.command(&["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    built_in_model_is_announced(&mut child);
    interrupt(&child);
    assert_eq!(end_of(&mut child), Some(130));
    drop(stdin);
}

/// A process in a terminal of its own, which `script` makes: what is typed, and what is on the screen.
#[cfg(target_os = "linux")]
struct Terminal {
    child: Child,
    keys: std::process::ChildStdin,
    screen: std::sync::mpsc::Receiver<Vec<u8>>,
    seen: String,
}

#[cfg(target_os = "linux")]
impl Terminal {
    fn new(place: &Place, arguments: &str) -> Self {
        // a shell that stays gets Ctrl-C as well, and dash would end with it
        let command = format!("exec {} {arguments}", env!("CARGO_BIN_EXE_inferno"));
        let mut script = Command::new("script");
        for (name, value) in place.command(&[] as &[&str]).get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script
            .args(["-qfec", &command, "/dev/null"])
            .current_dir(place.0.path())
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, screen) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = stdout.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keys: child.stdin.take().unwrap(), child, screen, seen: String::new() }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until this is on the screen, and forgets what was there until then.
    fn shows(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{text:?} is not in {:?}", self.seen);
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(closed) => panic!("{closed}: {text:?} is not in {:?}", self.seen),
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_ctrl_c_stops_answers_and_not_the_conversation() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let mut terminal = Terminal::new(&place, "chat --ignore-eos --context-size 16384 --seed 5");
    terminal.shows("Ctrl-D ends");
    for _ in 0..2 {
        terminal.shows("> ");
        terminal.types("Tell me a story.\r");
        terminal.shows("Once");
        terminal.types("\x03");
    }
    terminal.shows("> ");
    terminal.types("/stats\r");
    terminal.shows("interrupted after");
    terminal.shows("> ");
    terminal.types("half a line\x03");
    terminal.shows("Ctrl-C again ends");
    terminal.shows("> ");
    terminal.types("\x04");
    assert_eq!(end_of(&mut terminal.child), Some(0));

    let history = place.path(".local/share/inferno/history");
    assert!(fs::read_to_string(&history).unwrap().contains("Tell me a story."));
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);

    let mut terminal = Terminal::new(&place, "chat --quiet");
    for _ in 0..2 {
        terminal.shows("> ");
        terminal.types("\x03");
    }
    assert_eq!(end_of(&mut terminal.child), Some(130));
}

/// The built-in model with a feed-forward network so wide that its weights take 1.2 GB, all zero: as a file it is sparse.
#[cfg(target_os = "linux")]
fn large_model(path: &Path) {
    use inferno::gguf::{Gguf, TensorType, Writer};
    use std::io::Seek;

    /// Leaves holes instead of zeros.
    struct Sparse(fs::File);
    impl Write for Sparse {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            const ZEROS: &[u8] = &[0; 1 << 16];
            if bytes.len() > ZEROS.len() || bytes != &ZEROS[..bytes.len()] {
                return self.0.write(bytes);
            }
            let end =
                self.0.seek_relative(i64::try_from(bytes.len()).unwrap()).and(self.0.stream_position())?;
            self.0.set_len(end)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }

    const WIDTH: u64 = 1 << 17;
    let small = Gguf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-7m-q8_0.gguf")).unwrap();
    let mut large = Writer::new();
    for (key, value) in small.metadata() {
        let width = inferno::gguf::Value::from(u32::try_from(WIDTH).unwrap());
        let value = if key == "llama.feed_forward_length" { width } else { value.clone() };
        large.set(key, value).unwrap();
    }
    let narrow = small.get_u64("llama.feed_forward_length").unwrap();
    for t in small.tensors() {
        let wide = t.name.contains("ffn_") && t.dims.contains(&narrow);
        let dims: Vec<_> = t.dims.iter().map(|&d| if wide && d == narrow { WIDTH } else { d }).collect();
        let kind = if wide { TensorType::F16 } else { t.kind };
        let bytes = kind.row_bytes(dims.iter().product()).unwrap();
        large
            .tensor(&t.name, kind, &dims, move |out| {
                std::io::copy(&mut std::io::repeat(0).take(bytes), out).map(drop)
            })
            .unwrap();
    }
    large.write_to(Sparse(fs::File::create(path).unwrap()), path).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn weights_that_memory_cannot_hold_are_an_error_with_numbers() {
    let place = Place::new();
    let model = place.path("large.gguf");
    large_model(&model);
    for more in [&[] as &[&str], &["--no-mmap"]] {
        let arguments = [&["run", "-q", "--prompt", STORY, "--model", "large.gguf"], more].concat();
        let mut limited = place.in_shell("ulimit -v 1048576; exec \"$@\"", &arguments);
        finish(limited.spawn().unwrap()).fails(4, &["not enough memory on CPU", "GiB are needed"]);
    }
}

/// Two threads that share a CPU would spend it on waiting for each other, if they did not sleep.
#[cfg(target_os = "linux")]
#[test]
fn two_threads_get_on_with_one_cpu() {
    let place = Place::new();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let cpu: String = allowed.trim_start().chars().take_while(char::is_ascii_digit).collect();
    let cpu_seconds = |threads: &str| {
        let script = format!("taskset -c {cpu} \"$@\" > text && times");
        let arguments = [
            "run",
            "-q",
            "--prompt",
            STORY,
            "--max-tokens",
            "128",
            "--temperature",
            "0",
            "--threads",
            threads,
        ];
        let times = finish(place.in_shell(&script, &arguments).spawn().unwrap()).text();
        let seconds = |time: &str| {
            let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
            60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
        };
        // the second line tells of the shell's children: in their own code, and in the system
        let used: f64 = times.lines().nth(1).unwrap().split(' ').map(seconds).sum();
        (used, fs::read_to_string(place.path("text")).unwrap())
    };
    let (one, two) = (cpu_seconds("1"), cpu_seconds("2"));
    assert_eq!(one.1, two.1);
    assert!(two.0 < 10.0 * one.0, "{} CPU-seconds with one thread, {} with two", one.0, two.0);
}

/// A stack is as large as the limit of stacks, here more than all that the process may have: no thread of ggml's can start.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_refuses_are_done_without() {
    let place = Place::new();
    let run = |script: &str| {
        let arguments =
            ["run", "--prompt", STORY, "--max-tokens", "16", "--temperature", "0", "--threads", "4"];
        finish(place.in_shell(script, &arguments).env("INFERNO_LOG", "warn").spawn().unwrap())
    };
    let refused = run("ulimit -s 16777216; ulimit -v 8388608; exec \"$@\"");
    assert!(
        refused.stderr.contains("the system refused a thread: 1 instead of 4 compute"),
        "{}",
        refused.stderr
    );
    assert_eq!(refused.text(), run("exec \"$@\"").text());
}

#[test]
fn run_tells_what_it_computed_and_where() {
    let place = Place::new();
    let run = |extra: &[&str]| {
        place.run(
            &[&["run", STORY, "--device", "cpu", "--max-tokens", "3", "--operations", "-q"], extra].concat(),
        )
    };
    let table = run(&[]).stderr;
    assert!(table.starts_with("operation") && table.lines().next().unwrap().ends_with(" CPU"), "{table}");
    let account = run(&["--json"]).events().pop().unwrap();
    assert_eq!(account["event"], "operations");
    let operations = account["operations"].as_array().unwrap();
    let count = |name: &str| {
        let found = operations.iter().find(|o| o["operation"] == name);
        found.map_or(0, |o| o["count"].as_u64().unwrap())
    };
    assert!(operations.iter().all(|o| o["device"] == "CPU"), "{account}");
    // one graph for the prompt, one for each token but the last, which nothing follows
    let graphs = 3;
    assert_eq!(count("ROPE") % graphs, 0, "{account}");
    assert!(count("MUL_MAT") > count("ROPE") && count("ROPE") > 0, "{account}");
    assert_eq!(count("VIEW") + count("RESHAPE") + count("PERMUTE"), 0, "{account}");
}

// ---- the others ----

#[test]
fn bench_has_llama_benchs_columns_and_a_hash_that_stays() {
    let place = Place::new();
    let table = place.run(&["bench", "-p", "8,16", "-n", "4", "-r", "2", "-q"]).text();
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|l| l.starts_with('|')).map(|l| l.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows[0][1..9], ["model", "size", "params", "backend", "threads", "test", "t/s", "output"]);
    let tests: Vec<_> = rows[2..].iter().map(|row| row[6]).collect();
    assert_eq!(tests, ["pp8", "pp16", "tg4"]);
    let hash = rows[2][8];
    assert_eq!(hash.len(), 12);

    let rows = place.run(&["bench", "-p", "4", "-n", "2", "-r", "3", "-t", "1,2", "--json", "-q"]).events();
    let shape: Vec<_> =
        rows.iter().map(|r| (r["n_threads"].as_u64().unwrap(), r["test"].as_str().unwrap())).collect();
    assert_eq!(shape, [(1, "pp4"), (1, "tg2"), (2, "pp4"), (2, "tg2")]);
    for row in rows {
        assert_eq!(row["output"], hash);
        assert_eq!(row["samples_ts"].as_array().unwrap().len(), 3);
        assert!(row["avg_ts"].as_f64().unwrap() > 0.0);
    }
    place.run(&["bench", "-p", "0", "-n", "0"]).fails(2, &["nothing to measure"]);
    place
        .run(&["bench", "-q", "-p", "512", "-n", "0", "-c", "128", "-b", "128"])
        .code
        .map_or_else(|| panic!(), |code| assert_eq!(code, 4));
}

#[test]
fn eval_reports_rates_and_perplexity() {
    let place = Place::new();
    let report = place.run(&["eval", "--limit", "2", "--json", "-q"]).events().pop().unwrap();
    let tasks = report["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 10);
    let right: u64 = tasks.iter().map(|t| t["right"].as_u64().unwrap()).sum();
    assert!(right >= 14, "{report}");
    let perplexity = report["perplexity"].as_f64().unwrap();
    assert!((1.0..20.0).contains(&perplexity), "{perplexity}");

    place.file(
        "heldout.jsonl",
        "{\"task\":\"sum\",\"messages\":[{\"role\":\"user\",\"content\":\"1 + 1\"}],\"answer\":\"2\"}\n",
    );
    place.file("heldout.txt", "");
    let table = place.run(&["eval", "--data", ".", "-q"]).text();
    assert_eq!(table, "sum                 1 of    1  100.0 %\n");
    place.run(&["eval", "--data", "nowhere"]).fails(2, &["cannot read nowhere"]);
}

#[test]
fn tokens_are_shown_with_their_pieces() {
    let place = Place::new();
    let ids = place.run_with(&["tokenize", "--ids-only", "-q"], "A hen.\n").text();
    let object = place.run_with(&["tokenize", "--json", "-q"], "A hen.\n").events().pop().unwrap();
    let tokens = object["tokens"].as_array().unwrap();
    assert_eq!(object["count"], tokens.len());
    let listed: Vec<_> = tokens.iter().map(|t| t["id"].to_string()).collect();
    assert_eq!(ids.trim(), listed.join(" "));
    let bytes = |tokens: &[Value]| {
        let of = |t: &Value| {
            t["bytes"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap()).collect::<Vec<_>>()
        };
        let bytes: Vec<u8> = tokens.iter().flat_map(of).map(|b| u8::try_from(b).unwrap()).collect();
        String::from_utf8(bytes).unwrap()
    };
    assert!(bytes(tokens).ends_with("A hen.\n"), "no byte of standard input is dropped");
    let bare = place.run(&["tokenize", "ü", "--json", "-q", "--no-special"]).events().pop().unwrap();
    assert_eq!(bytes(bare["tokens"].as_array().unwrap()), "ü");
    let count = |arguments: &[&str]| {
        let all = [&["tokenize", "<|im_end|>", "--no-special", "--ids-only", "-q"], arguments].concat();
        place.run(&all).text().split_whitespace().count()
    };
    assert_eq!(count(&["--parse-special"]), 1);
    assert!(count(&[]) > 1);
    assert!(place.run(&["tokenize", "a\nb", "-q"]).text().contains("\\n"));
}

#[test]
fn info_reads_the_header_alone() {
    let path = model();
    let info = run(&[OsStr::new("info"), path.as_ref(), OsStr::new("--json")]).events().pop().unwrap();
    assert_eq!(info["architecture"], "llama");
    assert_eq!(info["supported"], true);
    assert_eq!(info["file_bytes"].as_u64().unwrap(), fs::metadata(&path).unwrap().len());
    let memory = &info["memory"];
    assert_eq!(
        memory["needed"].as_u64().unwrap(),
        memory["weights"].as_u64().unwrap() + memory["kv_cache"].as_u64().unwrap()
    );
    let half =
        run(&[OsStr::new("info"), path.as_ref(), OsStr::new("-c"), OsStr::new("1024"), OsStr::new("--json")]);
    let half = half.events().pop().unwrap();
    assert_eq!(half["memory"]["kv_cache"].as_u64().unwrap() * 2, memory["kv_cache"].as_u64().unwrap());
    let text = run(&[OsStr::new("info"), path.as_ref()]).text();
    for part in [
        "architecture   llama",
        "quantisation   Q8_0",
        "2048 tokens",
        "chat template  yes",
        "runs here      yes",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn devices_and_settings_are_listed() {
    let devices = run(&["devices", "--json"]).events().pop().unwrap();
    assert!(
        devices
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["kind"] == "cpu" && d["memory_total"].as_u64() > Some(0))
    );
    let shown = run(&["devices"]).text();
    let packed = shown.lines().filter(|line| line.trim_start().starts_with("weights ")).count();
    assert_eq!(packed, 1, "{shown}");

    let place = Place::new();
    place.file(".inferno.toml", "[backend_config]\ncontext_size = 512\n");
    let text = place.run(&["config"]).text();
    assert!(
        text.lines().any(|l| l.starts_with("context_size = 512") && l.ends_with("# .inferno.toml:2")),
        "{text}"
    );
    assert!(
        text.lines().any(|l| l.starts_with("threads = 1") && l.ends_with("INFERNO_BACKEND_THREADS")),
        "{text}"
    );
    let settings = place.run(&["config", "--json"]).events().pop().unwrap();
    assert!(
        settings.as_array().unwrap().iter().any(|s| s["key"] == "sampling.top_p" && s["origin"] == "default")
    );
    place.file("other.toml", "[backend_config]\ncontext_size = 256\n");
    let text = place.run(&["config", "--config", "other.toml"]).text();
    assert!(
        text.lines().any(|l| l.starts_with("context_size = 256") && l.ends_with("# other.toml:2")),
        "{text}"
    );
}

#[test]
fn help_version_and_completions() {
    let help = run(&["--help"]).text();
    for part in ["Exit codes:", "130", "run", "chat", "bench"] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
    let help = run(&["bench", "--help"]).text();
    assert!(help.contains("SHA-256") && help.contains("Once upon a time"), "{help}");
    let version = run(&["--version"]).text();
    for part in [env!("CARGO_PKG_VERSION"), "llama.cpp ", "ggml ", "build: ", "patches:"] {
        assert!(version.contains(part), "{part:?} is not in {version}");
    }
    assert_eq!(run(&["-V"]).text(), format!("inferno {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).text().contains("max-tokens"), "{shell}");
    }
    run(&["completions", "cmd"]).fails(2, &["'cmd'", "bash"]);
    let bare = run(&[] as &[&str]);
    assert_eq!(bare.code, Some(2));
    assert!(bare.stderr.contains("Usage: inferno"), "{}", bare.stderr);
}

#[test]
fn logs_come_on_request() {
    let place = Place::new();
    let log = |arguments: &[&str]| {
        let outcome = place.run(&[&["run", STORY, "-n", "1", "-q"], arguments].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stderr
    };
    assert_eq!(log(&[]), "");
    assert!(log(&["-v"]).contains("inferno::native"));
    let json = log(&["-v", "--log-format", "json"]);
    assert!(json.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{json}");
    assert_eq!(log(&["--log-level", "off"]), "");
}
