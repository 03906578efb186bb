//! All printing: data to stdout, everything else to stderr; bars and spinners on a terminal only.

use super::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
    env,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Waits that are shorter show nothing.
const PATIENCE: Duration = Duration::from_millis(500);

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

/// Something on stderr that moves while a wait lasts, and leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Waiting {
    bar: ProgressBar,
    since: Instant,
    wanted: bool,
    shown: bool,
}

impl Waiting {
    /// A bar for a part of a whole, in percent.
    pub(crate) fn bar(message: String, quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent:>3} %");
        Self::new(
            ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::hidden()),
            style,
            message,
            quiet,
        )
    }

    /// A spinner.
    pub(crate) fn spinner(message: String, quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
        Self::new(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()), style, message, quiet)
    }

    fn new(
        bar: ProgressBar,
        style: Result<ProgressStyle, indicatif::style::TemplateError>,
        message: String,
        quiet: bool,
    ) -> Self {
        let style = style.expect("the templates are constants and tested");
        bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        bar.set_message(message);
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            bar,
            since: Instant::now(),
            wanted: !quiet && !dumb && io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// How much is done, from 0 to 1.
    pub(crate) fn done(&mut self, fraction: f32) {
        let thousandths = (1..=1000u16).rev().find(|n| f32::from(*n) <= fraction * 1000.0).unwrap_or(0);
        self.bar.set_position(thousandths.into());
        self.tick();
    }

    /// What is going on.
    pub(crate) fn says(&mut self, message: String) {
        self.bar.set_message(message);
        self.tick();
    }

    /// Moves on; call it a few times a second.
    pub(crate) fn tick(&mut self) {
        if !self.shown && self.wanted && self.since.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.shown = true;
        }
        self.bar.tick();
    }

    /// Removes it from the screen.
    pub(crate) fn clear(&mut self) {
        self.bar.finish_and_clear();
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
    fn the_templates_are_well_formed_and_silent_off_a_terminal() {
        let mut bar = Waiting::bar("loading".into(), true);
        bar.done(0.5);
        assert_eq!(bar.bar.position(), 500);
        let mut spinner = Waiting::spinner("reading".into(), true);
        spinner.tick();
        assert!(bar.bar.is_hidden() && spinner.bar.is_hidden());
    }
}
