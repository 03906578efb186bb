//! `inferno config`: the settings in effect, and where each was made.

use super::{
    args::{ConfigArgs, GlobalArgs},
    failure::Failure,
    output,
    settings::Settings,
};
use inferno::config::Overrides;
use serde_json::json;

pub(crate) fn run(args: &ConfigArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let settings = Settings::load(global, Overrides::default())?.loaded.explain();
    if args.json {
        let all: Vec<_> = settings
            .iter()
            .map(|s| json!({"key": s.key, "value": s.value, "origin": s.origin.to_string()}))
            .collect();
        return output::json(&all);
    }
    let mut section = "";
    for setting in &settings {
        let (of, key) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if of != section {
            let space = if section.is_empty() { "" } else { "\n" };
            output::line(&format!("{space}[{of}]"))?;
            section = of;
        }
        let line = match &setting.value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} is open"),
        };
        output::line(&format!("{line:40} # {}", setting.origin))?;
    }
    Ok(())
}
