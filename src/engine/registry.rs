//! Models by name: loaded when they are asked for, unloaded when nobody needs them or another needs their memory.

use super::{loading::ModelBuilder, model::Model, stats::ModelStats};
use crate::error::{Error, Result};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;

/// The name under which the first model can be asked for, unless a model claims it.
const DEFAULT: &str = "default";
/// How often it is looked whether a model has become free, or idle for long enough.
const POLL: Duration = Duration::from_millis(20);

/// A model that a [`Registry`] can load.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// Its name.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// What to load, and how.
    pub builder: ModelBuilder,
}

impl ModelEntry {
    /// A model of this name.
    pub fn new(name: impl Into<String>, builder: ModelBuilder) -> Self {
        Self { name: name.into(), aliases: vec![], builder }
    }

    /// Another name for it.
    pub fn with_alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }
}

/// What a [`Registry`] holds, and its limits.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RegistryBuilder {
    entries: Vec<ModelEntry>,
    idle_unload: Option<Duration>,
    memory_budget: Option<u64>,
    room_wait: Option<Duration>,
}

impl RegistryBuilder {
    /// Adds a model; the first is the default.
    #[expect(clippy::should_implement_trait, reason = "nobody adds a model by `+`")]
    pub fn add(mut self, entry: ModelEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Unloads a model that nobody has used for so long. By default models stay.
    pub fn with_idle_unload(mut self, after: Duration) -> Self {
        self.idle_unload = Some(after);
        self
    }

    /// Bytes that all loaded models may take together, by [`ModelBuilder::memory_estimate`]. To load one more, those that
    /// nobody uses are unloaded, the least recently used first. By default there is no limit but the machine's.
    pub fn with_memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// How long a load waits for a model in use to become free when the budget is spent, 30 s by default.
    pub fn with_room_wait(mut self, most: Duration) -> Self {
        self.room_wait = Some(most);
        self
    }

    /// The registry; nothing is loaded yet.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for no model, an empty name, or a name that two models claim.
    pub fn build(self) -> Result<Registry> {
        let names = names(&self.entries)?;
        let (gone, over) = mpsc::channel();
        let entries = self.entries.into_iter().map(Entry::new).collect();
        let idle_unload = self.idle_unload;
        let inner = Arc::new(Inner {
            entries,
            names,
            memory_budget: self.memory_budget,
            room_wait: self.room_wait.unwrap_or(Duration::from_secs(30)),
            room: Mutex::default(),
            _gone: gone,
        });
        if let Some(after) = idle_unload {
            let registry = Arc::downgrade(&inner);
            let run = move || unload_idle(&registry, &over, after);
            thread::Builder::new()
                .name("inferno-registry".into())
                .spawn(run)
                .map_err(|error| Error::Engine { call: "start thread", what: error.to_string() })?;
        }
        Ok(Registry(inner))
    }
}

/// All names, each with the index of its model: what entries claim, then the names of their files, then `default`.
fn names(entries: &[ModelEntry]) -> Result<BTreeMap<String, usize>> {
    if entries.is_empty() {
        return Err(Error::request("models", "there are none: name at least one"));
    }
    let mut names = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        for name in [&entry.name].into_iter().chain(&entry.aliases) {
            if name.trim().is_empty() {
                return Err(Error::request("models", format!("model {index} has an empty name or alias")));
            }
            if let Some(other) = names.insert(name.clone(), index)
                && other != index
            {
                let (a, b) = (&entries[other].name, &entry.name);
                return Err(Error::request("models", format!("{name:?} names both {a:?} and {b:?}")));
            }
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        let Some(path) = entry.builder.path() else { continue };
        for part in [path.file_name(), path.file_stem()].into_iter().flatten() {
            names.entry(part.to_string_lossy().into_owned()).or_insert(index);
        }
    }
    names.entry(DEFAULT.into()).or_insert(0);
    Ok(names)
}

/// Where a registered model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelState {
    /// Nothing of it is in memory.
    Unloaded,
    /// It is being loaded, or waits for room.
    Loading,
    /// It can answer.
    Loaded,
    /// Its requests are being ended and its memory freed.
    Unloading,
}

