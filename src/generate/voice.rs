//! The tokenizer as a run needs it. What is special is not said.

use super::request::{Detokenize, Voice};
use crate::error::Result;
use crate::text::{Stream, Tokenizer};

impl Voice for Tokenizer {
    fn stream(&self, prompt: &[u32]) -> Result<Box<dyn Detokenize + '_>> {
        let mut stream = Tokenizer::stream(self, true);
        for id in prompt {
            stream.push(*id)?; // said already, by whoever wrote the prompt
        }
        Ok(Box::new(stream))
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        Tokenizer::decode(self, ids, true)
    }

    fn token(&self, id: u32) -> String {
        self.token_text(id)
    }
}

impl Detokenize for Stream {
    fn push(&mut self, id: u32) -> Result<Option<String>> {
        Stream::push(self, id)
    }

    fn finish(&mut self) -> Result<Option<String>> {
        Stream::finish(self)
    }
}
