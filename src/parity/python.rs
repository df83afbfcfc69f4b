//! Runs `scripts/reference.py`, which is part of this binary, with whatever Python can: the
//! reference comes from PyTorch without anything to prepare.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

const SCRIPT: &str = include_str!("../../scripts/reference.py");
const REQUIREMENTS: &str = include_str!("../../scripts/requirements.txt");

/// What the script imports.
const NEEDS: &str = "import torch, transformers, safetensors";

/// A way to run the script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Runner {
    /// An interpreter that has what the script needs.
    Python(PathBuf),
    /// uv, which fetches it.
    Uv,
}

/// What the reference is made of.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// A folder, file or hub id.
    pub model: &'a str,
    /// A text, or else ids.
    pub prompt: Result<&'a str, &'a [u32]>,
    /// `f32`, `bf16` or `f16`.
    pub dtype: &'a str,
    /// The dtype to record PyTorch's own drift in.
    pub yardstick: Option<&'a str>,
    /// Tokens to continue with.
    pub greedy: usize,
}

/// Makes a reference in the file `output`. Without an interpreter named, it is python3 where that
/// has PyTorch, else uv.
///
/// # Errors
/// [`Error::Request`], saying what to install, or what the script said.
pub fn reference(interpreter: Option<&Path>, wanted: &Wanted<'_>, output: &Path) -> Result<()> {
    let runner = find(interpreter)?;
    let folder = output.parent().unwrap_or(Path::new("."));
    let script = folder.join("reference.py");
    std::fs::write(&script, SCRIPT).map_err(|e| Error::file(&script, e))?;
    let mut command = match &runner {
        Runner::Python(path) => Command::new(path),
        Runner::Uv => uv(),
    };
    command.arg(&script).arg(wanted.model);
    match wanted.prompt {
        Ok(text) => command.arg(text),
        Err(ids) => {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            command.args(["--ids", &ids.join(",")])
        }
    };
    command.args(["--dtype", wanted.dtype, "--greedy", &wanted.greedy.to_string()]);
    if let Some(dtype) = wanted.yardstick {
        command.args(["--yardstick", dtype]);
    }
    command.arg("-o").arg(output).stdin(Stdio::null());
    let ran = command.output().map_err(|error| fail(format!("cannot be run: {error}")))?;
    match ran.status.success() && output.is_file() {
        true => Ok(()),
        false => Err(fail(said(&ran.stderr))),
    }
}

fn fail(problem: String) -> Error {
    Error::request("--python", problem)
}

fn find(interpreter: Option<&Path>) -> Result<Runner> {
    if let Some(path) = interpreter {
        return match has_torch(path) {
            Ok(()) => Ok(Runner::Python(path.into())),
            Err(why) => Err(fail(format!("{} {why}; {}", path.display(), install(path)))),
        };
    }
    let python = Path::new("python3");
    let Err(why) = has_torch(python) else { return Ok(Runner::Python(python.into())) };
    if runs(Command::new("uv").arg("--version")) {
        return Ok(Runner::Uv);
    }
    Err(fail(format!("python3 {why}, and there is no uv; {}", install(python))))
}

fn install(python: &Path) -> String {
    let needs: Vec<&str> = requirements().filter(|line| !line.starts_with("numpy")).collect();
    format!(
        "install what the reference needs, `{} -m pip install {}`, or uv, which fetches it",
        python.display(),
        needs.join(" ")
    )
}

/// Has an interpreter what the script needs? If not, why.
fn has_torch(python: &Path) -> Result<(), String> {
    let ran = Command::new(python).args(["-c", NEEDS]).stdin(Stdio::null()).output();
    match ran {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("is not here".into()),
        Err(error) => Err(format!("cannot be run ({error})")),
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(format!("lacks something: {}", last_line(&ran.stderr))),
    }
}

fn runs(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn requirements() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn uv() -> Command {
    let mut command = Command::new("uv");
    command.arg("run").arg("--no-project");
    for requirement in requirements() {
        command.args(["--with", requirement]);
    }
    command.arg("python");
    command
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_string()
}

/// The end of what the script said.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines[lines.len().saturating_sub(5)..].join("\n");
    format!("the reference script failed:\n{shown}")
}
