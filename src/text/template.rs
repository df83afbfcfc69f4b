//! Conversations to text, by the template that came with the checkpoint, as transformers renders
//! it (`apply_chat_template`). The Jinja dialect is set up in `environment.rs`.

mod environment;
mod message;
mod tojson;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minijinja::Environment;
use serde_json::{Map, Value};

pub use message::{Message, RenderOptions};

use super::folder::{read, read_object};
use crate::error::{Error, Result};

/// The chat templates of a checkpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    templates: Arc<BTreeMap<String, Template>>,
    /// `bos_token`, `eos_token` and their like, as the template sees them.
    special_tokens: Arc<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Template {
    source: String,
    environment: Environment<'static>,
}

/// The name of the template that is used where none is asked for.
const DEFAULT: &str = "default";

impl ChatTemplate {
    /// A template from its source. `special_tokens` are the variables `bos_token`, `eos_token`
    /// and so on.
    ///
    /// # Errors
    /// [`Error::Template`] where it does not parse.
    pub fn new<K: Into<String>, V: Into<String>>(
        source: &str,
        special_tokens: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let tokens = special_tokens.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self::named([(DEFAULT.to_string(), source.to_string())], tokens)
    }

    fn named(
        sources: impl IntoIterator<Item = (String, String)>,
        special_tokens: BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut templates = BTreeMap::new();
        for (name, source) in sources {
            let environment = environment::with_template(&source)?;
            templates.insert(name, Template { source, environment });
        }
        Ok(Self { templates: Arc::new(templates), special_tokens: Arc::new(special_tokens) })
    }

    /// The templates of a folder in the Hugging Face layout: `chat_template.jinja` and
    /// `additional_chat_templates/*.jinja`, else `chat_template` in `tokenizer_config.json`, a
    /// string or a list of `{name, template}`. `None` where it has none.
    ///
    /// # Errors
    /// [`Error::File`] for files that cannot be read, [`Error::Template`] for templates that do
    /// not parse.
    pub fn from_folder(dir: &Path) -> Result<Option<Self>> {
        let config = read_object(&dir.join("tokenizer_config.json"))?;
        let map = read_object(&dir.join("special_tokens_map.json"))?;
        let mut sources = from_files(dir)?;
        if sources.is_empty() {
            sources = from_config(&config);
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let mut tokens = token_variables(&map);
        tokens.extend(token_variables(&config));
        Self::named(sources, tokens).map(Some)
    }

    /// The names of the templates; most checkpoints have one, called `default`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// The source of the template that [`ChatTemplate::render`] would use.
    ///
    /// # Errors
    /// [`Error::Template`] where there is no such template.
    pub fn source(&self, options: &RenderOptions) -> Result<&str> {
        self.choose(options).map(|template| template.source.as_str())
    }

    /// The conversation as text, ready to be encoded without special tokens.
    ///
    /// # Errors
    /// [`Error::Template`] where the template refuses the conversation or fails.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String> {
        let template = self.choose(options)?;
        let mut chat = messages.iter().map(Message::for_template).collect::<Vec<_>>();
        let continued = match options.continue_final_message {
            true => Some(message::mark_end(&mut chat, options.add_generation_prompt)?),
            false => None,
        };
        let mut variables: Map<String, Value> = Map::new();
        variables.insert("messages".into(), chat.into_iter().map(Value::Object).collect());
        variables.insert("tools".into(), options.tools.clone().into());
        variables.insert("documents".into(), options.documents.clone().into());
        variables.insert("add_generation_prompt".into(), options.add_generation_prompt.into());
        for (name, token) in self.special_tokens.iter() {
            variables.insert(name.clone(), token.clone().into());
        }
        variables.extend(options.variables.clone());
        let clock = ("strftime_now".to_string(), environment::strftime_now(options.now.clone()));
        let context =
            variables.iter().map(|(name, value)| (name.clone(), environment::value(value)));
        let text = environment::render(&template.environment, context.chain([clock]))?;
        match continued {
            Some(last) => message::cut_at_mark(text, &last),
            None => Ok(text),
        }
    }

    fn choose(&self, options: &RenderOptions) -> Result<&Template> {
        let with_tools = options.tools.is_some() && self.templates.contains_key("tool_use");
        let name = match &options.template {
            Some(name) => name.as_str(),
            None if with_tools => "tool_use",
            None => DEFAULT,
        };
        self.templates.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            Error::Template(format!("there is no template `{name}`, only {}", known.join(", ")))
        })
    }
}

fn from_files(dir: &Path) -> Result<Vec<(String, String)>> {
    let text = |path: &Path| {
        String::from_utf8(read(path)?).map_err(|e| Error::file(path, format!("is not UTF-8: {e}")))
    };
    let mut sources = Vec::new();
    let main = dir.join("chat_template.jinja");
    if main.is_file() {
        sources.push((DEFAULT.to_string(), text(&main)?));
    }
    let more = dir.join("additional_chat_templates");
    if more.is_dir() {
        for entry in std::fs::read_dir(&more).map_err(|e| Error::file(&more, e))? {
            let path = entry.map_err(|e| Error::file(&more, e))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(name), true) = (stem, path.extension().is_some_and(|e| e == "jinja")) {
                sources.push((name.to_string(), text(&path)?));
            }
        }
    }
    Ok(sources)
}

fn from_config(config: &Map<String, Value>) -> Vec<(String, String)> {
    let named = |entry: &Value| {
        let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_string);
        Some((text("name")?, text("template")?))
    };
    match config.get("chat_template") {
        Some(Value::String(source)) => vec![(DEFAULT.to_string(), source.clone())],
        Some(Value::Array(list)) => list.iter().filter_map(named).collect(),
        _ => Vec::new(),
    }
}

/// `bos_token` and its like: strings, or objects with `content`.
fn token_variables(object: &Map<String, Value>) -> BTreeMap<String, String> {
    let token = |(key, value): (&String, &Value)| {
        let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
        key.ends_with("_token").then(|| (key.clone(), text.to_string()))
    };
    object.iter().filter_map(token).collect()
}
