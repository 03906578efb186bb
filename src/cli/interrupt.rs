//! Ctrl-C: the first time it asks the work to end, the second time it ends the process.

use inferno::StopHandle;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing runs that could be interrupted.
    Idle,
    /// Something runs.
    Working,
    /// It was asked to end.
    Pressed,
}

/// Listens for Ctrl-C. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Sender<State>);

impl Interrupt {
    /// Listens from now on, on the current runtime, to interrupt what runs.
    pub(crate) fn listen() -> Self {
        let sender = watch::Sender::new(State::Working);
        let state = sender.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if *state.borrow() == State::Pressed {
                    exit_now();
                }
                state.send_if_modified(|state| {
                    let pressed = *state == State::Working;
                    if pressed {
                        *state = State::Pressed;
                    }
                    pressed
                });
            }
        });
        Self(sender)
    }

    /// Work begins: from now on Ctrl-C counts.
    pub(crate) fn work(&self) {
        self.0.send_replace(State::Working);
    }

    /// Work has ended: Ctrl-C means nothing until the next [`work`](Self::work).
    pub(crate) fn idle(&self) {
        self.0.send_replace(State::Idle);
    }

    /// Completes when Ctrl-C is pressed.
    pub(crate) async fn pressed(&self) {
        // the channel stays open: we hold its sender
        let _ = self.0.subscribe().wait_for(|state| *state == State::Pressed).await;
    }

    /// Lets Ctrl-C stop a session that runs on a thread of ours.
    pub(crate) fn stops(&self, session: StopHandle) {
        let interrupt = self.clone();
        tokio::spawn(async move {
            interrupt.pressed().await;
            session.stop();
        });
    }
}

#[expect(clippy::exit, reason = "the work was asked to end and did not; only the process can end it")]
pub(crate) fn exit_now() -> ! {
    std::process::exit(130)
}
