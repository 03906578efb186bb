//! `inferno run`: continues a text, or answers it.

use super::{
    answer::{self, End, Show},
    args::{GlobalArgs, RunArgs},
    failure::Failure,
    input,
    interrupt::Interrupt,
    load, output, runtime,
    settings::Settings,
};
use inferno::{Message, Prompt, Role};

pub(crate) fn run(mut args: RunArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let argument = args.take_prompt();
    let (json, system) = (args.json, args.system.take());
    let chat = args.chat;
    let settings = Settings::load(global, args.overrides())?;
    let text = input::prompt(argument)?;
    let prompt = if chat {
        let system = system.map(|text| Message::new(Role::System, text));
        Prompt::Chat(system.into_iter().chain([Message::new(Role::User, text)]).collect())
    } else {
        Prompt::Text(text)
    };
    let mut options = settings.sample_options();
    if !json {
        // nothing would show them
        options.logprobs = None;
    }

    runtime()?.block_on(async {
        let interrupt = Interrupt::listen();
        let model = load::load(&settings, &interrupt).await?;
        let stream = model.stream(prompt, options);
        let answer = answer::show(stream, Show { json, quiet: settings.quiet }, &interrupt).await?;
        if !json && output::stdout_is_terminal() && !answer.text.ends_with('\n') {
            output::line("")?;
        }
        if !settings.quiet {
            output::note(&format!("inferno: {}", answer.statistics(&*model.loaded()?)));
        }
        match answer.end {
            End::Done(_) => Ok(()),
            End::Interrupted { .. } => Err(Failure::Interrupted),
        }
    })
}
