//! Conversations: what of them is learned, and which are refused.

use super::*;

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";

fn conversation_of(template: &str, line: &str) -> Result<Document, String> {
    let none: [(&str, &str); 0] = [];
    document(line, Some(&ChatTemplate::new(template, none).unwrap()))
}

#[test]
fn of_a_conversation_only_what_the_assistant_says_is_learned() {
    let line = r#"{"messages": [
        {"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "See you"}, {"role": "user", "content": "And?"}]}"#;
    let part = |text: &str, learned| (text.to_string(), learned);
    let expected = [
        part("<system>Be short.<end><user>Hi<end><assistant>", false),
        part("Hello<end>", true),
        part("<user>Bye<end><assistant>", false),
        part("See you<end>", true),
    ];
    let document = conversation_of(TEMPLATE, line).unwrap();
    assert_eq!(document.parts, expected, "the question that nobody answered teaches nothing");
    assert!(document.bare, "the template has the special tokens");
}

#[test]
fn conversations_that_cannot_be_divided_are_refused() {
    let line = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    assert!(conversation_of(TEMPLATE, line).unwrap_err().contains("nothing to learn"));
    // This one writes the newest turn first.
    let reversed = "{% for m in messages | reverse %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    let line = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}"#;
    assert!(conversation_of(reversed, line).unwrap_err().contains("which tokens"));
}
