//! Conversations to text.

/// A chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {}
/// A message.
#[derive(Debug, Clone)]
pub struct Message {}
/// Options.
#[derive(Debug, Clone)]
pub struct RenderOptions {}
