//! `inferno serve` and `inferno worker`: models over HTTP, until SIGTERM or Ctrl-C.

use super::{
    args::{GlobalArgs, ServeArgs, WorkerArgs},
    failure::Failure,
    output, runtime,
    settings::Settings,
};
use inferno::{
    Model, ModelBuilder, ModelEntry, Registry,
    server::{Server, keep_little_memory},
};
use std::future::Future;

pub(crate) fn serve(args: ServeArgs, global: &GlobalArgs) -> Result<(), Failure> {
    run(&Settings::load(global, args.overrides())?)
}

pub(crate) fn worker(args: WorkerArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let no_callback = args.no_callback;
    let settings = Settings::load(global, args.overrides())?;
    let worker = &settings.loaded.config.worker;
    if worker.id.is_none() {
        return Err(Failure::usage("a worker needs an id from its pool manager: --worker-id ID"));
    }
    match (&worker.callback_url, no_callback) {
        (None, false) => Err(Failure::usage(
            "a worker tells its pool manager when it is ready: --callback-url URL, or --no-callback",
        )),
        (Some(url), true) => {
            Err(Failure::usage(format!("--no-callback contradicts callback_url, which is {url}")))
        }
        _ => run(&settings),
    }
}

fn run(settings: &Settings) -> Result<(), Failure> {
    keep_little_memory();
    let registry = registry(settings)?;
    runtime()?.block_on(async {
        // before the address is told: who knows it may already want the end
        let end = end()?;
        let server = Server::bind(&settings.loaded.config, registry)
            .await
            .map_err(|error| settings.loaded.placed(error))?;
        let url = format!("http://{}", server.address());
        output::line(&url)?;
        if !settings.quiet {
            output::note(&format!(
                "inferno: {url} serves OpenAI's interface, and a page to look at; Ctrl-C ends it"
            ));
        }
        server.run(end).await.map_err(|error| settings.failed(error))
    })
}

/// The models that the settings name.
fn registry(settings: &Settings) -> Result<Registry, Failure> {
    let config = &settings.loaded.config;
    let name = match &config.model.path {
        Some(path) => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        None => "spark".into(),
    };
    let batching = |builder: ModelBuilder| match config.engine.batch_options() {
        Some(options) => builder.with_batching(options),
        None => builder,
    };
    let first = batching(settings.model()?);
    // before the address is told: what cannot be served is known now
    first.check().map_err(|error| settings.failed(error))?;
    let mut entries = vec![ModelEntry::new(name, first)];
    let mut paths = vec![config.model.path.as_ref()];
    entries[0].aliases.extend(config.server.aliases.iter().cloned());
    for (name, path) in &config.server.models {
        match paths.iter().position(|known| *known == Some(path)) {
            Some(known) => entries[known].aliases.push(name.clone()),
            None => {
                let builder = settings.with_settings(Model::builder(path))?;
                entries.push(ModelEntry::new(name, batching(builder)));
                paths.push(Some(path));
            }
        }
    }
    let mut builder = entries.into_iter().fold(Registry::builder(), inferno::RegistryBuilder::add);
    if let Some(after) = config.engine.idle_unload() {
        builder = builder.with_idle_unload(after);
    }
    if let Some(bytes) = config.engine.memory_budget {
        builder = builder.with_memory_budget(bytes);
    }
    Ok(builder.build()?)
}

/// Completes at the first SIGTERM or Ctrl-C; at the second the process ends at once.
fn end() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error: std::io::Error| Failure::runtime(format!("cannot wait for signals: {error}"));
    #[cfg(unix)]
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    #[cfg(unix)]
    let mut interrupt =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(failed)?;
    #[cfg(windows)]
    let mut interrupt = tokio::signal::windows::ctrl_c().map_err(failed)?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut sender = Some(sender);
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            #[cfg(windows)]
            let _ = interrupt.recv().await;
            match sender.take() {
                Some(sender) => drop(sender.send(())),
                None => super::interrupt::exit_now(),
            }
        }
    });
    Ok(async move {
        let _ = receiver.await;
    })
}
