//! A conversation: messages, the model's template, and a KV cache that keeps what was said.

use super::{
    model::{Model, SessionSlot},
    request::{Event, Usage},
    stream::EventStream,
};
use crate::{
    error::Result,
    sampling::SampleOptions,
    template::{Message, Role},
};

/// A conversation with a model. Each turn reads only what is new: the rest is in the KV cache of its session.
#[derive(Debug)]
pub struct Chat {
    model: Model,
    slot: SessionSlot,
    messages: Vec<Message>,
    options: SampleOptions,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    text: String,
    usage: Usage,
}

impl Reply {
    /// What the model said.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it took.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }
}

impl Chat {
    pub(super) fn new(model: Model) -> Self {
        let slot = model.slot();
        Self { model, slot, messages: vec![], options: SampleOptions::default() }
    }

    /// Begins with instructions; replaces earlier ones.
    pub fn with_system(mut self, instructions: impl Into<String>) -> Self {
        self.messages.retain(|m| m.role != Role::System);
        self.messages.insert(0, Message::new(Role::System, instructions));
        self
    }

    /// How answers are sampled.
    pub fn with_options(mut self, options: SampleOptions) -> Self {
        self.options = options;
        self
    }

    /// Continues an earlier conversation.
    pub fn with_messages(mut self, messages: Vec<Message>) -> Self {
        self.messages = messages;
        self
    }

    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Forgets everything but the instructions.
    pub fn reset(&mut self) {
        self.messages.retain(|m| m.role == Role::System);
    }

    /// Says something and waits for the whole answer. Where this fails, the conversation is as before.
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub async fn send(&mut self, text: impl Into<String>) -> Result<Reply> {
        self.send_with(text, |_| ()).await
    }

    /// Says something and hands each event of the answer to `on_event` as it comes. The answer becomes part of the
    /// conversation when it is complete.
    ///
    /// # Errors
    /// As [`Model::generate`]; the conversation is as before then.
    pub async fn send_with(
        &mut self,
        text: impl Into<String>,
        mut on_event: impl FnMut(&Event),
    ) -> Result<Reply> {
        let mut stream = self.ask(text.into());
        let mut events = vec![];
        while let Some(event) = stream.next().await {
            if let Ok(event) = &event {
                on_event(event);
            }
            events.push(event);
        }
        let completion = super::collect(events).inspect_err(|_| self.taken_back())?;
        self.answered(completion.text.clone());
        Ok(Reply { text: completion.text, usage: completion.usage })
    }

    /// Says something and returns the stream of the answer. The caller tells [`answered`](Self::answered) what came
    /// of it, or [`taken_back`](Self::taken_back) that nothing did.
    pub fn ask(&mut self, text: String) -> EventStream {
        self.taken_back();
        self.messages.push(Message::new(Role::User, text));
        self.model.stream_in(&self.slot, self.messages.clone(), self.options.clone())
    }

    /// Makes this the answer to what was asked last.
    pub fn answered(&mut self, text: impl Into<String>) {
        self.messages.push(Message::new(Role::Assistant, text));
    }

    /// Takes back what was asked last, if it has no answer.
    pub fn taken_back(&mut self) {
        if self.messages.last().is_some_and(|m| m.role == Role::User) {
            self.messages.pop();
        }
    }
}
