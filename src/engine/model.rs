//! The handle that users share: a loaded model, its settings, and the requests that run on it.

use super::{
    admission::Engine,
    answer::{self, Answer},
    batching::BatchOptions,
    blocking,
    chat::Chat,
    deadline,
    generation::Generation,
    loading::ModelBuilder,
    request::{Event, Prompt, Request},
    scheduler::{Job, Scheduler},
    start as spawn,
    stats::{Counters, DeviceMemory, ModelStats, Outcome},
    stream::{CancelHandle, Completion, EventStream, Sink},
};
use crate::{
    error::{Error, Result},
    model::{LoadedModel, Token},
    sampling::SampleOptions,
    session::{ContextOptions, Session},
    template::ChatTemplate,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Instant,
};
use tokio::sync::watch;

/// A place for a session between requests: the next request reuses what its prompt shares with the tokens in there.
#[derive(Debug, Clone, Default)]
pub struct SessionSlot(Arc<Mutex<Option<Session>>>);

impl SessionSlot {
    /// Puts a session in, in place of another.
    pub fn put(&self, session: Session) {
        *lock(&self.0) = Some(session);
    }

    /// Takes the session out; there is none before the first request has ended, and while one runs.
    pub fn take(&self) -> Option<Session> {
        lock(&self.0).take()
    }
}

