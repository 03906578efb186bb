//! OpenAI's HTTP interface over a registry of models: limits, keys, metrics, a page to look at, and an end that loses no
//! request. With a [`WorkerConfig`](crate::config::WorkerConfig) that has an id, also the contract of a worker in a pool.
//!
//! ```no_run
//! # async fn example() -> inferno::Result<()> {
//! use inferno::{Model, ModelEntry, Registry, config::Config, server::Server};
//!
//! let registry = Registry::builder().add(ModelEntry::new("qwen", Model::builder("qwen3-4b-q4_k_m.gguf"))).build()?;
//! let server = Server::bind(&Config::default(), registry).await?;
//! println!("http://{}", server.address());
//! server.run(std::future::pending()).await?; // until this future completes
//! # Ok(())
//! # }
//! ```

mod answer;
mod app;
mod auth;
mod body;
mod choices;
mod connection;
mod facts;
mod fields;
mod history;
mod metrics;
mod openai;
mod options;
mod page;
mod problem;
mod request;
mod routes;
mod worker;

pub use crate::device::keep_little_memory;

use crate::{
    config::Config,
    engine::Registry,
    error::{Error, Result},
};
use app::App;
use options::Options;
use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use worker::Worker;

/// How long work that was told to end may take to do so: one ubatch, and the last words to a client that reads.
const END: Duration = Duration::from_secs(5);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Listens, as the settings say. Nothing is loaded, and nobody is answered, before [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is wrong; [`Error::InvalidRequest`] for an address that other machines can
    /// reach without keys, and for a file of keys that holds none; [`Error::Io`] where that file cannot be read, or the
    /// address not be listened on.
    pub async fn bind(config: &Config, registry: Registry) -> Result<Self> {
        config.validate()?;
        let options = Options::of(config)?;
        let worker = Worker::new(config)?;
        let (host, port) = (config.server.host.as_str(), config.server.port);
        let failed = |source| Error::io("listen on", format!("{host}:{port}"), source);
        let listener = connection::listen(host, port).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let loopback = address.ip().is_loopback();
        if !loopback && options.api_keys.is_empty() && !config.server.allow_anonymous {
            let what = format!(
                "{} can be reached by other machines: name a file of keys (api_keys_file), or set allow_anonymous",
                host
            );
            return Err(Error::request("host", what));
        }
        let app = Arc::new(App::new(registry, options, loopback, worker));
        Ok(Self { listener, address, app })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the default model and serves until `shutdown` completes. Then new work is refused, what runs may end
    /// within the drain timeout and is cancelled then, and the models are unloaded.
    ///
    /// # Errors
    /// What loading the default model ends with; for a worker also that its pool cannot be told.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { listener, address, app } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(history::sample(Arc::clone(&app)));
        let router = routes::router(&app);
        let result = {
            let life = live(Arc::clone(&app), address, shutdown);
            connection::accept(&listener, &router, &app, life).await
        };
        drop(listener);
        for model in app.registry.list() {
            app.registry.unload(&model.name).await?;
        }
        tasks.shutdown().await;
        result
    }
}

/// The life of a server: starts, waits for the order to end, drains.
async fn live(app: Arc<App>, address: SocketAddr, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut shutdown = pin!(shutdown);
    let start = async {
        app.registry.load("default").await?;
        app.ready();
        tracing::info!(%address, "ready");
        if let Some(worker) = &app.worker {
            worker.announce(&app, address).await?;
        }
        Ok(())
    };
    tokio::select! {
        started = start => match started {
            Ok(()) => shutdown.await,
            Err(error) => return Err(error),
        },
        () = &mut shutdown => {}
    }
    app.drain();
    tracing::info!(at_work = app.at_work(), "draining");
    if timeout(app.options.drain_timeout, app.idle()).await.is_err() {
        tracing::warn!(at_work = app.at_work(), "the time to drain is over: what runs is cancelled");
        app.stop();
        // a client that does not read can hold this up; its connection is closed after that
        let _ = timeout(END, app.idle()).await;
    }
    Ok(())
}
