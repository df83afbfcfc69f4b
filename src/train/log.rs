//! The log of a run, a JSON object a line. Drawing it is `curve.rs`'s affair.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A line: a step's loss, or a measurement of the validation loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps taken.
    pub step: usize,
    /// Mean training loss since the line before, nats a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Loss on what is not learned, nats a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    /// The learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// The norm of all gradients together, before it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Learned since the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Learned in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Goes on with the log of a run after `step` steps; later lines are of a run that ended.
    pub(super) fn open(path: &Path, step: usize) -> Result<Self> {
        let fail = |e: std::io::Error| Error::file(path, e);
        let kept: Vec<Line> = match step {
            0 => Vec::new(),
            step => read(path)?.into_iter().filter(|line| line.step <= step).collect(),
        };
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path);
        let mut log = Self { path: path.into(), file: file.map_err(fail)? };
        kept.iter().try_for_each(|line| log.line(line))?;
        Ok(log)
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<()> {
        let fail = |e: std::io::Error| Error::file(&self.path, e);
        let text = serde_json::to_string(line).map_err(|e| Error::file(&self.path, e))?;
        writeln!(self.file, "{text}").map_err(fail)?;
        self.file.flush().map_err(fail)
    }
}

/// The lines of a log; none where there is none.
///
/// # Errors
/// [`Error::File`] where it cannot be read.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(path, error)),
    };
    // A last line may be half written.
    let lines = BufReader::new(file).lines().map_while(std::result::Result::ok);
    Ok(lines.filter_map(|line| serde_json::from_str(&line).ok()).collect())
}