/// A registered model, as [`Registry::list`] tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// Other names that it was given.
    pub aliases: Vec<String>,
    /// Where it stands.
    pub state: ModelState,
    /// The fraction loaded, 0 to 1, while it loads.
    pub progress: Option<f32>,
    /// Bytes that it takes, 0 unless it is loaded.
    pub bytes: u64,
    /// When somebody last asked for it or let go of it; `None` before the first time.
    pub last_used: Option<SystemTime>,
}

/// Models by name. Cheap to clone.
///
/// A model counts as used while somebody holds a [`Model`] that [`get`](Self::get) gave, or a request runs on it.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    entries: Vec<Entry>,
    names: BTreeMap<String, usize>,
    memory_budget: Option<u64>,
    room_wait: Duration,
    /// Held by the load that makes room, so that one waits after the other.
    room: Mutex<()>,
    /// Tells the thread that unloads idle models that the registry is gone.
    _gone: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Entry {
    entry: ModelEntry,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    place: Place,
    used: Option<(Instant, SystemTime)>,
}

#[derive(Debug)]
enum Place {
    Unloaded,
    Loading(Arc<Load>),
    Loaded { model: Model, bytes: u64 },
    Unloading(watch::Receiver<bool>),
}

/// What there is of a model, to take or to wait for.
enum Found {
    Model(Model),
    Load(watch::Receiver<Option<Result<(), Arc<Error>>>>),
    Unload(watch::Receiver<bool>),
}

/// A load that several callers wait for.
#[derive(Debug)]
struct Load {
    cancelled: AtomicBool,
    /// Bytes set aside for it, once there is room.
    reserved: Mutex<u64>,
    progress: Mutex<f32>,
    done: watch::Sender<Option<Result<(), Arc<Error>>>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    fn new(entry: ModelEntry) -> Self {
        Self { entry, slot: Mutex::new(Slot { place: Place::Unloaded, used: None }) }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }
}

impl Slot {
    fn touch(&mut self) {
        self.used = Some((Instant::now(), SystemTime::now()));
    }

    /// How long nobody has used it; `None` where it is not loaded, or is in use.
    fn idle(&self) -> Option<Duration> {
        match &self.place {
            Place::Loaded { model, .. } if model.is_idle() => {
                Some(self.used.map_or(Duration::MAX, |(at, _)| at.elapsed()))
            }
            _ => None,
        }
    }
}

impl Registry {
    /// Begins to describe a registry.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The model's own name for a name, an alias, the name of its file (with or without the ending), or `default`.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with the names there are.
    pub fn resolve(&self, name: &str) -> Result<&str> {
        self.entry(name).map(|entry| entry.entry.name.as_str())
    }

    /// The model, loaded if it is not: one load for all who wait. It goes on when this future is dropped.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; what the load ends with, for all who waited for it; [`Error::OutOfMemory`] where the
    /// memory budget does not suffice; [`Error::LoadCancelled`] after [`unload`](Self::unload).
    pub async fn get(&self, name: &str) -> Result<Model> {
        let entry = self.entry(name)?;
        loop {
            match self.look(entry)? {
                Found::Model(model) => return Ok(model),
                Found::Load(mut load) => {
                    let result = load.wait_for(Option::is_some).await.map(|result| result.clone());
                    match result {
                        Ok(Some(Err(error))) => return Err(error.again()),
                        // loaded: take it, unless it was unloaded at once
                        Ok(_) => {}
                        Err(_) => return Err(Error::ShutDown),
                    }
                }
                Found::Unload(mut done) => _ = done.wait_for(|done| *done).await,
            }
        }
    }

    /// What there is of a model now; begins to load it where there is nothing.
    fn look(&self, entry: &Entry) -> Result<Found> {
        let mut slot = entry.slot();
        slot.touch();
        match &slot.place {
            Place::Loaded { model, .. } => Ok(Found::Model(model.clone())),
            Place::Loading(load) => Ok(Found::Load(load.done.subscribe())),
            Place::Unloading(done) => Ok(Found::Unload(done.clone())),
            Place::Unloaded => {
                let load = self.begin(self.0.index(entry))?;
                let done = load.done.subscribe();
                slot.place = Place::Loading(load);
                Ok(Found::Load(done))
            }
        }
    }

