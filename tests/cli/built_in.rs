//! Without `-m` the model inside the binary runs: from any folder, without a network.

use super::taper;

/// From an empty folder, with no cache and no home.
fn alone(args: &[&str], stdin: &str) -> (String, String) {
    use std::io::Write;
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let mut command = taper();
    command.args(args).current_dir(folder.path()).env("HF_HUB_OFFLINE", "1");
    command.env("HF_HOME", folder.path()).env("HOME", folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    (stdout, stderr)
}

#[test]
fn a_story_is_told_and_ends() {
    let args = ["generate", "Once upon a time", "--seed", "1", "--format", "json", "-q"];
    let (story, stderr) = alone(&args, "");
    assert_eq!(stderr, "");
    let story: serde_json::Value = serde_json::from_str(&story).unwrap();
    assert_eq!(story["finish_reason"], "eos");
    let words = story["text"].as_str().unwrap().split_whitespace().count();
    assert!((40..300).contains(&words), "{words} words: {story}");
    assert_eq!(story["model"]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn every_command_has_it() {
    let (shown, _) = alone(&["inspect"], "");
    assert!(shown.contains("in this binary") && shown.contains("2,361,408"), "{shown}");
    let (map, _) = alone(&["attend", "Once upon a time", "--layer", "0", "--head", "0"], "");
    assert!(map.contains("Once"), "{map}");
    let (lesson, _) = alone(&["explain", "Once upon a time"], "");
    assert!(lesson.len() > 1000, "{lesson}");
    let bench = ["bench", "--prompt-tokens", "8", "--generate-tokens", "4", "--repeat", "1"];
    assert!(!alone(&bench, "").0.is_empty());
    let (reply, said) = alone(&["chat", "--seed", "1"], "Lily found a key\n");
    assert!(said.contains("goes on with what you write"), "{said}");
    assert!(reply.split_whitespace().count() > 20, "{reply}");
}
