//! `inferno chat`: a conversation in the terminal, or with questions from a pipe.

use super::{
    answer::{self, Answer, End, Show},
    args::{ChatArgs, GlobalArgs},
    failure::Failure,
    interrupt::Interrupt,
    load, output, runtime,
    settings::Settings,
};
use inferno::{Chat, Message, Model, Role};
use rustyline::{DefaultEditor, config::Behavior, error::ReadlineError};
use std::{
    env, fs,
    io::{self, BufRead, IsTerminal},
    path::{Path, PathBuf},
};
use tokio::{runtime::Runtime, sync::mpsc};

const HELP: &str = "\
/help          this
/reset         forget the conversation, keep the instructions
/system TEXT   replace the instructions; without TEXT, show them
/save FILE     write the conversation to a file, as JSON
/stats         what the last answer took
/quit          end; so does Ctrl-D

A message in several lines: end a line with \\, or put it between lines of \"\"\".
Ctrl-C stops an answer; at the prompt it clears the line, and twice ends the program.";

/// Lines of history that are kept.
const HISTORY: usize = 1000;
/// Lines of a pipe that are read ahead.
const READ_AHEAD: usize = 16;

pub(crate) fn run(mut args: ChatArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let system = args.system.take();
    let settings = Settings::load(global, args.overrides())?;
    let runtime = runtime()?;
    let (interrupt, model) = runtime.block_on(async {
        let interrupt = Interrupt::listen();
        let model = load::load(&settings, &interrupt).await?;
        Ok::<_, Failure>((interrupt, model))
    })?;
    let mut options = settings.sample_options();
    // nothing would show them
    options.logprobs = None;
    options.validate()?;
    let mut chat = model.chat().with_options(options);
    if let Some(system) = system {
        chat = chat.with_system(system);
    }
    let talk = Talk { chat, model, interrupt, last: None, quiet: settings.quiet };
    if io::stdin().is_terminal() { talk.in_terminal(&runtime) } else { talk.with_pipe(&runtime) }
}

/// A conversation.
struct Talk {
    chat: Chat,
    model: Model,
    interrupt: Interrupt,
    last: Option<Answer>,
    quiet: bool,
}

/// What a command of the conversation leads to.
enum Next {
    Go,
    Quit,
}

