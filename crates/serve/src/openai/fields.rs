//! Typed access to the fields of a JSON body, with OpenAI's words for what is wrong. `null` counts as absent, and
//! fields nobody asks for are ignored.

use serde_json::{Map, Value};

use super::ApiError;

type Result<T> = std::result::Result<T, ApiError>;

/// The fields of one JSON object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Fields> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(_) => Err(ApiError::malformed("the body is not an object")),
            Err(error) => Err(ApiError::malformed(error)),
        }
    }

    /// Sets a field, as if the request had.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The value of `name`, unless absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| ApiError::wrong_type(name, "a string", value))
    }

    /// A text that must be there.
    pub(crate) fn required_string(&self, name: &str) -> Result<&str> {
        self.string(name)?.ok_or_else(|| ApiError::missing(name))
    }

    /// A truth value; absent is false.
    pub(crate) fn boolean(&self, name: &str) -> Result<bool> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        value
            .as_bool()
            .ok_or_else(|| ApiError::wrong_type(name, "a boolean", value))
    }

    /// A number within `least..=most`.
    pub(crate) fn decimal(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value
            .as_f64()
            .ok_or_else(|| ApiError::wrong_type(name, "a decimal", value))?;
        if number < least {
            let message = format!(
                "Invalid '{name}': decimal below minimum value. Expected a value >= {least}, but got {number} instead."
            );
            return Err(ApiError::field(name, "decimal_below_min_value", message));
        }
        if number > most {
            let message = format!(
                "Invalid '{name}': decimal above maximum value. Expected a value <= {most}, but got {number} instead."
            );
            return Err(ApiError::field(name, "decimal_above_max_value", message));
        }
        Ok(Some(number))
    }

    /// A whole number within `least..=most`.
    pub(crate) fn integer(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = match value.as_i64() {
            Some(number) => number,
            None if value.is_u64() => i64::MAX,
            None => return Err(ApiError::wrong_type(name, "an integer", value)),
        };
        if number < least {
            let message = format!(
                "Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {number} instead."
            );
            return Err(ApiError::field(name, "integer_below_min_value", message));
        }
        if number > most {
            let message = format!(
                "Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {number} instead."
            );
            return Err(ApiError::field(name, "integer_above_max_value", message));
        }
        Ok(Some(number))
    }

    /// A whole number that counts something, within `least..=most`.
    pub(crate) fn count(&self, name: &str, least: usize, most: usize) -> Result<Option<usize>> {
        let bound = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let number = self.integer(name, bound(least), bound(most))?;
        Ok(number.and_then(|number| usize::try_from(number).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: ApiError) -> String {
        error.body()["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned()
    }

    #[test]
    fn values_of_other_types_and_out_of_range_are_named() {
        let fields = Fields::parse(
            br#"{"a": "x", "b": 3.5, "c": -1, "d": null, "e": 18446744073709551615}"#,
        )
        .expect("json");
        assert_eq!(fields.decimal("d", 0.0, 1.0).expect("null is absent"), None);
        let cases = [
            (
                fields.decimal("a", 0.0, 2.0).map(|_| ()),
                "expected a decimal, but got a string",
            ),
            (
                fields.decimal("b", 0.0, 2.0).map(|_| ()),
                "Expected a value <= 2, but got 3.5",
            ),
            (
                fields.integer("b", 0, 9).map(|_| ()),
                "expected an integer, but got a decimal number",
            ),
            (
                fields.count("c", 0, 9).map(|_| ()),
                "Expected a value >= 0, but got -1",
            ),
            (fields.count("e", 0, 9).map(|_| ()), "Expected a value <= 9"),
            (
                fields.boolean("c").map(|_| ()),
                "expected a boolean, but got an integer",
            ),
            (
                fields.required_string("z").map(|_| ()),
                "Missing required parameter: 'z'.",
            ),
        ];
        for (result, expected) in cases {
            let text = message(result.expect_err(expected));
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_malformed() {
        let deep = [b'['; 100_000];
        for body in [&b""[..], b"[]", b"{\"a\":", b"\xff\xfe", &deep] {
            assert!(Fields::parse(body).is_err());
        }
    }
}
