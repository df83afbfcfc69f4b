//! The Jinja dialect of chat templates: transformers' environment in minijinja, with the Python
//! methods that templates call. It knows no messages.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, State, Value};

use serde_json::Value as Json;

use super::tojson::tojson;
use crate::error::{Error, Result};

const NAME: &str = "chat";

/// Steps that a rendering may take: templates come with checkpoints, and an endless one must end.
/// It is about a second, and thousands of messages.
const FUEL: u64 = 20_000_000;

/// An environment that holds `source` and all that it may call.
pub(super) fn with_template(source: &str) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().map_err(|e| Error::Template(describe(&e)))?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_sequence);
    environment
        .add_template_owned(NAME, generation_blocks(source))
        .map_err(|e| Error::Template(describe(&e)))?;
    Ok(environment)
}

/// Renders the template of [`with_template`].
pub(super) fn render(
    environment: &Environment<'_>,
    context: impl Iterator<Item = (String, Value)>,
) -> Result<String> {
    let context = Value::from_pairs(context);
    let template = environment.get_template(NAME);
    template
        .and_then(|template| template.render(context))
        .map_err(|e| Error::Template(describe(&e)))
}

/// JSON as templates see it.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (.., number) => Value::from(number.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value(v)))),
    }
}

/// The function `strftime_now`, at `now` or at the time of the call.
pub(super) fn strftime_now(now: Option<jiff::Zoned>) -> Value {
    Value::from_function(move |format: String| {
        let now = now.clone().unwrap_or_else(jiff::Zoned::now);
        jiff::fmt::strtime::format(&format, &now)
            .map_err(|e| JinjaError::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
    })
}

/// What a template says when it refuses a conversation.
const REFUSAL: &str = "the template refuses the conversation: ";

fn raise_exception(message: String) -> Result<Value, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{message}")))
}

fn describe(error: &JinjaError) -> String {
    let mut deepest = error;
    while let Some(inner) = std::error::Error::source(deepest).and_then(|e| e.downcast_ref()) {
        deepest = inner;
    }
    match (deepest.detail(), deepest.line()) {
        (Some(detail), _) if detail.starts_with(REFUSAL) => detail.to_string(),
        (Some(detail), Some(line)) => format!("line {line}: {}: {detail}", deepest.kind()),
        (Some(detail), None) => format!("{}: {detail}", deepest.kind()),
        (None, Some(line)) => format!("line {line}: {}", deepest.kind()),
        (None, None) => deepest.kind().to_string(),
    }
}

/// `{% generation %}` marks what the assistant wrote, for training; in a rendering it is a block
/// like any other, so it becomes one that minijinja knows and that scopes names the same.
fn generation_blocks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        let Some(close) = tag.find("%}") else { break };
        let (tag, after) = tag.split_at(close + 2);
        let inner = &tag[2..close];
        let word = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let tag = match word {
            "generation" => tag.replacen("generation", "with _ = 0", 1),
            "endgeneration" => tag.replacen("endgeneration", "endwith", 1),
            _ => tag.to_string(),
        };
        text.push_str(before);
        text.push_str(&tag);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// As in Jinja2, text is a sequence too, and so is what is undefined.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Seq | Iterable | Map | String | Undefined)
}

/// Python's methods: those here, then those of minijinja-contrib.
fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, JinjaError> {
    if let Some(text) = value.as_str()
        && let Some(result) = text_method(text, name, args)?
    {
        return Ok(result);
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

fn text_method(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, JinjaError> {
    let result = match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            match text.split_once(separator) {
                Some((before, after)) => tuple([before, separator, after]),
                None => tuple([text, "", ""]),
            }
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            match text.rsplit_once(separator) {
                Some((before, after)) => tuple([before, separator, after]),
                None => tuple(["", "", text]),
            }
        }
        "rsplit" => rsplit(text, args)?,
        "index" => {
            let (what,): (&str,) = from_args(args)?;
            let at = text.find(what).ok_or_else(|| {
                JinjaError::new(ErrorKind::InvalidOperation, format!("`{what}` is not in the text"))
            })?;
            Value::from(text[..at].chars().count())
        }
        "casefold" => {
            let () = from_args(args)?;
            Value::from(text.to_lowercase())
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, JinjaError> {
    let (separator, limit, kwargs): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let limit = limit.or(kwargs.get("maxsplit")?).and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let mut parts: Vec<&str> = match separator {
        Some(separator) => text.rsplitn(limit, separator).collect(),
        None => text.trim().rsplitn(limit, char::is_whitespace).filter(|p| !p.is_empty()).collect(),
    };
    parts.reverse();
    Ok(strings(parts))
}

fn tuple(parts: [&str; 3]) -> Value {
    Value::from(Tuple::from(parts.map(Value::from)))
}

fn strings<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
}
