//! `taper chat`: a conversation on the terminal or through a pipe. What a command does is in
//! `commands.rs`; the conversation itself is the library's.

mod commands;
mod input;

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use self::commands::Command;
use self::input::Input;
use super::interrupt;
use super::options::{CacheArgs, ModelArgs};
use super::sampling::SamplingArgs;
use crate::error::{Error, Result};
use crate::generate::{Chat, Choices, Completion, Defaults, Event, FinishReason, Request};
use crate::model::Model;

/// Tokens of a reply where neither the caller nor the checkpoint says how many.
const MAX_TOKENS: usize = 1024;
/// Tokens to have room for from the start; the cache grows beyond.
const RESERVED: usize = 1024;

/// Talk with a model. On a terminal /help lists what else can be said; Ctrl-C ends a reply, Ctrl-D
/// the conversation. From a pipe each line is a message, and stdout carries the replies alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// What the system says before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Go on from a conversation that /save wrote
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// Tokens of a reply at most [default: the checkpoint's, else 1024]
    #[arg(short = 'n', long, value_name = "N")]
    max_tokens: Option<usize>,
    /// A variable for the chat template, such as enable_thinking=false (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, Value)>,
    /// The same seed gives the same replies [default: another each time, told on stderr]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let model = args.model.load_with(&args.cache)?;
    let (Some(tokenizer), Some(template)) = (&model.tokenizer, &model.chat_template) else {
        let problem = "the model has none, so it was not made to talk; try taper generate";
        return Err(Error::Template(problem.into()).into());
    };
    if model.built_in {
        args.model.say(
            "the model in this binary tells stories: it goes on with what you write, and answers \
             nothing; -m names one that talks",
        );
    }
    let defaults = args.sampling.defaults(&model)?;
    defaults.warnings.iter().for_each(|warning| args.model.say(format!("warning: {warning}")));
    let reserve = RESERVED.min(model.spec().max_seq_len);
    let mut chat = Chat::new(&model.decoder, tokenizer, template, reserve);
    chat.options.variables.extend(args.var.iter().cloned());
    if let Some(file) = &args.load {
        chat.load(commands::read(file)?)?;
    }
    if args.system.is_some() {
        chat.set_system(args.system.clone());
    }
    let choices = args.sampling.choices(&model)?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut talk = Talk { chat, model: &model, args: &args, defaults, choices, seed };
    talk.describe()?;
    talk.run()
}

/// A conversation and how its replies are made.
struct Talk<'m> {
    chat: Chat<'m>,
    model: &'m Model,
    args: &'m Args,
    defaults: Defaults,
    choices: Choices,
    seed: u64,
}

impl Talk<'_> {
    fn run(&mut self) -> anyhow::Result<()> {
        interrupt::watch()?;
        let mut input = Input::new(self.args.model.quiet)?;
        while let Some(line) = input.next()? {
            let said = match Command::parse(&line) {
                Ok(None) => continue,
                Ok(Some(Command::Quit)) => break,
                Ok(Some(Command::Say(text))) => self.say(&text, input.is_terminal()),
                Ok(Some(command)) => self.command(command).map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            match said {
                // Whoever sits before it can try something else; a pipe cannot.
                Err(error) if input.is_terminal() && !error.is::<io::Error>() => {
                    eprintln!("{error:#}");
                }
                other => other?,
            }
            if interrupt::asked() {
                if !input.is_terminal() {
                    break;
                }
                interrupt::forget();
            }
        }
        Ok(())
    }

    /// Says something, and writes the reply as it comes.
    fn say(&mut self, text: &str, terminal: bool) -> anyhow::Result<()> {
        let request = self.request()?;
        let mut out = io::stdout().lock();
        let mut written: io::Result<()> = Ok(());
        let mut begun = false;
        let reply = self.chat.say(text, &request, &mut |event| {
            if let (Event::Text { text, .. }, Ok(())) = (&event, &written) {
                begun = true;
                written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
            match written.is_err() || interrupt::asked() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if begun || reply.is_ok() {
            written.and_then(|()| writeln!(out)).and_then(|()| out.flush())?;
        }
        let reply = reply.map_err(|error| match error {
            Error::ContextFull { .. } => anyhow::Error::from(error)
                .context("the conversation is longer than the model's context; /reset begins anew"),
            error => error.into(),
        })?;
        self.tell(&reply, terminal);
        Ok(())
    }

    /// On stderr: why a reply ended, if not by itself, and how fast it was.
    fn tell(&self, reply: &Completion, terminal: bool) {
        let ended = match reply.finish_reason {
            FinishReason::Length => "cut at --max-tokens; ",
            FinishReason::Context => "the context is full, /reset begins anew; ",
            FinishReason::Interrupted => "stopped; ",
            FinishReason::Eos | FinishReason::Stop => "",
        };
        let t = &reply.timings;
        if terminal || !ended.is_empty() {
            self.args.model.say(format!(
                "[{ended}{} tokens read, {} kept; {} said, {:.1} tokens/s]",
                t.prompt_tokens - t.cached_tokens,
                t.cached_tokens,
                t.generated_tokens,
                t.generation_tokens_per_s
            ));
        }
    }

    fn request(&self) -> Result<Request> {
        let (sampling, _) = self.defaults.resolve(&self.choices)?;
        let asked = self.args.max_tokens;
        let max_tokens = asked.or_else(|| self.defaults.max_tokens(self.chat.cached()));
        let mut eos_ids = self.model.eos_ids.clone();
        // What ends a turn is the tokenizer's affair; not every generation_config.json knows.
        let ends = self.model.tokenizer.iter().flat_map(|tokenizer| tokenizer.eos_ids());
        eos_ids.extend(ends.filter(|id| !self.model.eos_ids.contains(id)));
        Ok(Request {
            max_tokens: max_tokens.unwrap_or(MAX_TOKENS),
            sampling,
            seed: self.seed.wrapping_add(self.chat.messages().len() as u64),
            eos_ids,
            stop: self.defaults.stop.clone(),
            ..Request::default()
        })
    }

    /// How the replies are made, on stderr.
    fn describe(&self) -> anyhow::Result<()> {
        let (sampling, line) = self.defaults.resolve(&self.choices)?;
        let seed = if sampling.greedy { String::new() } else { format!(", seed {}", self.seed) };
        self.args.model.say(format!("{}; {line}{seed}", self.model.name));
        if io::stdin().is_terminal() {
            self.args.model.say("/help lists what else can be said; Ctrl-D ends");
        }
        Ok(())
    }
}

/// `NAME=VALUE`; the value is JSON, or a text where it is none.
fn variable(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').context("NAME=VALUE").map_err(|e| e.to_string())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_string(), value))
}
