//! Go's template language for texts that belong to no chart: names and values of generated objects.

use super::{
    Ambient, Limits,
    funcs::json,
    template::{
        exec::{Interp, Templates},
        value::{Str, text},
    },
};

/// Evaluates a text as a template over a JSON value, with the functions that charts have; what is missing is empty.
///
/// # Errors
/// The text is no template, or it fails; the message is Go's.
pub fn evaluate(template: &str, data: &str, ambient: &Ambient, limits: &Limits) -> Result<String, String> {
    let data = json::read(data.as_bytes())?;
    let mut interp = Interp::new(Templates::default(), ambient, limits);
    let value = interp.tpl(&Str::from(template), data).map_err(|error| error.to_string())?;
    match value {
        super::template::value::Value::Str(found) => Ok(text(found.bytes()).into_owned()),
        other => Err(format!("a text is expected, not {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::{KeySource, Time};

    #[test]
    fn texts_see_their_data_and_the_functions_of_charts() {
        let ambient = Ambient { now: Time::unix(0), random: [0; 32], keys: KeySource::Sample };
        let of = |text: &str| {
            evaluate(text, r#"{"env": "prod", "n": 3, "path": {"segments": ["a", "b"]}}"#, &ambient, &Limits::default())
        };
        assert_eq!(of("{{ .env | upper }}-{{ .n }}").unwrap(), "PROD-3");
        assert_eq!(of("{{ index .path.segments 1 }}{{ $.env }}{{ .gone }}").unwrap(), "bprod");
        assert_eq!(of("plain").unwrap(), "plain");
        assert!(of("{{ .env ").is_err() && of("{{ fail \"no\" }}").is_err());
    }
}
