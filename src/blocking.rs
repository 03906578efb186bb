//! The same library for programs without an async runtime.
//!
//! ```no_run
//! # fn main() -> inferno::Result<()> {
//! use inferno::{Event, SampleOptions, blocking::Model};
//!
//! let model = Model::load(inferno::Model::builder("model.gguf"))?;
//! for event in model.stream("Rust is", SampleOptions::default().with_max_tokens(64))? {
//!     if let Event::Text(text) = event? {
//!         print!("{text}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use crate::{
    Chat, Completion, Event, EventStream, ModelBuilder, Prompt, Reply, Request, SampleOptions,
    engine::{Generation, Permit, collect},
    error::Result,
};
use std::{ops::ControlFlow, time::Instant};

/// [`inferno::Model`](crate::Model) for blocking callers; the same limits hold for both.
#[derive(Debug, Clone)]
pub struct Model(crate::Model);

impl Model {
    /// Loads on this thread.
    ///
    /// # Errors
    /// As [`LoadedModel::load`](crate::LoadedModel::load).
    pub fn load(builder: ModelBuilder) -> Result<Self> {
        Self::load_with(builder, |_| ControlFlow::Continue(()))
    }

    /// Loads on this thread; `progress` is told the fraction done, and breaks to cancel.
    ///
    /// # Errors
    /// As [`LoadedModel::load`](crate::LoadedModel::load).
    pub fn load_with(builder: ModelBuilder, progress: impl FnMut(f32) -> ControlFlow<()>) -> Result<Self> {
        builder.load_blocking(progress).map(Self)
    }

    /// The asynchronous handle on the same model.
    pub fn inner(&self) -> &crate::Model {
        &self.0
    }

    /// Starts a request, waiting for a place. The work is done by the iterator, on the thread that calls it, unless the
    /// model batches; dropping it ends the request.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn stream(&self, prompt: impl Into<Prompt>, options: SampleOptions) -> Result<Events> {
        let asked = Instant::now();
        let request = Request::new(prompt).with_options(options);
        if self.0.is_batching() {
            return Ok(Events(Source::Elsewhere(self.0.submit(request))));
        }
        let permit = pollster::block_on(self.0.engine().admit())?;
        let generation = self.0.begin(None, &request, asked, None)?;
        Ok(Events(Source::Own { generation: Box::new(generation), _permit: permit }))
    }

    /// Starts a request with all that can be said about it. It runs on a thread of its own, or beside others where the
    /// model batches; dropping the iterator ends it. What is wrong with it is the first item.
    pub fn submit(&self, request: Request) -> Events {
        Events(Source::Elsewhere(self.0.submit(request)))
    }

    /// Runs a request to its end.
    ///
    /// # Errors
    /// What the request ends with, where that is not an answer.
    pub fn generate(&self, prompt: impl Into<Prompt>, options: SampleOptions) -> Result<Completion> {
        collect(self.stream(prompt, options)?)
    }

    /// Starts a conversation; say things with [`send`].
    pub fn chat(&self) -> Chat {
        self.0.chat()
    }

    /// Ends what runs and frees the memory, as [`inferno::Model::unload`](crate::Model::unload).
    pub fn unload(self) {
        pollster::block_on(self.0.unload());
    }
}

/// Says something in a conversation and waits for the whole answer.
///
/// # Errors
/// As [`Chat::send`].
pub fn send(chat: &mut Chat, text: impl Into<String>) -> Result<Reply> {
    pollster::block_on(chat.send(text))
}

/// The events of a request.
#[derive(Debug)]
pub struct Events(Source);

#[derive(Debug)]
enum Source {
    /// Computed here, in a context of its own.
    Own { generation: Box<Generation>, _permit: Permit },
    /// On another thread.
    Elsewhere(EventStream),
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Own { generation, .. } => generation.next(),
            Source::Elsewhere(stream) => pollster::block_on(stream.next()),
        }
    }
}
