//! Tokens as a reader sees them: every character that would not show, or would move others about,
//! is written out. It encodes and decodes nothing.

use serde::Serialize;

use crate::model::Model;

/// A token of the text that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, as the tokenizer has it; the id in brackets where there is no tokenizer.
    pub text: String,
}

impl Token {
    /// These ids with their texts.
    pub fn of(model: &Model, ids: &[u32]) -> Vec<Self> {
        let text = |id: u32| match &model.tokenizer {
            Some(tokenizer) => tokenizer.token_text(id),
            None => format!("[{id}]"),
        };
        ids.iter().map(|id| Self { id: *id, text: text(*id) }).collect()
    }

    /// Its text for a label: see [`visible`].
    pub fn label(&self) -> String {
        visible(&self.text)
    }
}

/// What a model is called in a title: a hub's id as it is, of a path on this machine the last part.
pub fn title(model: &Model) -> String {
    let path = std::path::Path::new(&model.name);
    match path.file_name().filter(|_| path.exists()) {
        Some(last) => last.to_string_lossy().into_owned(),
        None => model.name.clone(),
    }
}

/// `text` in one line, as it stands but for what would not show: a space is `·`, a line's end `⏎`,
/// a tab `⇥`; other control characters, and those that turn the direction of writing, are written
/// as `\u{202e}`.
pub fn visible(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' => label.push('·'),
            '\n' => label.push('⏎'),
            '\t' => label.push('⇥'),
            c if c.is_control() || turns(c) => label.extend(c.escape_unicode()),
            c => label.push(c),
        }
    }
    if label.is_empty() { "∅".into() } else { label }
}

/// `text`'s first characters, the last of them `…` where there are more.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Marks without width, and those that order or embed directions of writing.
fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}
