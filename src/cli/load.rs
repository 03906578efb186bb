//! Loading the model that the settings name, with a bar while it lasts.

use super::{failure::Failure, interrupt::Interrupt, output, output::Waiting, settings::Settings};
use inferno::{LoadEvent, Model};

/// Said when nothing else was asked for.
const BUILTIN: &str = "inferno: this is the small built-in model, for trying things out; \
                       for a real one download a GGUF file (model hubs list them under that name) and name it with --model FILE";

/// Loads the model. Ctrl-C cancels.
pub(crate) async fn load(settings: &Settings, interrupt: &Interrupt) -> Result<Model, Failure> {
    let builder = settings.model()?;
    let name = match &settings.loaded.config.model.path {
        Some(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        None => "the built-in model".into(),
    };
    if settings.is_builtin() && !settings.quiet {
        output::note(BUILTIN);
    }
    let mut waiting = Waiting::bar(format!("loading {}", output::tame(&name)), settings.quiet);
    let mut loading = builder.load();
    let mut progress = loading.progress();
    let mut reports = true;
    let model = loop {
        tokio::select! {
            model = &mut loading => break model.map_err(|error| settings.failed(error))?,
            event = progress.next_event(), if reports => match event {
                Some(LoadEvent::Progress(fraction)) => waiting.done(fraction),
                Some(_) => {}
                None => reports = false,
            },
            () = interrupt.pressed() => return Err(Failure::Interrupted),
        }
    };
    waiting.clear();
    let loaded = model.loaded()?;
    if !settings.quiet
        && let Some(last) = loaded.fallbacks().last()
    {
        output::note(&format!("inferno: {}; `inferno doctor` tells more", output::tame(&last.to_string())));
    }
    settings.check_sizes(&loaded)?;
    Ok(model)
}
