//! `inferno tokenize`: a text as the tokens of a model.

use super::{
    args::{GlobalArgs, TokenizeArgs},
    failure::Failure,
    input,
    interrupt::Interrupt,
    load, output, runtime,
    settings::Settings,
};
use inferno::{
    Tokenize,
    config::{ModelOverrides, Overrides},
};
use serde_json::json;

pub(crate) fn run(args: TokenizeArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let overrides = Overrides { model: ModelOverrides { path: args.model }, ..Overrides::default() };
    let settings = Settings::load(global, overrides)?;
    let text = match args.text {
        Some(text) if text != "-" => text,
        _ => input::stdin()?,
    };
    let model = runtime()?.block_on(async {
        let model = load::load(&settings, &Interrupt::listen()).await?;
        Ok::<_, Failure>(model.loaded()?)
    })?;
    let options = Tokenize { add_special: !args.no_special, parse_special: args.parse_special };
    let tokens = model.tokenize(&text, options)?;

    if args.ids_only {
        return output::line(&tokens.iter().map(i32::to_string).collect::<Vec<_>>().join(" "));
    }
    let mut rows = vec![];
    for token in tokens {
        rows.push((token, model.token_bytes(token, true)?));
    }
    if args.json {
        let tokens: Vec<_> = rows
            .iter()
            .map(|(id, bytes)| json!({"id": id, "text": std::str::from_utf8(bytes).ok(), "bytes": bytes}))
            .collect();
        return output::json(&json!({"count": tokens.len(), "tokens": tokens}));
    }
    let mut lines = String::new();
    for (id, bytes) in rows {
        // a character may be spread over several tokens: its bytes are shown as they are
        lines.push_str(&format!("{id:>7}  \"{}\"\n", shown(&bytes)));
    }
    output::print(&lines)
}

/// The bytes as text where they are text, and as `\xNN` where they are not.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&output::tame(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_are_shown_whole() {
        assert_eq!(super::shown(b" a\n"), " a\\n");
        assert_eq!(super::shown(&[0xc3]), "\\xc3");
        assert_eq!(super::shown(&[b'x', 0xff, 0xc3, 0xbc]), "x\\xffü");
    }
}
