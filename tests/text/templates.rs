//! Renderings equal transformers'.

use std::path::Path;

use serde_json::{Map, Value};
use taper::text::{ChatTemplate, Message, RenderOptions};

use super::{fetched, golden, json};

/// Every case of a file; what differs, in words.
fn differences(file: &Path) -> (usize, usize, Vec<String>) {
    let (mut count, mut equal) = (0, 0);
    let mut wrong = Vec::new();
    for template in json(file).as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let tokens: Vec<(String, String)> =
            serde_json::from_value::<Map<String, Value>>(template["tokens"].clone())
                .unwrap()
                .iter()
                .map(|(name, token)| (name.clone(), token.as_str().unwrap().into()))
                .collect();
        let built = ChatTemplate::new(template["source"].as_str().unwrap(), tokens);
        for (number, case) in template["cases"].as_array().unwrap().iter().enumerate() {
            count += 1;
            let ours = match &built {
                Ok(built) => built.render(&messages(case), &options(case)),
                Err(error) => {
                    wrong.push(format!("{name} {number}: {error}"));
                    continue;
                }
            };
            match (ours, case["text"].as_str()) {
                (Ok(ours), Some(theirs)) if ours == theirs => equal += 1,
                (Err(_), None) => equal += 1,
                // Where Python trips over a type (`None` is not iterable), Jinja here goes on.
                (Ok(_), None) if tripped(case) => {}
                _ if ESCAPED.contains(&name) && case["tools"].is_array() => {}
                (ours, theirs) => wrong.push(format!(
                    "{name} {number}\n  ours:   {ours:?}\n  theirs: {:?}",
                    theirs.unwrap_or_else(|| case["refused"].as_str().unwrap())
                )),
            }
        }
    }
    (count, equal, wrong)
}

/// Adds to text that it declared `safe`: Jinja2 then escapes the rest for HTML, even where escaping
/// is off. The model was never trained on that.
const ESCAPED: [&str; 1] = ["meetkai-functionary-medium-v3.1"];

fn tripped(case: &Value) -> bool {
    let refused = case["refused"].as_str().unwrap();
    ["TypeError", "UndefinedError", "AttributeError"].iter().any(|kind| refused.starts_with(kind))
}

fn messages(case: &Value) -> Vec<Message> {
    serde_json::from_value(case["messages"].clone()).unwrap()
}

fn options(case: &Value) -> RenderOptions {
    let flag = |key: &str| case[key].as_bool().unwrap_or(false);
    let list = |key: &str| case[key].as_array().cloned();
    RenderOptions {
        add_generation_prompt: flag("add_generation_prompt"),
        continue_final_message: flag("continue_final_message"),
        tools: list("tools"),
        documents: list("documents"),
        variables: case["variables"].as_object().cloned().unwrap_or_default(),
        now: Some(
            jiff::civil::date(2026, 3, 5).at(7, 8, 9, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap(),
        ),
        ..RenderOptions::default()
    }
}

#[test]
fn each_feature_renders_as_in_transformers() {
    let (count, equal, wrong) = differences(&golden("templates.json"));
    assert!(equal > 300);
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn published_templates_render_as_in_transformers() {
    let Some(file) = fetched("templates.json") else { return };
    let (count, equal, wrong) = differences(&file);
    eprintln!("{equal} of {count} renderings of published templates are equal");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
