//! All printing: data to stdout, everything else to stderr; bars and spinners on a terminal only.

use super::failure::Failure;
use serde::Serialize;
use std::{
    env,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Waits that are shorter show nothing.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two pictures.
const FRAME: Duration = Duration::from_millis(100);
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];
/// Columns of a full bar.
const BAR: u8 = 20;
/// Columns of a message, at most.
const MESSAGE: usize = 46;

/// Writes to stdout at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(closed)
}

/// Writes bytes to stdout at once.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(closed)
}

/// Writes a line to stdout at once.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Writes a value to stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|e| Failure::runtime(format!("cannot write JSON: {e}")))?;
    line(&text)
}

fn closed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::runtime(format!("cannot write the output: {error}")),
    }
}

/// Writes a line to stderr. Where that is closed, nobody wants to know.
pub(crate) fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Text from a file, safe to show: control characters, which could command the terminal, are escaped.
pub(crate) fn tame(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Whether text on stdout is read by a person.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A line on stderr that moves while a wait lasts, and leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Waiting {
    message: String,
    /// From 0 to 1, where the end is known.
    done: Option<f32>,
    since: Instant,
    drawn: Option<Instant>,
    /// Columns that it takes on the screen.
    columns: usize,
    wanted: bool,
}

impl Waiting {
    /// A bar for a part of a whole.
    pub(crate) fn bar(message: String, quiet: bool) -> Self {
        let mut bar = Self::spinner(message, quiet);
        bar.done = Some(0.0);
        bar
    }

    /// A spinner, with the time.
    pub(crate) fn spinner(message: String, quiet: bool) -> Self {
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = !quiet && !dumb && io::stderr().is_terminal();
        Self { message, done: None, since: Instant::now(), drawn: None, columns: 0, wanted }
    }

    /// How much is done, from 0 to 1.
    pub(crate) fn done(&mut self, fraction: f32) {
        self.done = Some(fraction);
        self.tick();
    }

    /// What is going on.
    pub(crate) fn says(&mut self, message: String) {
        self.message = message;
        self.tick();
    }

    /// Moves on; call it a few times a second.
    pub(crate) fn tick(&mut self) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME);
        if self.wanted && due && self.since.elapsed() >= PATIENCE {
            let line = self.line();
            let columns = line.chars().count();
            let mut stderr = io::stderr().lock();
            // no escape codes: a line is overwritten, and what it was longer before is blanked
            let blank = " ".repeat(self.columns.saturating_sub(columns));
            let _ = write!(stderr, "\r{line}{blank}").and_then(|()| stderr.flush());
            self.columns = columns;
            self.drawn = Some(Instant::now());
        }
    }

    fn line(&self) -> String {
        let message: String = self.message.chars().take(MESSAGE).collect();
        match self.done {
            Some(done) => {
                let full: String = (1..=BAR)
                    .map(|n| if f32::from(n) <= done * f32::from(BAR) { '=' } else { ' ' })
                    .collect();
                format!("{message} [{full}] {:3.0} %", done * 100.0)
            }
            None => {
                let passed = self.since.elapsed();
                let turn = usize::try_from(passed.as_millis() / FRAME.as_millis()).unwrap_or(0);
                format!("{} {message}, {} s", SPINNER[turn % SPINNER.len()], passed.as_secs())
            }
        }
    }

    /// Removes it from the screen, for good.
    pub(crate) fn clear(&mut self) {
        if self.columns > 0 {
            let mut stderr = io::stderr().lock();
            // wide characters, and the ^C that a terminal may have put there
            let blank = " ".repeat(self.columns + 4);
            let _ = write!(stderr, "\r{blank}\r").and_then(|()| stderr.flush());
            self.columns = 0;
        }
        self.wanted = false;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(tame("a\u{1b}[31mü\n"), "a\\u{1b}[31mü\\n");
    }

    #[test]
    fn a_bar_fills_and_fits_a_narrow_terminal() {
        let mut bar = Waiting::bar("x".repeat(100), true);
        assert!(bar.line().ends_with("[                    ]   0 %"), "{}", bar.line());
        bar.done(0.5);
        assert!(bar.line().ends_with("[==========          ]  50 %"), "{}", bar.line());
        bar.done(1.0);
        assert!(bar.line().ends_with("[====================] 100 %"), "{}", bar.line());
        assert!(bar.line().len() < 76);
        let spinner = Waiting::spinner("reading".into(), true);
        assert_eq!(spinner.line(), "| reading, 0 s");
    }
}
