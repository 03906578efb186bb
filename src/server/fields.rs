//! The fields of a request's JSON, read one by one, so that what is wrong is named. Fields that nobody reads are ignored,
//! as OpenAI does; `null` is the same as no field.

use super::problem::Problem;
use serde_json::{Map, Value};

/// The object in a request's body, or one inside of it.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Where it stands in the body: `messages[2].`, or nothing.
    prefix: String,
}

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        // of invalid UTF-8 serde_json only says that it is invalid
        match std::str::from_utf8(body) {
            Ok(_) => Problem::body(error.to_string()),
            Err(wrong) => Problem::body(format!("invalid UTF-8 at byte {}", wrong.valid_up_to())),
        }
    })?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(Problem::body(format!("it is {}", kind(&other)))),
    }
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, prefix: String::new() }
    }

    /// The fields of an object that stands at `place` in the body.
    pub(super) fn of(value: &'a Value, place: impl Into<String>) -> Result<Self, Problem> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { map, prefix: format!("{place}.") }),
            other => Err(Problem::field(place, format!("is {}: an object is needed", kind(other)))),
        }
    }

    /// The full name of a field, as an error names it.
    pub(super) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    /// An error that names the field.
    pub(super) fn wrong(&self, field: &str, what: impl AsRef<str>) -> Problem {
        Problem::field(self.name(field), what)
    }

    /// The field, unless it is missing or null.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        needed: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => {
                    let given = match value {
                        // long ones are no help
                        Value::Number(number) => number.to_string(),
                        other => kind(other).to_owned(),
                    };
                    Err(self.wrong(field, format!("is {given}: {needed} is needed")))
                }
            },
        }
    }

    pub(super) fn boolean(&self, field: &str) -> Result<Option<bool>, Problem> {
        self.read(field, "true or false", Value::as_bool)
    }

    pub(super) fn string(&self, field: &str) -> Result<Option<&'a str>, Problem> {
        self.read(field, "a string", Value::as_str)
    }

    pub(super) fn array(&self, field: &str) -> Result<Option<&'a [Value]>, Problem> {
        self.read(field, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// The fields of an object in this field.
    pub(super) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, Problem> {
        self.get(field).map(|value| Fields::of(value, self.name(field))).transpose()
    }

    /// A number that a 32-bit float can hold.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the library's options have this precision; the range is checked"
    )]
    pub(super) fn number(&self, field: &str) -> Result<Option<f32>, Problem> {
        self.read(field, "a number", |value| value.as_f64().map(|n| n as f32).filter(|n| n.is_finite()))
    }

    /// An integer; `1.0` is one too, since some languages know no other.
    pub(super) fn integer(&self, field: &str) -> Result<Option<i64>, Problem> {
        self.read(field, "an integer", integer)
    }

    /// An integer from 0 on.
    pub(super) fn count(&self, field: &str) -> Result<Option<usize>, Problem> {
        self.read(field, "an integer from 0 on", |value| usize::try_from(integer(value)?).ok())
    }

    /// A 32-bit integer from 0 on.
    pub(super) fn small_count(&self, field: &str) -> Result<Option<u32>, Problem> {
        self.read(field, "an integer from 0 to 4294967295", |value| u32::try_from(integer(value)?).ok())
    }

    /// A string or an array of strings.
    pub(super) fn strings(&self, field: &str) -> Result<Option<Vec<String>>, Problem> {
        self.read(field, "a string or an array of strings", |value| match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }
}

/// The integer that a value is.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked, and so is that there is no fraction"
)]
pub(super) fn integer(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: from there on f64 skips integers
    value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
        Some(float as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => panic!("no object"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let map = map(json!({"a": "x", "b": 1.5, "c": {"d": -1}, "e": [1], "f": null, "g": 3.0, "h": 1e300}));
        let fields = Fields::new(&map);
        assert_eq!(fields.number("a").unwrap_err().message, "a: is a string: a number is needed");
        assert_eq!(fields.integer("b").unwrap_err().message, "b: is 1.5: an integer is needed");
        let inner = fields.object("c").unwrap().unwrap();
        assert_eq!(inner.count("d").unwrap_err().param.as_deref(), Some("c.d"));
        assert!(fields.strings("e").is_err());
        assert_eq!(fields.boolean("f").unwrap(), None);
        assert_eq!(fields.integer("g").unwrap(), Some(3));
        assert!(fields.number("h").is_err());
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert!(parse(b"[1]").unwrap_err().message.contains("an array"));
        assert!(parse(b"{\"a\": ").unwrap_err().message.contains("EOF"));
        assert!(parse(b"{\"a\": \"\xff\"}").unwrap_err().message.contains("invalid UTF-8 at byte 7"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(deep.as_bytes()).unwrap_err().message.contains("recursion"));
    }
}
