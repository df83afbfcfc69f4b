//! What typed lines mean.

use super::Command::{self, Load, Quit, Reset, Say, Set, System};

#[test]
fn lines_are_messages_or_commands() {
    let cases = [
        ("Hello /reset", Some(Say("Hello /reset".into()))),
        ("  indented", Some(Say("  indented".into()))),
        ("", None),
        ("   ", None),
        ("//etc is a folder", Some(Say("/etc is a folder".into()))),
        ("/reset", Some(Reset)),
        (" /quit ", Some(Quit)),
        ("/system Be terse. Always.", Some(System(Some("Be terse. Always.".into())))),
        ("/system", Some(System(None))),
        ("/load  a b.json", Some(Load("a b.json".into()))),
        ("/set temperature 0.7", Some(Set("temperature".into(), "0.7".into()))),
        ("/set top_p=0.9", Some(Set("top_p".into(), "0.9".into()))),
    ];
    for (line, expected) in cases {
        assert_eq!(Command::parse(line).unwrap(), expected, "{line:?}");
    }
}

#[test]
fn what_is_missing_is_said() {
    for line in ["/save", "/load ", "/set", "/set temperature", "/dance"] {
        let error = Command::parse(line).unwrap_err().to_string();
        assert!(error.contains("missing") || error.contains("/help"), "{line}: {error}");
    }
}