    /// Loads a model without using it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn load(&self, name: &str) -> Result<()> {
        self.get(name).await.map(drop)
    }

    /// Cancels a model's requests, or its load, and frees its memory. Returns whether there was anything to free; the
    /// next [`get`](Self::get) loads it again.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub async fn unload(&self, name: &str) -> Result<bool> {
        let entry = self.entry(name)?;
        match self.begin_unload(entry) {
            None | Some(Found::Model(_)) => Ok(false),
            Some(Found::Load(mut load)) => {
                let _ = load.wait_for(Option::is_some).await;
                Ok(true)
            }
            Some(Found::Unload(mut done)) => {
                let _ = done.wait_for(|done| *done).await;
                Ok(true)
            }
        }
    }

    /// Cancels a load, or begins to free a model; [`Found::Unload`] tells when nothing is left.
    fn begin_unload(&self, entry: &Entry) -> Option<Found> {
        let mut slot = entry.slot();
        match &slot.place {
            Place::Unloaded => None,
            Place::Loading(load) => {
                load.cancelled.store(true, Ordering::Relaxed);
                Some(Found::Load(load.done.subscribe()))
            }
            Place::Unloading(done) => Some(Found::Unload(done.clone())),
            Place::Loaded { .. } => {
                let (done, freed) = watch::channel(false);
                let place = std::mem::replace(&mut slot.place, Place::Unloading(freed.clone()));
                let Place::Loaded { model, .. } = place else { unreachable!("matched above") };
                drop(slot);
                // on a thread of its own, so that it goes on when nobody waits for it any more
                let index = self.0.index(entry);
                Freeing { registry: Arc::clone(&self.0), index, model, done }.start();
                Some(Found::Unload(freed))
            }
        }
    }

    /// All models, in the order in which they were added.
    pub fn list(&self) -> Vec<ModelStatus> {
        let status = |entry: &Entry| {
            let slot = entry.slot();
            let (state, progress, bytes) = match &slot.place {
                Place::Unloaded => (ModelState::Unloaded, None, 0),
                Place::Loading(load) => (ModelState::Loading, Some(*lock(&load.progress)), 0),
                Place::Loaded { bytes, .. } => (ModelState::Loaded, None, *bytes),
                Place::Unloading(_) => (ModelState::Unloading, None, 0),
            };
            ModelStatus {
                name: entry.entry.name.clone(),
                aliases: entry.entry.aliases.clone(),
                state,
                progress,
                bytes,
                last_used: slot.used.map(|(_, at)| at),
            }
        };
        self.0.entries.iter().map(status).collect()
    }

    /// The counters of the models that are loaded, by name. Asking is no use of a model.
    pub fn stats(&self) -> Vec<(String, ModelStats)> {
        let stats = |entry: &Entry| match &entry.slot().place {
            Place::Loaded { model, .. } => Some((entry.entry.name.clone(), model.stats())),
            _ => None,
        };
        self.0.entries.iter().filter_map(stats).collect()
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        match self.0.names.get(name) {
            Some(index) => Ok(&self.0.entries[*index]),
            None => {
                Err(Error::UnknownModel { name: name.into(), known: self.0.names.keys().cloned().collect() })
            }
        }
    }

    /// Begins a load on a thread of its own.
    fn begin(&self, index: usize) -> Result<Arc<Load>> {
        let load = Arc::new(Load {
            cancelled: AtomicBool::new(false),
            reserved: Mutex::new(0),
            progress: Mutex::new(0.0),
            done: watch::Sender::new(None),
        });
        let (inner, ours) = (Arc::clone(&self.0), Arc::clone(&load));
        thread::Builder::new()
            .name("inferno-load".into())
            .spawn(move || inner.load(index, &ours))
            .map_err(|error| Error::Engine { call: "start thread", what: error.to_string() })?;
        Ok(load)
    }
}

impl Inner {
    fn index(&self, entry: &Entry) -> usize {
        self.entries.iter().position(|other| std::ptr::eq(other, entry)).expect("an entry of this registry")
    }

    /// The whole load: makes room, loads, puts the model in its place, tells all who wait.
    fn load(self: Arc<Self>, index: usize, load: &Load) {
        let result = self.load_model(index, load);
        let result = {
            let mut slot = self.entries[index].slot();
            slot.touch();
            match result {
                Ok((model, bytes)) => {
                    slot.place = Place::Loaded { model, bytes };
                    Ok(())
                }
                Err(error) => {
                    slot.place = Place::Unloaded;
                    Err(Arc::new(error))
                }
            }
        };
        // the registry may go with this thread; who waits has a handle on it
        load.done.send_replace(Some(result));
    }