/// A loaded model. Cheap to clone, and shared between threads and tasks: each request gets a context of its own.
#[derive(Debug, Clone)]
pub struct Model(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Taken out by [`Model::unload`].
    loaded: RwLock<Option<Arc<LoadedModel>>>,
    template: ChatTemplate,
    context: ContextOptions,
    engine: Engine,
    /// Requests at work, to cancel them when the model is unloaded.
    active: Mutex<Vec<CancelHandle>>,
    count: watch::Sender<usize>,
    counters: Arc<Counters>,
    /// Runs requests together, where the model batches.
    scheduler: Option<Scheduler>,
    slots: Mutex<Vec<Weak<Mutex<Option<Session>>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// Prepares to load a GGUF file. Of a model in several files, name the first one.
    pub fn builder(path: impl Into<PathBuf>) -> ModelBuilder {
        ModelBuilder::from_path(path)
    }

    /// Prepares to load the small model that is built into this crate.
    #[cfg(feature = "builtin-model")]
    pub fn builtin() -> ModelBuilder {
        ModelBuilder::new(crate::model::ModelSource::Builtin)
    }

    pub(super) fn new(
        loaded: Arc<LoadedModel>,
        context: ContextOptions,
        engine: Engine,
        batching: Option<&BatchOptions>,
    ) -> Result<Self> {
        let template = loaded.chat_template()?;
        let counters = Arc::default();
        let scheduler = match batching {
            Some(batching) => Some(Scheduler::new(&loaded, &context, batching, &counters)?),
            None => None,
        };
        Ok(Self(Arc::new(Shared {
            loaded: RwLock::new(Some(loaded)),
            template,
            context,
            engine,
            active: Mutex::default(),
            count: watch::Sender::new(0),
            counters,
            scheduler,
            slots: Mutex::default(),
        })))
    }

    /// The model on the blocking floor: metadata, tokenizer, sessions.
    ///
    /// # Errors
    /// [`Error::ShutDown`] after [`unload`](Self::unload).
    pub fn loaded(&self) -> Result<Arc<LoadedModel>> {
        self.0.loaded.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::ShutDown)
    }

    /// How each request's context is made.
    pub fn context_options(&self) -> &ContextOptions {
        &self.0.context
    }

    /// The engine whose limits hold for this model.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The chat template in use.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.0.template
    }

    /// Starts a request. Everything that is wrong with it, also before it begins, comes as the stream's first item.
    pub fn stream(&self, prompt: impl Into<Prompt>, options: SampleOptions) -> EventStream {
        self.submit(Request::new(prompt).with_options(options))
    }

    /// Starts a request with all that can be said about it; otherwise as [`stream`](Self::stream).
    pub fn submit(&self, request: Request) -> EventStream {
        match &self.0.scheduler {
            Some(scheduler) if !request.isolated => self.batch(scheduler, request),
            _ => self.start(None, request),
        }
    }

    /// Whether requests run together in one context, unless they are isolated.
    pub fn is_batching(&self) -> bool {
        self.0.scheduler.is_some()
    }

    /// What the model is doing and has done since it was loaded.
    pub fn stats(&self) -> ModelStats {
        let mut stats = self.0.counters.snapshot(*self.0.count.borrow());
        if stats.memory.is_empty()
            && let Ok(loaded) = self.loaded()
        {
            let (device, weights) = (loaded.devices().join(", "), loaded.tensor_bytes());
            stats.memory.push(DeviceMemory { device, weights, ..DeviceMemory::default() });
        }
        stats
    }

    /// Makes the next step of the requests that run together fail.
    #[cfg(test)]
    pub(super) fn fail_next_step(&self, failure: crate::sys::Failure) {
        let scheduler = self.0.scheduler.as_ref().expect("a model that batches");
        *lock(&scheduler.inbox().fault) = Some(failure);
    }

    /// Whether nobody holds this model but the caller: no other handle, no request, no conversation.
    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Runs a request to its end.
    ///
    /// # Errors
    /// What the request ends with, where that is not an answer.
    pub async fn generate(&self, prompt: impl Into<Prompt>, options: SampleOptions) -> Result<Completion> {
        self.stream(prompt, options).collect().await
    }

    /// Starts a conversation.
    pub fn chat(&self) -> Chat {
        Chat::new(self.clone())
    }

    /// A session for callers that run the token loop themselves. It is outside the engine's limits.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn session(&self) -> Result<Session> {
        Session::new(&self.loaded()?, &self.0.context)
    }

    /// Cancels the requests that run or wait, waits for their end and frees the model's memory. Other handles on it get
    /// [`Error::ShutDown`] from then on.
    pub async fn unload(self) {
        let taken = self.0.loaded.write().unwrap_or_else(PoisonError::into_inner).take();
        for request in lock(&self.0.active).iter() {
            request.cancel();
        }
        let mut count = self.0.count.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
        let slots: Vec<_> = lock(&self.0.slots).iter().filter_map(Weak::upgrade).collect();
        blocking(move || {
            for slot in slots {
                drop(lock(&slot).take());
            }
            if let Some(scheduler) = &self.0.scheduler {
                scheduler.close();
            }
            drop(taken);
        })
        .await;
    }

    /// A place for a session between requests on this model, known to [`unload`](Self::unload).
    pub fn slot(&self) -> SessionSlot {
        let slot = SessionSlot::default();
        let mut slots = lock(&self.0.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot.0));
        slot
    }

    /// As [`stream`](Self::stream), in the session of this slot; where it holds none, in a new one. The session is back
    /// in the slot before the last event comes.
    pub fn stream_in(
        &self,
        slot: &SessionSlot,
        prompt: impl Into<Prompt>,
        options: SampleOptions,
    ) -> EventStream {
        self.start(Some(slot.clone()), Request::new(prompt).with_options(options))
    }

    /// Starts a request beside others: its prompt is prepared here, the scheduler does the rest.
    fn batch(&self, scheduler: &Scheduler, request: Request) -> EventStream {
        let asked = Instant::now();
        let (stream, sink) = EventStream::new();
        let cancel = sink.cancel_handle().clone();
        let active = Active::new(self.clone(), cancel.clone());
        let place = match scheduler.enter(self.0.engine.options()) {
            Ok(place) => place,
            Err(error) => {
                active.fail(&sink, error, false);
                return stream;
            }
        };
        if let Some(after) = request.deadline {
            deadline::set(&cancel, asked, after);
        }
        spawn(async move {
            blocking(move || {
                let prepared = active.model.prepare(&request, asked);
                let Some(scheduler) = &active.model.0.scheduler else { return };
                let (limit, inbox) = (scheduler.limit(), Arc::clone(scheduler.inbox()));
                match prepared {
                    Ok((tokens, answer)) => {
                        cancel.attach_scheduler(&inbox);
                        let output = request.options.max_tokens.unwrap_or(usize::MAX);
                        // what will be shifted must be nobody else's
                        let shifts = request.context_shift && tokens.len().saturating_add(output) > limit;
                        let job = Job {
                            prompt: tokens.len(),
                            tokens,
                            answer,
                            sink,
                            place,
                            cache: request.cache_prompt && !shifts,
                            shift: request.context_shift,
                            running: None,
                            waits_since: None,
                            active,
                        };
                        inbox.push(job);
                    }
                    Err(error) => {
                        drop(place);
                        // an unloaded model says that it was shut down; its requests were cancelled
                        let error = if cancel.is_cancelled() { cancel.reason() } else { error };
                        active.fail(&sink, error, false);
                    }
                }
            })
            .await;
        });
        stream
    }

    /// The prompt's tokens, and an answer to begin.
    fn prepare(&self, request: &Request, asked: Instant) -> Result<(Vec<Token>, Answer)> {
        let loaded = self.loaded()?;
        request.options.validate()?;
        let tokens = answer::prompt_tokens(&loaded, &self.0.template, &request.prompt)?;
        let limit = self.0.context.context_for(&loaded);
        answer::check_room(tokens.len(), &request.options, request.context_shift, limit)?;
        let answer = Answer::new(&loaded, &request.options, &tokens, asked)?;
        Ok((tokens, answer))
    }

    /// Starts a request, in the session of a slot or one of its own.
    fn start(&self, slot: Option<SessionSlot>, request: Request) -> EventStream {
        let asked = Instant::now();
        let (stream, sink) = EventStream::new();
        let active = Active::new(self.clone(), sink.cancel_handle().clone());
        if let Some(after) = request.deadline {
            deadline::set(sink.cancel_handle(), asked, after);
        }
        spawn(async move {
            let cancel = sink.cancel_handle().clone();
            let admitted = tokio::select! {
                permit = active.model.0.engine.admit() => permit,
                () = cancel.cancelled() => Err(cancel.reason()),
            };
            match admitted {
                // the permit travels into the blocking task: the place is taken until the work has really ended
                Ok(permit) => {
                    blocking(move || {
                        let model = active.model.clone();
                        let held = (model.0.counters.begun(), permit);
                        model.run(slot.as_ref(), &request, asked, active, held, &sink);
                    })
                    .await;
                }
                Err(error) => active.fail(&sink, error, false),
            }
        });
        stream
    }

    /// The work of a request, on a thread that may block. What it holds meanwhile is given back before its end is told.
    fn run(
        &self,
        slot: Option<&SessionSlot>,
        request: &Request,
        asked: Instant,
        active: Active,
        held: impl Sized,
        sink: &Sink,
    ) {
        let mut generation = match self.begin(slot, request, asked, Some(sink.cancel_handle())) {
            Ok(generation) => generation,
            Err(error) => {
                drop(held);
                return active.fail(sink, error, false);
            }
        };
        let mut last = None;
        for event in &mut generation {
            if matches!(event, Ok(Event::Done(_)) | Err(_)) {
                last = Some(event);
                break;
            }
            if !sink.send(event) {
                break;
            }
        }
        sink.cancel_handle().detach();
        // before the end is told: who sees it may count on the session, or on the memory
        match slot {
            Some(slot) => slot.put(generation.into_session()),
            None => drop(generation),
        }
        drop(held);
        match last {
            Some(Ok(done)) => {
                active.ended(Outcome::Done);
                drop(active);
                if !sink.send(Ok(done)) {
                    sink.fail(sink.cancel_handle().reason());
                }
            }
            Some(Err(error)) if !matches!(error, Error::Cancelled) => active.fail(sink, error, true),
            Some(Err(_)) | None => active.fail(sink, sink.cancel_handle().reason(), true),
        }
    }

    /// Makes the session, or takes it from the slot, and prepares the generation.
    pub(crate) fn begin(
        &self,
        slot: Option<&SessionSlot>,
        request: &Request,
        asked: Instant,
        cancel: Option<&CancelHandle>,
    ) -> Result<Generation> {
        let began = Instant::now();
        // before the context is made: what is wrong with the options should not cost a KV cache
        request.options.validate()?;
        let kept = slot.and_then(SessionSlot::take);
        let session = match kept {
            Some(session) => session,
            None => self.session()?,
        };
        let stop = session.stop_handle();
        let generation = Generation::new(session, &self.0.template, &self.0.counters, request, asked, began)?;
        if let Some(cancel) = cancel {
            cancel.attach(stop);
        }
        Ok(generation)
    }
}

/// One request in the model's list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Active {
    model: Model,
    cancel: CancelHandle,
}

impl Active {
    pub(super) fn new(model: Model, cancel: CancelHandle) -> Self {
        lock(&model.0.active).push(cancel.clone());
        model.0.count.send_modify(|count| *count += 1);
        Self { model, cancel }
    }

    /// Counts how it ended.
    pub(super) fn ended(&self, outcome: Outcome) {
        self.model.0.counters.ended(outcome);
    }

    /// Ends it with an error, which came before or after the work began. Who is told finds it counted no more.
    pub(super) fn fail(self, sink: &Sink, error: Error, begun: bool) {
        self.ended(Outcome::of(&error, begun));
        drop(self);
        sink.fail(error);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.cancel.finished();
        lock(&self.model.0.active).retain(|other| !other.is_same(&self.cancel));
        self.model.0.count.send_modify(|count| *count -= 1);
    }
}
