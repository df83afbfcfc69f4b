//! What goes into a chat template: messages and options, prepared as transformers prepares them.
//! Nothing is rendered here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// Text, or a list of parts such as `{"type": "text", "text": …}`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub content: Value,
    /// Everything else: `tool_calls`, `name`, `reasoning_content`, …
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: Value::String(content.into()), more: Map::new() }
    }

    /// What to do, said before the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What the person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model says.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// The message as the template sees it: keys without a value left out, and what the model
    /// thought under each name that templates read (transformers 5).
    pub(super) fn for_template(&self) -> Map<String, Value> {
        let names = ["reasoning_content", "thinking", "reasoning"];
        let value = |name: &&str| self.more.get(*name).filter(|value| !value.is_null());
        let thought = names.iter().find_map(value).cloned();
        let mut message = Map::new();
        message.extend(thought.clone().map(|thought| ("thinking".to_string(), thought)));
        message.insert("role".into(), self.role.clone().into());
        message.insert("content".into(), self.content.clone());
        message.extend(self.more.clone());
        message.extend(thought.map(|thought| ("reasoning_content".to_string(), thought)));
        message.retain(|_, value| !value.is_null());
        message
    }
}

/// What a template is given besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// Ends the text where the assistant's next message begins.
    pub add_generation_prompt: bool,
    /// Leaves the last message open, so that the model continues it.
    pub continue_final_message: bool,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Option<Vec<Value>>,
    /// Documents to answer from, with `title` and `text`.
    pub documents: Option<Vec<Value>>,
    /// More variables, such as `enable_thinking`.
    pub variables: Map<String, Value>,
    /// The template's name, where a checkpoint has several. Without it `tool_use` is taken where
    /// tools are given and it exists, else `default`.
    pub template: Option<String>,
    /// What `strftime_now` shows instead of now.
    pub now: Option<jiff::Zoned>,
}

const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Marks the end of the last message's text; gives that text.
pub(super) fn mark_end(chat: &mut [Map<String, Value>], generation_prompt: bool) -> Result<String> {
    let refused =
        |problem: &str| Error::Template(format!("cannot continue the last message: {problem}"));
    if generation_prompt {
        return Err(refused("a generation prompt begins a new one; ask for one of the two"));
    }
    let content = chat.last_mut().and_then(|message| message.get_mut("content"));
    let text = match content {
        Some(Value::Array(parts)) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
        content => content,
    };
    match text {
        Some(Value::String(text)) => {
            let last = text.clone();
            text.push_str(MARK);
            Ok(last)
        }
        _ => Err(refused("it has no text")),
    }
}

/// The rendered text up to the mark, which is where the last message ends.
pub(super) fn cut_at_mark(mut text: String, last: &str) -> Result<String> {
    let mark = text.rfind(MARK.trim_end());
    let (Some(at), true) = (mark, text.contains(last.trim())) else {
        return Err(Error::Template(
            "the template changes or drops the last message, so it cannot be continued".into(),
        ));
    };
    let kept_spacing = text[at..].starts_with(MARK);
    text.truncate(at);
    if !kept_spacing {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}