impl Talk {
    /// Reads lines with an editor, until Ctrl-D.
    fn in_terminal(mut self, runtime: &Runtime) -> Result<(), Failure> {
        if !self.quiet {
            let name = self.model.loaded()?.gguf().name().map_or_else(|| "a model".into(), output::tame);
            output::note(&format!("You talk with {name}. /help shows the commands, Ctrl-D ends."));
        }
        let config = rustyline::Config::builder()
            .max_history_size(HISTORY)
            .map_err(|e| terminal(&e))?
            // the prompt must not get into redirected answers
            .behavior(if output::stdout_is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm })
            .build();
        let mut editor = DefaultEditor::with_config(config).map_err(|e| terminal(&e))?;
        let history = history_file();
        if let Some(file) = &history {
            // the first time there is none
            let _ = editor.load_history(file);
        }
        self.interrupt.idle();
        let mut lines = Lines::default();
        let mut interrupts = 0;
        let end = loop {
            match editor.readline(if lines.is_empty() { "> " } else { "… " }) {
                Ok(line) => {
                    interrupts = 0;
                    let Some(message) = lines.push(&line) else { continue };
                    let _ = editor.add_history_entry(message.as_str());
                    match self.hears(&message, runtime) {
                        Ok(Next::Go) => {}
                        Ok(Next::Quit) => break Ok(()),
                        Err(Failure::Closed) => break Err(Failure::Closed),
                        // it was interrupted, or went wrong: the conversation goes on
                        Err(Failure::Interrupted) => {}
                        Err(failure) => output::note(&format!("inferno: {}", failure.message())),
                    }
                }
                Err(ReadlineError::Interrupted) => {
                    lines = Lines::default();
                    interrupts += 1;
                    if interrupts == 2 {
                        break Err(Failure::Interrupted);
                    }
                    output::note("(Ctrl-C again ends)");
                }
                Err(ReadlineError::Eof) => break Ok(()),
                Err(error) => break Err(terminal(&error)),
            }
        };
        if let Some(file) = &history
            && let Err(error) =
                private(file).and_then(|()| editor.save_history(file).map_err(io::Error::other))
        {
            output::note(&format!("inferno: the history cannot be kept in {}: {error}", file.display()));
        }
        end
    }

    /// Takes each line of standard input as a message. The first failure ends it, and Ctrl-C does.
    fn with_pipe(mut self, runtime: &Runtime) -> Result<(), Failure> {
        let mut input = piped_lines();
        let mut lines = Lines::default();
        loop {
            self.interrupt.work();
            let line = runtime.block_on(async {
                tokio::select! {
                    line = input.recv() => Ok(line),
                    () = self.interrupt.pressed() => Err(Failure::Interrupted),
                }
            })?;
            let (message, more) = match line {
                Some(line) => (lines.push(&line?), true),
                None => (lines.rest(), false),
            };
            if let Some(message) = message
                && let Next::Quit = self.hears(&message, runtime)?
            {
                return Ok(());
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Does what a message asks for: a command, or an answer.
    fn hears(&mut self, message: &str, runtime: &Runtime) -> Result<Next, Failure> {
        let message = message.trim();
        if message.is_empty() {
            return Ok(Next::Go);
        }
        let Some(command) = message.strip_prefix('/') else {
            self.answers(message, runtime)?;
            return Ok(Next::Go);
        };
        let (command, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let argument = argument.trim();
        match (command, argument) {
            ("help", _) => output::note(HELP),
            ("quit" | "exit", _) => return Ok(Next::Quit),
            ("reset", _) => {
                self.chat.reset();
                output::note("The conversation begins anew.");
            }
            ("system", "") => {
                let system = self.chat.messages().iter().find(|m| m.role == Role::System);
                output::note(system.map_or("There are no instructions.", |m| m.content.as_str()));
            }
            ("system", text) => {
                let chat = std::mem::replace(&mut self.chat, self.model.chat());
                self.chat = chat.with_system(text);
                output::note("From now on these instructions hold.");
            }
            ("save", "") => return Err(Failure::usage("/save needs a file, as in /save talk.json")),
            ("save", file) => {
                save(Path::new(file), self.chat.messages())?;
                output::note(&format!("{} messages are in {file}.", self.chat.messages().len()));
            }
            ("stats", _) => match &self.last {
                Some(answer) => output::note(&answer.statistics(&*self.model.loaded()?)),
                None => output::note("There was no answer yet."),
            },
            _ => {
                return Err(Failure::usage(format!(
                    "there is no command /{}; /help shows those there are",
                    output::tame(command)
                )));
            }
        }
        Ok(Next::Go)
    }

    /// Has the model answer.
    fn answers(&mut self, message: &str, runtime: &Runtime) -> Result<(), Failure> {
        self.interrupt.work();
        let show = Show { json: false, quiet: self.quiet };
        let stream = {
            // the request is to run there
            let _entered = runtime.enter();
            self.chat.ask(message.to_owned())
        };
        let answer = runtime.block_on(answer::show(stream, show, &self.interrupt));
        self.interrupt.idle();
        let answer = answer.inspect_err(|_| self.chat.taken_back())?;
        if !answer.text.ends_with('\n') {
            output::line("")?;
        }
        // a part of an answer is what was said, too
        if answer.text.is_empty() {
            self.chat.taken_back();
        } else {
            self.chat.answered(answer.text.clone());
        }
        let interrupted = matches!(answer.end, End::Interrupted { .. });
        self.last = Some(answer);
        if interrupted { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

/// Lines that make up one message.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    quoted: bool,
}

impl Lines {
    const QUOTE: &str = "\"\"\"";

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.quoted
    }

    /// Takes a line; the message, when it is whole.
    fn push(&mut self, line: &str) -> Option<String> {
        if self.quoted {
            match line.trim_end().strip_suffix(Self::QUOTE) {
                Some(last) => {
                    if !last.is_empty() {
                        self.lines.push(last.into());
                    }
                    return Some(self.take());
                }
                None => self.lines.push(line.into()),
            }
            return None;
        }
        if self.lines.is_empty()
            && let Some(first) = line.trim_start().strip_prefix(Self::QUOTE)
        {
            if let Some(whole) = first.trim_end().strip_suffix(Self::QUOTE) {
                return Some(whole.into());
            }
            self.quoted = true;
            if !first.is_empty() {
                self.lines.push(first.into());
            }
            return None;
        }
        match line.strip_suffix('\\') {
            Some(part) => {
                self.lines.push(part.into());
                None
            }
            None => {
                self.lines.push(line.into());
                Some(self.take())
            }
        }
    }

    /// What is left when no more lines come.
    fn rest(&mut self) -> Option<String> {
        (!self.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        std::mem::take(self).lines.join("\n")
    }
}

/// The lines of standard input, read on a thread of their own: Ctrl-C must not wait for them.
fn piped_lines() -> mpsc::Receiver<Result<String, Failure>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut offset = 0;
        let mut stdin = io::stdin().lock();
        loop {
            let mut bytes = vec![];
            let line = match stdin.read_until(b'\n', &mut bytes) {
                Ok(0) => break,
                Ok(read) => {
                    let line = line_of(bytes, offset);
                    offset += read;
                    line
                }
                Err(error) => Err(Failure::runtime(format!("cannot read standard input: {error}"))),
            };
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                break;
            }
        }
    });
    receiver
}

/// A line without its end; `offset` is where it begins.
fn line_of(bytes: Vec<u8>, offset: usize) -> Result<String, Failure> {
    let mut line = super::input::utf8(bytes, offset)?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    Ok(line)
}

/// Writes the conversation to a file.
fn save(path: &Path, messages: &[Message]) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(messages)
        .map_err(|e| Failure::runtime(format!("cannot write JSON: {e}")))?;
    text.push('\n');
    fs::write(path, text).map_err(|e| Failure::runtime(format!("cannot write {}: {e}", path.display())))
}

