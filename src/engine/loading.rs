//! Loading a model: the builder, the future, its progress.

use super::{admission::Engine, batching::BatchOptions, blocking, model::Model, start};
use crate::{
    device::{DeviceSelect, Fallback, Plan},
    error::{Error, Result},
    gguf::Gguf,
    model::{LoadOptions, LoadedModel, ModelSource},
    session::ContextOptions,
};
use futures_core::Stream;
use std::{
    future::Future,
    ops::ControlFlow,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::{mpsc, oneshot};

/// What to load and how to run it.
#[derive(Debug, Clone)]
pub struct ModelBuilder {
    source: ModelSource,
    load: LoadOptions,
    context: ContextOptions,
    engine: Option<Engine>,
    batching: Option<BatchOptions>,
}

impl ModelBuilder {
    pub(crate) fn new(source: ModelSource) -> Self {
        Self {
            source,
            load: LoadOptions::default(),
            context: ContextOptions::default(),
            engine: None,
            batching: None,
        }
    }

    /// A GGUF file.
    pub(crate) fn from_path(path: impl Into<PathBuf>) -> Self {
        Self::new(ModelSource::File(path.into()))
    }

    /// The device to run on.
    pub fn with_device(mut self, device: DeviceSelect) -> Self {
        self.load.device = device;
        self
    }

    /// How many tokens each request's context holds.
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.context.context_size = Some(tokens);
        self
    }

    /// All options of loading.
    pub fn with_load_options(mut self, options: LoadOptions) -> Self {
        self.load = options;
        self
    }

    /// All options of each request's context.
    pub fn with_context_options(mut self, options: ContextOptions) -> Self {
        self.context = options;
        self
    }

    /// Shares an engine's limits with other models.
    pub fn with_engine(mut self, engine: &Engine) -> Self {
        self.engine = Some(engine.clone());
        self
    }

    /// The file, where there is one.
    pub(super) fn path(&self) -> Option<&std::path::Path> {
        match &self.source {
            ModelSource::File(path) => Some(path),
            #[cfg(feature = "builtin-model")]
            ModelSource::Builtin => None,
        }
    }

    /// Bytes that the model will take once it runs: its weights and one KV cache, as the file's header tells them.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::InvalidGguf`] where the header cannot be read.
    pub fn memory_estimate(&self) -> Result<u64> {
        let gguf = self.header()?;
        let context = self.context_by(&gguf);
        let cells = self.batching.as_ref().map_or(context, |batching| batching.cells_for(context));
        Ok(gguf.tensor_bytes() + self.context.cache_bytes(&gguf, cells).unwrap_or(0))
    }

    /// Checks the settings, against each other, the file's header and the devices of this machine. Nothing is loaded; a load
    /// begins with this.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the setting; [`Error::Io`] and [`Error::InvalidGguf`] where the header cannot be
    /// read.
    pub fn check(&self) -> Result<()> {
        self.context.validate()?;
        self.load.device.names()?;
        if let Some(batching) = &self.batching {
            batching.validate()?;
            batching.check_context(self.context_by(&self.header()?))?;
        }
        Ok(())
    }

    fn header(&self) -> Result<Gguf> {
        match &self.source {
            ModelSource::File(path) => Gguf::open(path),
            #[cfg(feature = "builtin-model")]
            ModelSource::Builtin => crate::model::builtin_header(),
        }
    }

    /// Tokens that a request's context holds, for a model with this header.
    fn context_by(&self, gguf: &Gguf) -> usize {
        self.context.context_of(gguf.context_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
    }

    /// Runs requests together in one context: each step computes all that generate and a part of the waiting prompts.
    /// Without it each request has a context of its own.
    pub fn with_batching(mut self, options: BatchOptions) -> Self {
        self.batching = Some(options);
        self
    }

    /// How the model would be run, and why. Reads the file's header and asks the devices; nothing is loaded.
    ///
    /// # Errors
    /// As [`LoadedModel::load`], as far as the header and the devices tell.
    pub fn plan(&self) -> Result<Plan> {
        self.source.plan(&self.load, self.context.attention())
    }

    /// Starts to load, in the background. Await the result; dropping it cancels the load and frees everything.
    pub fn load(self) -> Loading {
        let (report, progress) = mpsc::channel(128);
        let (done, result) = oneshot::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancelled);
        start(async move {
            let model = blocking(move || {
                let model = self.load_blocking(|fraction| {
                    // a reader that does not keep up misses steps, not the end
                    let _ = report.try_send(LoadEvent::Progress(fraction));
                    if flag.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
                for fallback in model.loaded()?.fallbacks() {
                    let _ = report.try_send(LoadEvent::Fallback(fallback.clone()));
                }
                Ok(model)
            })
            .await;
            let _ = done.send(model);
        });
        Loading { result, progress: Some(LoadProgress(progress)), cancelled }
    }

    /// Loads on this thread, which blocks; `progress` is told the fraction done, and breaks to cancel.
    ///
    /// # Errors
    /// As [`LoadedModel::load`].
    pub fn load_blocking(self, mut progress: impl FnMut(f32) -> ControlFlow<()>) -> Result<Model> {
        self.check()?;
        let loaded =
            LoadedModel::load_source(&self.source, &self.load, self.context.attention(), &mut progress)?;
        Model::new(loaded, self.context, self.engine.unwrap_or_default(), self.batching.as_ref())
    }
}

/// A model being loaded. Await it; drop it to cancel.
#[derive(Debug)]
#[must_use = "a load that is dropped is cancelled"]
pub struct Loading {
    result: oneshot::Receiver<Result<Model>>,
    progress: Option<LoadProgress>,
    cancelled: Arc<AtomicBool>,
}

impl Loading {
    /// What happens meanwhile. Empty the second time.
    pub fn progress(&mut self) -> LoadProgress {
        self.progress.take().unwrap_or_else(|| LoadProgress(mpsc::channel(1).1))
    }
}

impl Future for Loading {
    type Output = Result<Model>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map(|model| model.unwrap_or(Err(Error::ShutDown)))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// What happens while a model is loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LoadEvent {
    /// So much is done, from 0 to 1.
    Progress(f32),
    /// A device failed its self-test, and the model is run in another way. These come at the end;
    /// [`LoadedModel::fallbacks`] has them too.
    Fallback(Fallback),
}

/// What happens during a load, as a [`Stream`] that ends with it. A reader that does not keep up misses steps.
#[derive(Debug)]
pub struct LoadProgress(mpsc::Receiver<LoadEvent>);

impl LoadProgress {
    /// The next fraction done, from 0 to 1; `None` when the load has ended. Other events are passed over.
    pub async fn next(&mut self) -> Option<f32> {
        loop {
            match self.next_event().await? {
                LoadEvent::Progress(fraction) => return Some(fraction),
                LoadEvent::Fallback(_) => {}
            }
        }
    }

    /// The next event; `None` when the load has ended.
    pub async fn next_event(&mut self) -> Option<LoadEvent> {
        self.0.recv().await
    }
}

impl Stream for LoadProgress {
    type Item = LoadEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LoadEvent>> {
        self.0.poll_recv(context)
    }
}
