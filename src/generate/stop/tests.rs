//! Do stop strings cut where they begin, however the text comes in pieces?
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use super::Stop;

fn run(strings: &[&str], pieces: &[&str]) -> (Vec<String>, bool, String) {
    let strings: Vec<String> = strings.iter().map(|s| s.to_string()).collect();
    let mut stop = Stop::new(&strings);
    let mut said = Vec::new();
    for piece in pieces {
        let (text, found) = stop.push(piece);
        said.push(text);
        if found {
            return (said, true, String::new());
        }
    }
    (said, false, stop.finish())
}

#[test]
fn without_strings_everything_is_said_at_once() {
    assert_eq!(run(&[], &["a", "bc"]), (vec!["a".into(), "bc".into()], false, String::new()));
}

#[test]
fn a_string_across_pieces_is_cut() {
    let (said, found, _) = run(&["\n\nUser:"], &["Hi.", "\n", "\nUs", "er: more"]);
    assert!(found);
    assert_eq!(said.concat(), "Hi.");
    assert_eq!(said, ["Hi.", "", "", ""]);
}

#[test]
fn only_a_possible_beginning_is_held() {
    let (said, found, rest) = run(&["END"], &["xE", "N", "x", "E"]);
    assert!(!found);
    assert_eq!(said, ["x", "", "ENx", ""]);
    assert_eq!(rest, "E");
}

#[test]
fn the_first_of_several_cuts() {
    let (said, found, _) = run(&["ccc", "b"], &["aabcccc"]);
    assert!(found);
    assert_eq!(said.concat(), "aa");
}

#[test]
fn characters_are_never_split() {
    let (said, found, rest) = run(&["é!"], &["aé", "é", "ü"]);
    assert!(!found);
    assert_eq!(said.concat() + &rest, "aééü");
    assert_eq!(said[0], "a");
}