    fn load_model(&self, index: usize, load: &Load) -> Result<(Model, u64)> {
        let builder = &self.entries[index].entry.builder;
        let estimate = builder.memory_estimate()?;
        self.make_room(index, load, estimate)?;
        let cancelled = || load.cancelled.load(Ordering::Relaxed);
        let model = builder.clone().load_blocking(|done| {
            *lock(&load.progress) = done;
            if cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if cancelled() {
            return Err(Error::LoadCancelled);
        }
        Ok((model, estimate))
    }

    /// Sets the bytes aside, unloading what nobody uses until they fit.
    fn make_room(&self, index: usize, load: &Load, needed: u64) -> Result<()> {
        let Some(budget) = self.memory_budget else { return Ok(()) };
        let none = |free| Error::OutOfMemory { device: "the memory budget".into(), needed, free: Some(free) };
        if needed > budget {
            return Err(none(budget));
        }
        let began = Instant::now();
        loop {
            let room = lock(&self.room);
            let free = budget.saturating_sub(self.taken(index));
            if needed <= free {
                *lock(&load.reserved) = needed;
                return Ok(());
            }
            if !self.evict(index) {
                drop(room);
                if began.elapsed() >= self.room_wait {
                    return Err(none(free));
                }
                thread::sleep(POLL);
            }
            if load.cancelled.load(Ordering::Relaxed) {
                return Err(Error::LoadCancelled);
            }
        }
    }

    /// Bytes of all models but one.
    fn taken(&self, but: usize) -> u64 {
        let others = self.entries.iter().enumerate().filter(|(index, _)| *index != but);
        let bytes = others.map(|(_, entry)| match &entry.slot().place {
            Place::Loaded { bytes, .. } => *bytes,
            Place::Loading(load) => *lock(&load.reserved),
            Place::Unloaded | Place::Unloading(_) => 0,
        });
        bytes.sum()
    }

    /// Unloads the least recently used model that nobody uses; false where there is none.
    fn evict(&self, but: usize) -> bool {
        let others = self.entries.iter().enumerate().filter(|(index, _)| *index != but);
        let oldest = others
            .filter_map(|(index, entry)| entry.slot().idle().map(|idle| (idle, index)))
            .max()
            .map(|(_, index)| index);
        oldest.is_some_and(|index| self.free_idle(index, Duration::ZERO))
    }

    /// Frees a model that nobody has used for so long, and waits for the end of that.
    fn free_idle(&self, index: usize, after: Duration) -> bool {
        let (model, done) = {
            let mut slot = self.entries[index].slot();
            if slot.idle().is_none_or(|idle| idle < after) {
                return false;
            }
            let (done, freed) = watch::channel(false);
            match std::mem::replace(&mut slot.place, Place::Unloading(freed)) {
                Place::Loaded { model, .. } => (model, done),
                place => {
                    slot.place = place;
                    return false;
                }
            }
        };
        pollster::block_on(model.unload());
        self.entries[index].slot().place = Place::Unloaded;
        done.send_replace(true);
        true
    }
}

/// A model on its way out.
struct Freeing {
    registry: Arc<Inner>,
    index: usize,
    model: Model,
    done: watch::Sender<bool>,
}

impl Freeing {
    fn start(self) {
        let run = move || {
            pollster::block_on(self.model.unload());
            self.registry.entries[self.index].slot().place = Place::Unloaded;
            self.done.send_replace(true);
        };
        if let Err(error) = thread::Builder::new().name("inferno-unload".into()).spawn(run) {
            // the closure is gone, and the model's last handle of ours with it
            tracing::error!("no thread to unload a model on: {error}");
        }
    }
}

/// Looks for idle models until the registry is gone.
fn unload_idle(registry: &Weak<Inner>, gone: &mpsc::Receiver<()>, after: Duration) {
    let often = (after / 4).clamp(POLL, Duration::from_secs(5));
    while gone.recv_timeout(often) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(registry) = registry.upgrade() else { return };
        for (index, entry) in registry.entries.iter().enumerate() {
            let in_use = {
                let mut slot = entry.slot();
                let in_use = matches!(slot.place, Place::Loaded { .. }) && slot.idle().is_none();
                if in_use {
                    slot.touch();
                }
                in_use
            };
            if !in_use && registry.free_idle(index, after) {
                tracing::info!("{} was unloaded: nobody used it for {after:?}", entry.entry.name);
            }
        }
    }
}
