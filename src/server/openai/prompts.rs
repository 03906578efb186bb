//! Texts as OpenAI's completions and embeddings take them.

use crate::{
    engine::Prompt,
    model::Token,
    server::{
        fields::{Fields, integer},
        problem::Problem,
    },
};
use serde_json::Value;

/// A text, tokens, or an array of either.
pub(super) fn read_prompts(fields: &Fields<'_>, name: &str) -> Result<Vec<Prompt>, Problem> {
    let wrong = || fields.wrong(name, "a string, an array of token ids, or an array of either is needed");
    let tokens = |items: &[Value]| -> Option<Vec<Token>> {
        items.iter().map(|item| Token::try_from(integer(item)?).ok()).collect()
    };
    match fields.get(name) {
        None => Err(fields.wrong(name, "is missing: a string is needed")),
        Some(Value::String(text)) => Ok(vec![text.as_str().into()]),
        Some(Value::Array(items)) if items.is_empty() => Err(fields.wrong(name, "is empty")),
        Some(Value::Array(items)) if items[0].is_number() => {
            Ok(vec![tokens(items).ok_or_else(wrong)?.into()])
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.as_str().into()),
                Value::Array(items) => Ok(tokens(items).ok_or_else(wrong)?.into()),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn read(prompt: Value) -> Result<Vec<Prompt>, Problem> {
        let map = Map::from_iter([("prompt".to_owned(), prompt)]);
        read_prompts(&Fields::new(&map), "prompt")
    }

    #[test]
    fn prompts_come_in_four_forms() {
        assert_eq!(read(json!("a")).unwrap(), ["a".into()]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), ["a".into(), "b".into()]);
        assert_eq!(read(json!([1, 2])).unwrap(), [vec![1, 2].into()]);
        assert_eq!(read(json!([[1], [2]])).unwrap(), [vec![1].into(), vec![2].into()]);
        for wrong in
            [json!(null), json!(1), json!([]), json!([1, "a"]), json!(["a", 1]), json!([[1.5]]), json!({})]
        {
            assert_eq!(read(wrong).unwrap_err().param.as_deref(), Some("prompt"));
        }
    }
}
