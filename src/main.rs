//! The `taper` command: the exit code, and nothing else.

fn main() -> std::process::ExitCode {
    taper::cli::main()
}
