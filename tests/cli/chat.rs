//! `taper chat` through a pipe, and the conversation behind it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use taper::generate::{Chat, Event, FinishReason, Request, Session};
use taper::model::{LoadOptions, Model};
use taper::text::{ChatTemplate, Message, RenderOptions};

use super::{Lettered, common, taper};

fn chat(model: &Path, args: &[&str], input: &str) -> Output {
    let mut command = taper();
    command.args(["chat", "-n", "5", "-m"]).arg(model).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A conversation that failed may not have read all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn replies(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn load(folder: &Lettered) -> Model {
    Model::load(folder.path(), &LoadOptions::default()).unwrap()
}

fn request(model: &Model) -> Request {
    Request { max_tokens: 5, eos_ids: model.eos_ids.clone(), ..Request::default() }
}

/// Says each text; the replies.
fn say(chat: &mut Chat<'_>, request: &Request, texts: &[&str]) -> Vec<String> {
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    texts.iter().map(|text| chat.say(text, request, go_on).unwrap().text).collect()
}

#[test]
fn a_pipe_gets_the_replies_and_nothing_else() {
    let folder = Lettered::new();
    let model = load(&folder);
    let (tokenizer, template) =
        (model.tokenizer.as_ref().unwrap(), model.chat_template.as_ref().unwrap());
    let mut talk = Chat::new(&model.decoder, tokenizer, template, 0);
    let expected = say(&mut talk, &request(&model), &["Hi", "So"]).join("\n") + "\n";
    assert_eq!(replies(chat(folder.path(), &[], "Hi\n\nSo\n")), expected);
    assert_eq!(replies(chat(folder.path(), &["-q"], "Hi\nSo\n/quit\nnever")), expected);
    let quiet = chat(folder.path(), &["-q"], "Hi\n/help\n");
    assert!(String::from_utf8(quiet.stderr).unwrap().contains("/save FILE"));
}

#[test]
fn a_turn_processes_only_what_is_new() {
    let folder = Lettered::new();
    let model = load(&folder);
    let tokenizer = model.tokenizer.as_ref().unwrap();
    // As templates do, this one leads into the reply as it will later write it down.
    let source = "<s>{% for m in messages %}{{ m.role[0] }} {{ m.content }}.{% endfor %}\
                  {% if add_generation_prompt %}a {% endif %}";
    let template = ChatTemplate::new(source, [("bos_token", "<s>")]).unwrap();
    let request = Request { eos_ids: Vec::new(), ..request(&model) };
    let mut talk = Chat::new(&model.decoder, tokenizer, &template, 0);
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    let mut held = 0;
    for text in ["Hi", "So", "Yes"] {
        let reply = talk.say(text, &request, go_on).unwrap();
        assert_eq!(reply.timings.cached_tokens, held, "{text}");
        held = reply.timings.prompt_tokens + reply.token_ids.len() - 1;
        assert_eq!(talk.cached(), held);
        // The same as a whole run of the whole conversation.
        let said = &talk.messages()[..talk.messages().len() - 1];
        let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
        let ids = tokenizer.encode(&template.render(said, &options).unwrap(), false).unwrap();
        let whole = Request { prompts: vec![ids.into()], ..request.clone() };
        let mut anew = Session::new(&model.decoder, 0);
        let anew = anew.generate(Some(tokenizer), &whole, go_on).unwrap();
        assert_eq!(anew.token_ids, reply.token_ids);
    }
}

#[test]
fn a_reply_that_is_stopped_stays_as_far_as_it_went() {
    let folder = Lettered::new();
    let model = load(&folder);
    let (tokenizer, template) =
        (model.tokenizer.as_ref().unwrap(), model.chat_template.as_ref().unwrap());
    let mut talk = Chat::new(&model.decoder, tokenizer, template, 0);
    let request = Request { eos_ids: Vec::new(), ..request(&model) };
    let whole = say(&mut talk, &request, &["Hi"]);
    talk.reset();
    let mut heard = 0;
    let reply = talk.say("Hi", &request, &mut |event| {
        heard += usize::from(matches!(event, Event::Token { .. }));
        if heard == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let reply = reply.unwrap();
    assert_eq!(reply.finish_reason, FinishReason::Interrupted);
    assert!(whole[0].starts_with(&reply.text) && reply.text.len() < whole[0].len());
    assert_eq!(talk.messages()[1], Message::assistant(reply.text));
    // And the conversation goes on.
    say(&mut talk, &request, &["So"]);
    assert_eq!(talk.messages().len(), 4);
}

#[test]
fn a_conversation_is_saved_and_goes_on() {
    let folder = Lettered::new();
    let file = folder.path().join("said.json");
    let name = file.to_str().unwrap();
    let whole = replies(chat(folder.path(), &["--system", "Be"], "Hi\nSo\n"));
    let first = chat(folder.path(), &[], &format!("/system Be\nHi\n/save {name}\n"));
    let second = chat(folder.path(), &[], &format!("/load {name}\nSo\n"));
    assert_eq!(replies(first) + &replies(second), whole);
    let loaded = replies(chat(folder.path(), &["--load", name], "So\n"));
    assert!(whole.ends_with(&loaded));
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["messages"][0], json!({"role": "system", "content": "Be"}));
    assert_eq!(saved["messages"].as_array().unwrap().len(), 3);
    // What was forgotten is not heard of again; the system's message stays.
    let again = replies(chat(folder.path(), &["--system", "Be"], "Hi\n/reset\nHi\n"));
    let again: Vec<&str> = again.lines().collect();
    assert_eq!(again[0], again[1]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = Lettered::new();
    let file = folder.path().join("no.json");
    std::fs::write(&file, "[{\"text\": 1}]").unwrap();
    let load = format!("/load {}", file.display());
    for (input, words) in [
        ("/dance", "unknown"),
        ("/set heat 3", "temperature"),
        ("/set temperature -1", "temperature"),
        ("/load nowhere.json", "nowhere.json"),
        ("/save nowhere/at.json", "nowhere/at.json"),
        (&load, "is no conversation"),
        (&"so long ".repeat(40), "/reset"),
    ] {
        let output = chat(folder.path(), &[], input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(stderr.contains(words), "{input}: {stderr}");
        assert!(output.stdout.is_empty(), "{input}");
    }
    let wordless = chat(&common::golden("llama/tied_gqa"), &[], "Hi");
    assert_eq!(wordless.status.code(), Some(1));
    assert!(String::from_utf8(wordless.stderr).unwrap().contains("chat template"));
}

#[test]
fn choices_change_between_turns() {
    let folder = Lettered::new();
    let args = ["--seed", "3"];
    let input = "/set temperature 2\nHi\nSo\n/set greedy true\nSo\n";
    let one = replies(chat(folder.path(), &args, input));
    assert_eq!(one, replies(chat(folder.path(), &args, input)));
    let other = replies(chat(folder.path(), &["--seed", "4"], input));
    assert_ne!(one, other);
}
