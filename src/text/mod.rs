//! Text to token ids and back, and conversations to text. It knows no model: what a checkpoint
//! carries about its text is handed in, as a folder or as [`GgufVocab`].

mod bpe;
mod folder;
mod gguf;
mod keys;
mod learn;
mod onepass;
mod pre;
mod precheck;
mod stream;
mod template;
mod tokenizer;

pub use folder::TOKENIZER_FILES;
pub use gguf::GgufVocab;
pub use keys::{Fate, tokenizer_keys};
pub use stream::Stream;
pub use template::{ChatTemplate, Message, RenderOptions};
pub use tokenizer::Tokenizer;
