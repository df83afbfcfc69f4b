//! What begins with a slash: read here, carried out here.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Talk;
use crate::error::{Error, Result};
use crate::text::Message;

/// A line that was typed.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Say(String),
    System(Option<String>),
    Reset,
    Save(PathBuf),
    Load(PathBuf),
    Set(String, String),
    Help,
    Quit,
}

const HELP: &str = "\
/system TEXT      what the system says before all else; without TEXT, nothing
/reset            forget what was said
/save FILE        write the conversation as JSON
/load FILE        go on from a conversation that was saved
/set NAME VALUE   how tokens are chosen: temperature 0.7, top_p 0.9, greedy true, ...
/help             this
/quit             end (also Ctrl-D)
//TEXT            say /TEXT
Ctrl-C ends a reply; the conversation goes on.";

impl Command {
    /// A line as a command; `None` for an empty one.
    ///
    /// # Errors
    /// [`Error::Request`] for a command that there is not, or that lacks its argument.
    pub(super) fn parse(line: &str) -> Result<Option<Self>> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let Some(rest) = line.trim_start().strip_prefix('/') else {
            return Ok(Some(Self::Say(line.to_string())));
        };
        if rest.starts_with('/') {
            return Ok(Some(Self::Say(rest.to_string())));
        }
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = argument.trim();
        let needed = |what: &str| match argument.is_empty() {
            true => Err(Error::request(format!("/{name}"), format!("{what} is missing"))),
            false => Ok(argument),
        };
        Ok(Some(match name {
            "system" => Self::System(Some(argument.to_string()).filter(|text| !text.is_empty())),
            "reset" => Self::Reset,
            "save" => Self::Save(needed("a file")?.into()),
            "load" => Self::Load(needed("a file")?.into()),
            "set" => {
                let pair = needed("a name and a value")?.split_once([' ', '=']);
                let (name, value) =
                    pair.ok_or_else(|| Error::request("/set", "a value is missing"))?;
                Self::Set(name.into(), value.trim().into())
            }
            "help" | "?" => Self::Help,
            "quit" | "exit" => Self::Quit,
            _ => {
                return Err(Error::request(
                    format!("/{name}"),
                    "unknown; /help lists what there is",
                ));
            }
        }))
    }
}

impl Talk<'_> {
    /// Carries out what is no message.
    pub(super) fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::System(text) => self.chat.set_system(text),
            Command::Reset => self.chat.reset(),
            Command::Save(file) => write(&file, self.chat.messages())?,
            Command::Load(file) => self.chat.load(read(&file)?)?,
            Command::Set(name, value) => {
                let mut choices = self.choices.clone();
                choices.set(&name, &value)?;
                let (sampling, line) = self.defaults.resolve(&choices)?;
                sampling.validate(self.model.spec().vocab_size)?;
                self.choices = choices;
                self.args.model.say(line);
            }
            Command::Help => eprintln!("{HELP}"),
            Command::Say(_) | Command::Quit => {}
        }
        Ok(())
    }
}

/// A conversation from a file: `{"messages": […]}`, or the list alone.
pub(super) fn read(file: &Path) -> Result<Vec<Message>> {
    let bytes = std::fs::read(file).map_err(|error| Error::file(file, error))?;
    let wrong = |error| Error::file(file, format!("is no conversation: {error}"));
    let mut value: Value = serde_json::from_slice(&bytes).map_err(wrong)?;
    if let Some(messages) = value.get_mut("messages") {
        value = messages.take();
    }
    serde_json::from_value(value).map_err(wrong)
}

fn write(file: &Path, messages: &[Message]) -> Result<()> {
    let text = format!("{:#}\n", json!({"messages": messages}));
    std::fs::write(file, text).map_err(|error| Error::file(file, error))
}

#[cfg(test)]
mod tests;
