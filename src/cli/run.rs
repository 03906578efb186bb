//! `inferno run`: continues a text, or answers it.

use super::{
    answer::{self, End, Show},
    args::{GlobalArgs, RunArgs},
    failure::Failure,
    input,
    interrupt::Interrupt,
    load, operations, output, runtime,
    settings::Settings,
};
use inferno::{Message, Prompt, Role};
use std::{io, path::Path};

pub(crate) fn run(mut args: RunArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let argument = args.take_prompt();
    let (json, chat, system) = (args.json, args.chat, args.system.take());
    let (save, restore) = (args.save_state.take(), args.restore_state.take());
    let count_operations = args.operations;
    let mut settings = Settings::load(global, args.overrides())?;
    settings.count_operations = count_operations;
    let text = input::prompt(argument)?;
    let prompt = if chat {
        let system = system.map(|text| Message::new(Role::System, text));
        Prompt::Chat(system.into_iter().chain([Message::new(Role::User, text)]).collect())
    } else {
        Prompt::Text(text)
    };
    if let Some(file) = &save {
        can_write(file)?;
    }
    let mut options = settings.sample_options();
    if !json {
        // nothing would show them
        options.logprobs = None;
    }

    runtime()?.block_on(async {
        let interrupt = Interrupt::listen();
        let model = load::load(&settings, &interrupt).await?;
        let slot = model.slot();
        if let Some(file) = &restore {
            tokio::task::block_in_place(|| {
                let mut session = model.session()?;
                session.restore(file)?;
                slot.put(session);
                Ok::<_, Failure>(())
            })?;
        }
        let stream = model.stream_in(&slot, prompt, options);
        let answer = answer::show(stream, Show { json, quiet: settings.quiet }, &interrupt).await?;
        if !json && output::stdout_is_terminal() && !answer.text.is_empty() && !answer.text.ends_with('\n') {
            output::line("")?;
        }
        if !settings.quiet {
            output::note(&format!("inferno: {}", answer.statistics(&*model.loaded()?)));
        }
        if let End::Interrupted { .. } = answer.end {
            return Err(Failure::Interrupted);
        }
        if let Some(mut session) = slot.take() {
            if count_operations {
                operations::show(&session.take_operations(), json)?;
            }
            if let Some(file) = &save {
                tokio::task::block_in_place(|| session.save(file))?;
            }
        }
        Ok(())
    })
}

/// Finds out before the work whether its result can be kept.
fn can_write(file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let checked = match file.is_dir() {
        true => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        false => tempfile::tempfile_in(directory).map(drop),
    };
    checked.map_err(|e| Failure::runtime(format!("the state cannot be saved in {}: {e}", file.display())))
}
