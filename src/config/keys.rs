//! The names of all settings, taken from the types themselves, and the nearest one to a wrong one.

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor, value};
use serde::forward_to_deserialize_any;

use super::{BackendConfig, Config, EngineConfig, LogConfig, ModelConfig, ServerConfig, WorkerConfig};
use crate::sampling::SampleOptions;

/// The name of a setting: its section and its key.
pub(super) type Key = (&'static str, &'static str);

/// All settings, in the order of the types.
pub(super) fn all() -> impl Iterator<Item = Key> {
    sections().iter().flat_map(|section| {
        let keys = match *section {
            "backend_config" => fields::<BackendConfig>(),
            "model" => fields::<ModelConfig>(),
            "sampling" => fields::<SampleOptions>(),
            "engine" => fields::<EngineConfig>(),
            "server" => fields::<ServerConfig>(),
            "worker" => fields::<WorkerConfig>(),
            "log" => fields::<LogConfig>(),
            other => unreachable!("the section {other} has no fields; a test lists them all"),
        };
        keys.iter().map(|key| (*section, *key))
    })
}

/// The setting of that name.
pub(super) fn find(section: &str, key: &str) -> Option<Key> {
    all().find(|known| *known == (section, key))
}

/// The names of the sections.
pub(super) fn sections() -> &'static [&'static str] {
    fields::<Config>()
}

/// The name in a file.
pub(super) fn dotted((section, key): Key) -> String {
    format!("{section}.{key}")
}

/// The name in the environment.
pub(super) fn variable((section, key): Key) -> String {
    let section = section.strip_suffix("_config").unwrap_or(section);
    format!("INFERNO_{section}_{key}").to_uppercase()
}

/// The flag of the command: the key, with the section where the key alone does not say what it is about.
pub(super) fn flag((section, key): Key) -> String {
    let flag = match section {
        "model" => "model".to_owned(),
        "log" => format!("log-{key}"),
        "worker" if key == "id" => "worker-id".to_owned(),
        _ => key.to_owned(),
    };
    format!("--{}", flag.replace('_', "-"))
}

/// ", did you mean …" with the name most like `wrong`, or nothing where none is. A name that ends in the
/// same last part is nearest: the key of another section, or with no section.
pub(super) fn suggestion(wrong: &str, separator: char, names: impl Iterator<Item = String>) -> String {
    let last = |name: &str| name.rsplit(separator).next().unwrap_or_default().to_lowercase();
    let names: Vec<String> = names.collect();
    let tail = last(wrong);
    let same_end = names.iter().find(|name| name.ends_with(wrong) || last(name) == tail);
    let nearest = || {
        let (name, distance) =
            names.iter().map(|name| (name, distance(name, wrong))).min_by_key(|near| near.1)?;
        (distance <= 1 + wrong.chars().count() / 4).then_some(name)
    };
    same_end.or_else(nearest).map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

/// How many characters have to be inserted, removed or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The names of the fields of a struct, as its derived `Deserialize` states them.
pub(super) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The answer is in `names`; the error is how the visit ends.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// A deserialiser that holds no data and only notes which fields it is asked for.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("there is no data"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_sections_have_keys() {
        let with_keys: BTreeSet<&str> = all().map(|key| key.0).collect();
        assert_eq!(with_keys.len(), sections().len());
        assert_eq!(find("backend_config", "gpu_enabled"), Some(("backend_config", "gpu_enabled")));
        assert_eq!(find("sampling", "gpu_enabled"), None);
    }

    #[test]
    fn names_are_distinct_in_every_form() {
        let count = all().count();
        assert_eq!(all().map(variable).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(all().map(flag).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(variable(("backend_config", "context_size")), "INFERNO_BACKEND_CONTEXT_SIZE");
        assert_eq!(variable(("model", "path")), "INFERNO_MODEL_PATH");
        assert_eq!(flag(("model", "path")), "--model");
        assert_eq!(flag(("log", "level")), "--log-level");
        assert_eq!(flag(("sampling", "top_p")), "--top-p");
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let near = |wrong: &str| suggestion(wrong, '.', all().map(dotted));
        assert_eq!(near("backend_config.contxt_size"), ", did you mean backend_config.context_size?");
        assert_eq!(near("sampling.context_size"), ", did you mean backend_config.context_size?");
        assert_eq!(near("context_size"), ", did you mean backend_config.context_size?");
        assert_eq!(near("sampling.temprature"), ", did you mean sampling.temperature?");
        assert_eq!(near("zzz"), "");
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
