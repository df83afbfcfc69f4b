//! The page to click through: no complaint from the browser, lines that follow the pointer, and the
//! numbers of the JSON.

use std::path::{Path, PathBuf};

use serde_json::Value;
use taper::inspect::{MOST_TOKENS, Plan, Token, attend, page};
use taper::model::{LoadOptions, Model};

use crate::browser::Browser;
use crate::common::{golden, shared};
use crate::load;

fn write(folder: &Path, name: &str, page: &str) -> (PathBuf, String) {
    let file = folder.join(name);
    std::fs::write(&file, page).unwrap();
    let url = format!("file://{}", file.display());
    (file, url)
}

/// A model with words, and a text of its own.
fn stories() -> Option<(Model, Vec<u32>)> {
    let model = Model::load(shared("stories260K")?, &LoadOptions::default()).unwrap();
    let text =
        "Once upon a time, there was a little girl. She liked to play, and she liked to run.";
    let ids = model.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
    Some((model, ids))
}

#[test]
fn a_page_shows_what_the_json_says() {
    let Some((model, ids)) = stories() else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, url) = write(folder.path(), "page.html", &page(&model, &ids, ids.len()).unwrap());
    let plan = Plan { top: 8, ..Plan::default() };
    let seen = attend(&model.decoder, &ids, &plan, None, &mut |_, _| Ok(())).unwrap();
    browser.open(&url);
    browser.until("document.querySelectorAll('.thumb').length === data.heads.length");
    // The numbers beside the map, and what its last query looks at.
    for head in seen.heads.iter().step_by(7) {
        let hash = format!("#view=map&layer={}&head={}", head.layer, head.head);
        browser.value(&format!("void (location.hash = '{hash}')"));
        browser.until(&format!(
            "document.querySelector('aside h2')?.textContent === 'Head {}.{}'",
            head.layer, head.head
        ));
        let shown = browser
            .value("[...document.querySelectorAll('#numbers dd')].map((x) => x.textContent)");
        let s = &head.statistics;
        let wanted = [s.entropy, s.first, s.previous, s.own, s.distance].map(|x| format!("{x:.3}"));
        let shown: Vec<&str> =
            shown.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
        assert_eq!(shown[..5], wanted);
        let looks = browser.value(
            "[...document.querySelectorAll('#looks li b')].map((x) => Number(x.textContent))",
        );
        let last = &head.queries.last().unwrap().top;
        for (shown, look) in looks.as_array().unwrap().iter().zip(last) {
            let apart = (shown.as_f64().unwrap() - f64::from(look.weight)).abs();
            assert!(apart <= 0.00052, "{shown} instead of {}", look.weight);
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn lines_follow_the_pointer_and_keys_lead_everywhere() {
    let Some((model, ids)) = stories() else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, url) = write(folder.path(), "page.html", &page(&model, &ids, ids.len()).unwrap());
    browser.open(&format!("{url}#view=lines&layer=2&head=1"));
    browser.until("document.querySelectorAll('.lines path').length > 20");
    let drawn = |browser: &Browser| {
        browser.value(
            "[...document.querySelectorAll('.lines path')].map((x) => x.getAttribute('d')).join()",
        )
    };
    let all = drawn(&browser);
    browser.point(".queries li:nth-child(9) button");
    browser.until("document.querySelector('.queries [aria-pressed=true]')?.dataset.at === '8'");
    let (ninth, said) =
        (drawn(&browser), browser.value("document.getElementById('readout').textContent"));
    assert!(ninth != all && said.as_str().unwrap().contains("looks at"), "{said}");
    // A line begins and ends beside its tokens.
    let apart = browser.value(
        "(() => { const middle = (box) => (box.top + box.bottom) / 2; \
         const of = (side) => middle(document.querySelector(`.${side} li:nth-child(9) button`).getBoundingClientRect()); \
         const flat = [...document.querySelectorAll('.lines path')].map((x) => x.getBoundingClientRect()).filter((x) => x.height < 1); \
         return flat.map((x) => Math.max(Math.abs(middle(x) - of('queries')), Math.abs(middle(x) - of('keys')))); })()",
    );
    let apart = apart.as_array().unwrap();
    assert!(!apart.is_empty() && apart.iter().all(|x| x.as_f64().unwrap() < 2.0), "{apart:?}");
    browser.point(".keys li:nth-child(4) button");
    browser.until("document.getElementById('readout').textContent.includes('is looked at by')");
    assert_ne!(drawn(&browser), ninth);
    // Each view by its key, the next head, light and dark; the address keeps all of it.
    for (key, sign) in [
        ("1", ".wall"),
        ("2", "canvas.map"),
        ("4", ".lens td"),
        ("5", ".ranking td"),
        ("3", ".lines"),
    ] {
        browser.press(key);
        browser.until(&format!("document.querySelector('{sign}')"));
    }
    let before = browser.value("document.documentElement.dataset.theme");
    browser.press("n");
    browser.press("t");
    browser.until("location.hash.includes('head=2') && location.hash.includes('theme=')");
    assert_ne!(browser.value("document.documentElement.dataset.theme"), before);
    let hash = browser.value("location.hash");
    browser.open("about:blank");
    browser.open(&format!("{url}{}", hash.as_str().unwrap()));
    browser
        .until("document.getElementById('head').value === '2' && document.querySelector('.lines')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn hostile_tokens_stay_text() {
    let Some(browser) = Browser::start() else { return };
    let Some((model, _)) = stories() else { return };
    let text = "</script><script>document.title='broken'</script> \u{202e}abc {{data}} <!-- \u{1f469} שלום\u{7}\r\n";
    let ids = model.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_, url) = write(folder.path(), "page.html", &page(&model, &ids, ids.len()).unwrap());
    browser.open(&url);
    browser.until("document.querySelectorAll('.thumb').length === data.heads.length");
    assert!(browser.value("document.title").as_str().unwrap().ends_with("attention"));
    assert_eq!(browser.value("tokens.length").as_u64().unwrap(), ids.len() as u64);
    let labels: Vec<String> = Token::of(&model, &ids).iter().map(Token::label).collect();
    assert_eq!(browser.value("tokens.map((one) => one.label)"), serde_json::json!(labels));
    browser.open(&format!("{url}#view=nothing&layer=99&head=-1&query=1e9&sort=__proto__"));
    browser.until("document.querySelector('.wall')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_of_one_token_and_one_without_words() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (case, ids) in [("gpt2/small", vec![5]), ("gemma2/capped_window", (1..40).collect())] {
        let model = load(case);
        let (_, url) = write(folder.path(), "page.html", &page(&model, &ids, ids.len()).unwrap());
        for view in ["wall", "map", "lines", "lens", "heads"] {
            browser.open("about:blank");
            browser.open(&format!("{url}#view={view}&layer=0&head=1"));
            browser.until("document.getElementById('view').children.length > 0");
            let alert = browser.value("document.querySelector('[role=alert]')?.textContent");
            assert_eq!(alert, Value::Null, "{case} {view}");
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_text_too_long_is_refused() {
    let model = Model::load(
        golden("llama/tied_gqa"),
        &LoadOptions { max_seq_len: Some(1000), ..LoadOptions::default() },
    );
    let error = page(&model.unwrap(), &vec![1; MOST_TOKENS + 1], 1).unwrap_err().to_string();
    assert!(error.contains("up to 512 tokens") && error.contains("--json"), "{error}");
}
