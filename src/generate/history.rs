//! What a row has said so far, kept so that every rule about it costs nothing per token that grows
//! with the length: which tokens occurred, how often, and what followed which n-gram.

use std::collections::HashMap;

/// A row's tokens, prompt first.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    ids: Vec<u32>,
    prompt_len: usize,
    seen: HashMap<u32, u32>, // token → how often it was generated
    ngram: usize,
    followers: HashMap<Vec<u32>, Vec<u32>>, // n − 1 tokens → those that came after
}

impl History {
    /// A prompt, with n-grams of `ngram` tokens watched (0: none).
    pub(crate) fn new(prompt: &[u32], ngram: usize) -> Self {
        let mut history = Self { ngram, ..Self::default() };
        for id in prompt {
            history.add(*id);
            history.seen.entry(*id).or_insert(0);
        }
        history.prompt_len = prompt.len();
        history
    }

    /// Adds a generated token.
    pub(crate) fn push(&mut self, id: u32) {
        self.add(id);
        *self.seen.entry(id).or_insert(0) += 1;
    }

    fn add(&mut self, id: u32) {
        self.ids.push(id);
        if self.ngram > 0 && self.ids.len() >= self.ngram {
            let start = self.ids.len() - self.ngram;
            let prefix = self.ids[start..self.ids.len() - 1].to_vec();
            self.followers.entry(prefix).or_default().push(id);
        }
    }

    /// Every token, prompt first.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The prompt.
    pub(crate) fn prompt(&self) -> &[u32] {
        &self.ids[..self.prompt_len]
    }

    /// What was generated.
    pub(crate) fn generated(&self) -> &[u32] {
        &self.ids[self.prompt_len..]
    }

    /// The tokens that occurred, each once, and how often it was generated.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.seen.iter().map(|(id, count)| (*id, *count))
    }

    /// Tokens that would complete an n-gram that occurred.
    pub(crate) fn repeating(&self) -> &[u32] {
        if self.ngram == 0 || self.ids.len() + 1 < self.ngram {
            return &[];
        }
        let prefix = &self.ids[self.ids.len() + 1 - self.ngram..];
        self.followers.get(prefix).map_or(&[], Vec::as_slice)
    }
}
