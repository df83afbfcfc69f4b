//! Where prompts come from: an argument, stdin, a file, ids, a conversation, lines of JSON.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::generate::Prompt;
use crate::model::Model;
use crate::text::{Message, RenderOptions};

/// What is continued.
#[derive(Debug, Clone, Args)]
#[group(id = "source", multiple = false)]
pub(crate) struct PromptArgs {
    /// The prompt; `-` reads it from stdin, an empty one is the token that begins a text alone
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
    /// Read the prompt from a file
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The prompt as token ids, for example 3,1,2
    #[arg(long, value_name = "IDS", value_delimiter = ',', num_args = 1)]
    prompt_ids: Option<Vec<u32>>,
    /// Prompts together in one forward, a line each: {"prompt": ..}, {"prompt_ids": [..]} or
    /// {"messages": [..]}, with "id", "max_tokens" and "seed" where wanted; `-` is stdin
    #[arg(long, value_name = "FILE.jsonl")]
    batch: Option<PathBuf>,
}

/// How text becomes tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wording<'a> {
    /// The prompt is what a user says.
    pub chat: bool,
    /// What the system says before.
    pub system: Option<&'a str>,
}

/// A prompt and what its line calls it.
#[derive(Debug)]
pub(crate) struct Named {
    pub prompt: Prompt,
    pub id: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: Option<String>,
    prompt_ids: Option<Vec<u32>>,
    messages: Option<Vec<Message>>,
    id: Option<Value>,
    max_tokens: Option<usize>,
    seed: Option<u64>,
}

impl PromptArgs {
    /// Reads the prompts, as tokens.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is none of the forms, a text without a tokenizer.
    pub(crate) fn read(&self, model: &Model, wording: &Wording<'_>) -> Result<Vec<Named>> {
        if let Some(file) = &self.batch {
            return lines(file, model, wording);
        }
        let prompt = match (&self.prompt_ids, &self.prompt_file, &self.prompt) {
            (Some(ids), _, _) => Prompt::from(ids.clone()),
            (_, Some(file), _) => worded(&read_text(file)?, model, wording)?,
            (_, _, Some(text)) if text == "-" => {
                worded(&read_text(Path::new("-"))?, model, wording)?
            }
            (_, _, Some(text)) => worded(text, model, wording)?,
            _ => {
                let problem = "give one, or --prompt-file, --prompt-ids or --batch";
                return Err(Error::request("PROMPT", problem));
            }
        };
        Ok(vec![Named { prompt, id: None }])
    }
}

fn lines(file: &Path, model: &Model, wording: &Wording<'_>) -> Result<Vec<Named>> {
    let text = read_text(file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let named = lines.map(|(number, line)| {
        let parsed = serde_json::from_str(line).map_err(|error| error.to_string());
        parsed
            .and_then(|line| named(line, model, wording).map_err(|error| error.to_string()))
            .map_err(|problem| {
                Error::file(named_file(file), format!("line {}: {problem}", number + 1))
            })
    });
    let named = named.collect::<Result<Vec<_>>>()?;
    match named.is_empty() {
        true => Err(Error::file(named_file(file), "holds no prompt")),
        false => Ok(named),
    }
}

fn named(line: Line, model: &Model, wording: &Wording<'_>) -> Result<Named> {
    let mut prompt = match (line.prompt, line.prompt_ids, line.messages) {
        (Some(text), None, None) => worded(&text, model, wording)?,
        (None, Some(ids), None) => Prompt::from(ids),
        (None, None, Some(messages)) => conversation(&messages, model)?,
        _ => return Err(Error::request("line", "one of prompt, prompt_ids and messages")),
    };
    (prompt.max_tokens, prompt.seed) = (line.max_tokens, line.seed);
    Ok(Named { prompt, id: line.id })
}

/// A text as tokens: as it stands, or as what a user says.
fn worded(text: &str, model: &Model, wording: &Wording<'_>) -> Result<Prompt> {
    if wording.chat {
        let system = wording.system.map(Message::system);
        let messages: Vec<Message> = system.into_iter().chain([Message::user(text)]).collect();
        return conversation(&messages, model);
    }
    let Some(tokenizer) = &model.tokenizer else {
        let problem = "the model has no tokenizer; give the prompt as --prompt-ids 3,1,2";
        return Err(Error::Tokenizer(problem.into()));
    };
    let mut ids = tokenizer.encode(text, true)?;
    if ids.is_empty() {
        ids.extend(tokenizer.bos_id());
    }
    if ids.is_empty() {
        let problem = "it is empty, and the model has no token that begins a text; give a text";
        return Err(Error::request("PROMPT", problem));
    }
    Ok(Prompt { text: Some(text.into()), ..Prompt::from(ids) })
}

/// A conversation as tokens, up to where the model is to speak: after the last message, or inside
/// it where it is the model's own.
fn conversation(messages: &[Message], model: &Model) -> Result<Prompt> {
    let (Some(template), Some(tokenizer)) = (&model.chat_template, &model.tokenizer) else {
        let problem = "the model has none; give a plain prompt, or take a model made for chat";
        return Err(Error::Template(problem.into()));
    };
    let goes_on = messages.last().is_some_and(|message| message.role == "assistant");
    let options = RenderOptions {
        add_generation_prompt: !goes_on,
        continue_final_message: goes_on,
        ..RenderOptions::default()
    };
    let text = template.render(messages, &options)?;
    let ids = tokenizer.encode(&text, false)?;
    Ok(Prompt { text: Some(text), ..Prompt::from(ids) })
}

fn named_file(file: &Path) -> &Path {
    if file == Path::new("-") { Path::new("stdin") } else { file }
}

/// A file's text, or stdin's for `-`.
fn read_text(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file).map_err(|error| Error::file(file, error));
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map(|_| text).map_err(|error| Error::file("stdin", error))
}
