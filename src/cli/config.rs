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
            Some(value) => format!("{key} = {}", on_one_line(value)),
            None => format!("# {key} is open"),
        };
        output::line(&format!("{line:40} # {}", setting.origin))?;
    }
    Ok(())
}

/// TOML writes texts with line ends over several lines; escaped as in JSON they are TOML, too.
fn on_one_line(value: &str) -> String {
    let parsed = || toml::from_str::<toml::Table>(&format!("value = {value}")).ok()?.remove("value");
    match value.contains('\n').then(parsed).flatten() {
        Some(parsed) => serde_json::to_string(&parsed).unwrap_or_else(|_| value.to_owned()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::on_one_line;

    #[test]
    fn values_take_one_line() {
        assert_eq!(on_one_line("[\"\"\"\n\n\"\"\", \"x\"]"), "[\"\\n\",\"x\"]");
        assert_eq!(on_one_line("{ 1 = 2 }"), "{ 1 = 2 }");
    }
}