/// Where the history is kept; nowhere if the system does not say where data belong.
fn history_file() -> Option<PathBuf> {
    let directory = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let data = if cfg!(windows) {
        directory("APPDATA")
    } else if cfg!(target_os = "macos") {
        directory("HOME").map(|home| home.join("Library").join("Application Support"))
    } else {
        let stated = directory("XDG_DATA_HOME").filter(|path| path.is_absolute());
        stated.or_else(|| directory("HOME").map(|home| home.join(".local").join("share")))
    };
    Some(data?.join("inferno").join("history"))
}

/// Makes the file if there is none, for its owner alone: what people ask is nobody else's business.
fn private(file: &Path) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let opened = options.mode(0o600).open(file)?;
        opened.set_permissions(fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(file).map(drop)
}

fn terminal(error: &ReadlineError) -> Failure {
    Failure::runtime(format!("the terminal cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lines: &[&str]) -> Vec<String> {
        let mut all = Lines::default();
        let mut messages: Vec<_> = lines.iter().filter_map(|line| all.push(line)).collect();
        messages.extend(all.rest());
        messages
    }

    #[test]
    fn messages_of_several_lines() {
        assert_eq!(messages(&["a", "b"]), ["a", "b"]);
        assert_eq!(messages(&["a\\", "b\\", "c", "d"]), ["a\nb\nc", "d"]);
        assert_eq!(messages(&["\"\"\"", "a", "", "b", "\"\"\"", "c"]), ["a\n\nb", "c"]);
        assert_eq!(messages(&["\"\"\"a", "b\"\"\""]), ["a\nb"]);
        assert_eq!(messages(&["\"\"\"a\"\"\"", "b"]), ["a", "b"]);
        assert_eq!(messages(&["\"\"\"", "a"]), ["a"]);
        assert_eq!(messages(&["a \"\"\" b"]), ["a \"\"\" b"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_history_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("inferno").join("history");
        private(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
