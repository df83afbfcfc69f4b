//! A conversation: messages in the model's own template, a reply at a time. What the decoder has
//! seen stays in its cache, so a turn processes only what is new. It reads and prints nothing.

use super::completion::Completion;
use super::request::{Prompt, Request, Voice};
use super::run::Listener;
use super::session::Session;
use crate::error::{Error, Result};
use crate::nn::Decoder;
use crate::text::{ChatTemplate, Message, RenderOptions, Tokenizer};

/// A conversation with a model.
#[derive(Debug)]
pub struct Chat<'m> {
    session: Session<'m>,
    tokenizer: &'m Tokenizer,
    template: &'m ChatTemplate,
    messages: Vec<Message>,
    /// Tools, documents and variables for the template.
    pub options: RenderOptions,
}

impl<'m> Chat<'m> {
    /// A conversation in which nothing was said, with room for `reserve` tokens from the start.
    pub fn new(
        decoder: &'m Decoder,
        tokenizer: &'m Tokenizer,
        template: &'m ChatTemplate,
        reserve: usize,
    ) -> Self {
        Self {
            session: Session::new(decoder, reserve),
            tokenizer,
            template,
            messages: Vec::new(),
            options: RenderOptions::default(),
        }
    }

    /// What was said, a system message first where there is one.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The tokens whose keys and values are held.
    pub fn cached(&self) -> usize {
        self.session.ids().len()
    }

    /// What the system says before all else; `None` takes it away. The conversation goes on.
    pub fn set_system(&mut self, text: Option<String>) {
        let has_one = self.messages.first().is_some_and(|message| message.role == "system");
        self.messages.drain(..usize::from(has_one));
        if let Some(text) = text {
            self.messages.insert(0, Message::system(text));
        }
    }

    /// Forgets what was said, but for the system's message.
    pub fn reset(&mut self) {
        self.messages.retain(|message| message.role == "system");
    }

    /// Goes on from another conversation.
    ///
    /// # Errors
    /// [`Error::Template`] where the template refuses it; this conversation then stays.
    pub fn load(&mut self, messages: Vec<Message>) -> Result<()> {
        if !messages.is_empty() {
            self.template.render(&messages, &self.options)?;
        }
        self.messages = messages;
        Ok(())
    }

    /// Says something and hears the reply. `request` says how the reply is made; its prompts are
    /// not used. A reply that the listener ends early is part of the conversation as far as it
    /// went.
    ///
    /// # Errors
    /// As [`Session::generate`]; [`Error::Template`] where the template refuses the conversation.
    /// After an error the conversation is what it was before.
    pub fn say(
        &mut self,
        text: &str,
        request: &Request,
        listener: &mut Listener<'_>,
    ) -> Result<Completion> {
        self.messages.push(Message::user(text));
        let reply = self.reply(request, listener);
        match &reply {
            Ok(reply) => self.messages.push(Message::assistant(&reply.text)),
            Err(_) => self.messages.truncate(self.messages.len() - 1),
        }
        reply
    }

    fn reply(&mut self, request: &Request, listener: &mut Listener<'_>) -> Result<Completion> {
        let options = RenderOptions {
            add_generation_prompt: true,
            continue_final_message: false,
            ..self.options.clone()
        };
        let text = self.template.render(&self.messages, &options)?;
        let ids = self.tokenizer.encode(&text, false)?;
        if ids.is_empty() {
            return Err(Error::Template("the conversation comes out empty".into()));
        }
        let prompt = Prompt { text: Some(text), ..Prompt::from(ids) };
        let request = Request { prompts: vec![prompt], samples: 1, ..request.clone() };
        self.session.generate(Some(self.tokenizer as &dyn Voice), &request, listener)
    }
}
