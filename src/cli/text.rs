//! What the commands that look inside a model share: the text they look at, and files they write.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use super::options::ModelArgs;
use super::prompts::{PromptArgs, Wording};
use crate::error::{Error, Result};
use crate::generate::{Prompt, Request, Sampling, Voice, generate};
use crate::inspect::{Room, Token};
use crate::model::Model;

/// A model and the text that goes through it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TextArgs {
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt is what a user says, in the model's chat template
    #[arg(long)]
    pub chat: bool,
    /// Let the model go on for so many tokens first, greedily, and look at all of it
    #[arg(long, value_name = "N")]
    pub generate: Option<usize>,
}

/// A model, a text in it, and the text's tokens.
pub(crate) struct Looked {
    pub model: Model,
    pub ids: Vec<u32>,
    pub tokens: Vec<Token>,
    pub labels: Vec<String>,
    /// Tokens of the prompt; the rest the model said.
    pub prompt: usize,
}

impl TextArgs {
    /// Loads the model and makes the text.
    pub(crate) fn load(&self) -> anyhow::Result<Looked> {
        let model = self.model.load()?;
        let wording = Wording { chat: self.chat, system: None };
        let mut named = self.prompt.read(&model, &wording)?;
        let (Some(only), true) = (named.pop(), named.is_empty()) else {
            return Err(Error::request("PROMPT", "one text is looked at, not a batch").into());
        };
        let mut ids = only.prompt.ids;
        let prompt = ids.len();
        if let Some(count) = self.generate.filter(|count| *count > 0) {
            ids = continued(&model, ids, count)?;
        }
        let tokens = Token::of(&model, &ids);
        let labels = tokens.iter().map(Token::label).collect();
        Ok(Looked { model, ids, tokens, labels, prompt })
    }
}

/// `ids` with what the model says next, greedily.
pub(crate) fn continued(model: &Model, ids: Vec<u32>, max_tokens: usize) -> Result<Vec<u32>> {
    let request = Request {
        prompts: vec![Prompt::from(ids.clone())],
        max_tokens,
        sampling: Sampling { greedy: true, ..Sampling::default() },
        eos_ids: model.eos_ids.clone(),
        ..Request::default()
    };
    let voice = model.tokenizer.as_ref().map(|tokenizer| tokenizer as &dyn Voice);
    let said = generate(&model.decoder, voice, &request, &mut |_| ControlFlow::Continue(()))?;
    Ok(ids.into_iter().chain(said.into_iter().flat_map(|row| row.token_ids)).collect())
}

/// Writes a file, and says so.
pub(crate) fn write(path: &Path, bytes: &[u8], model: &ModelArgs) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::file(path, error))?;
    model.say(format!("{}: {}", path.display(), size(bytes.len())));
    Ok(())
}

/// Can this file be written? Asked before anything is computed; nothing is left behind.
pub(crate) fn writable(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let done = opened.and_then(|_| if is_new { std::fs::remove_file(path) } else { Ok(()) });
    done.map_err(|error| Error::file(path, error))
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The window to draw in; `None` where nobody looks or colours are not wanted
/// (`NO_COLOR`, as no-color.org has it).
pub(crate) fn window(plain: bool) -> Option<Room> {
    let bare = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || bare || !std::io::stdout().is_terminal() {
        return None;
    }
    let (columns, lines) = match terminal_size::terminal_size() {
        Some((columns, lines)) => (usize::from(columns.0), usize::from(lines.0)),
        None => (80, 24),
    };
    Some(Room { columns, lines })
}
