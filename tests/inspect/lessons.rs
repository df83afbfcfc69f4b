//! Does a lesson add up, for every family, and does it notice when something does not?

use taper::inspect::{Focus, MOST_WORDS, depths, document, lens, lesson};
use taper::model::{LoadOptions, Model};
use taper::parity::Trace;

use crate::browser::Browser;
use crate::common::{golden_cases, shared};
use crate::load;

#[test]
fn every_familys_lesson_adds_up() {
    let mut families = std::collections::BTreeSet::new();
    for case in golden_cases() {
        let model = Model::load(&case.path, &LoadOptions::default()).unwrap();
        let ids = &Trace::read(&case.path.join("reference.safetensors")).unwrap().ids[0];
        let last = model.spec().layers.len() - 1;
        let chosen = Focus {
            layer: Some(last),
            head: Some(0),
            token: Some(ids.len() / 2),
            ..Focus::default()
        };
        for focus in [Focus::default(), chosen] {
            let lesson = lesson(&model, ids, &focus).unwrap();
            let failed = lesson.failed();
            assert!(failed.is_empty(), "{}/{}: {failed:?}", case.family, case.name);
            assert!(lesson.document.checks().count() >= 5, "{}/{}", case.family, case.name);
            let text = document::plain(&lesson.document);
            assert!(!text.contains("NaN"), "{}/{}: {text}", case.family, case.name);
        }
        families.insert(case.family);
    }
    assert!(families.len() > 40, "{families:?}");
}

#[test]
fn a_lesson_says_what_this_model_does() {
    let text = |case: &str| {
        let ids: Vec<u32> = (1..20).collect();
        let text = document::plain(&lesson(&load(case), &ids, &Focus::default()).unwrap().document);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let gemma = text("gemma2/capped_window");
    assert!(gemma.contains("tanh") && gemma.contains("window") && gemma.contains("a norm follows"));
    let bloom = text("bloom/three_heads");
    assert!(bloom.contains("ALiBi") && bloom.contains("× distance"), "{bloom}");
    let gpt2 = text("gpt2/small");
    assert!(
        gpt2.contains("learned for each position") && gpt2.contains("MHA: one each, this model")
    );
    let llama = text("llama/wide_heads_mqa");
    assert!(llama.contains("rotary positions") && llama.contains("MQA: one for all, this model"));
    assert!(text("gpt_oss/defaults").contains("the learned sink"));
}

#[test]
fn one_token_is_a_lesson_and_too_many_are_none() {
    let model = load("gpt2/small");
    for ids in [vec![3], vec![3, 4]] {
        assert!(lesson(&model, &ids, &Focus::default()).unwrap().failed().is_empty());
    }
    let refused = |ids: &[u32], focus: Focus| lesson(&model, ids, &focus).unwrap_err().to_string();
    assert!(refused(&[], Focus::default()).contains("this text has 0"));
    assert!(refused(&vec![1; MOST_WORDS + 1], Focus::default()).contains("taper attend"));
    let token = Focus { token: Some(2), ..Focus::default() };
    assert!(refused(&[1, 2], token).contains("2 is none of 0 to 1"));
    let head = Focus { layer: Some(0), head: Some(99), ..Focus::default() };
    assert!(refused(&[1, 2], head).contains("99 is none of layer 0's"));
}

#[test]
fn a_lessons_page_opens_without_complaint() {
    let Some(path) = shared("stories260K") else { return };
    let Some(browser) = Browser::start() else { return };
    let model = Model::load(path, &LoadOptions::default()).unwrap();
    let text = "Once </section><script>document.title='broken'</script> \u{202e}upon שלום 👩‍👩‍👧\u{7}";
    let ids = model.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
    let lesson = lesson(&model, &ids, &Focus::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lesson.html");
    std::fs::write(&file, document::html(&lesson.document)).unwrap();
    browser.open(&format!("file://{}#s4", file.display()));
    let sections = browser.value("document.querySelectorAll('main section').length");
    assert_eq!(sections.as_u64().unwrap() as usize, lesson.document.sections.len());
    assert!(browser.value("document.title").as_str().unwrap().starts_with("Attention"));
    assert_eq!(browser.value("document.scripts.length").as_u64(), Some(0));
    assert_eq!(browser.value("document.querySelectorAll('.fails').length").as_u64(), Some(0));
    // What the page shows of the weights is what the document holds.
    let shown =
        browser.value("[...document.querySelectorAll('#s6 .bars span')].map((x) => x.textContent)");
    let held = lesson.document.sections[5].parts.iter().find_map(|part| match part {
        document::Part::Bars(bars) => Some(bars.clone()),
        _ => None,
    });
    let held: Vec<String> =
        held.unwrap().iter().map(|(_, x)| format!("{:.1}%", x * 100.0)).collect();
    assert_eq!(shown, serde_json::json!(held));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let wide = browser.value("document.documentElement.scrollWidth <= window.innerWidth");
    assert_eq!(wide, true, "nothing is cut off");
}

#[test]
fn a_ranking_is_a_page() {
    let model = load("llama/tied_gqa");
    let questions = taper::inspect::Questions {
        period: 8,
        texts: 1,
        ablate: Some(taper::inspect::Instead::Mean),
        curve: true,
        text: (0..60).map(|at| at * 7 % 61).collect(),
        ..Default::default()
    };
    let found = taper::inspect::survey(&model, &questions, &mut || Ok(())).unwrap();
    let names = ["Induction", "Previous", "Duplicate", "Sink", "Local", "Entropy", "Worth"];
    let page = taper::inspect::ranking(&[found.clone(), found.clone()]);
    for (section, name) in page.sections.iter().zip(names) {
        assert_eq!(section.title, name);
    }
    let text = document::plain(&page);
    for (head, worth) in found.heads.iter().zip(&found.worths) {
        let row = format!("{:+.4}", worth.loss);
        let name = format!("{}.{}", head.layer, head.head);
        let line = text.lines().find(|line| line.trim_start().starts_with(&name)).unwrap();
        assert!(line.ends_with(&row), "{line}");
    }
    let page = document::html(&page);
    assert!(page.matches("class=\"line\"").count() == 4, "two curves of each of two");
}

#[test]
fn a_lens_is_a_page() {
    let model = load("llama/tied_gqa");
    let ids: Vec<u32> = (0..20).map(|at| at * 7 % 61).collect();
    let readings = lens(&model.decoder, &ids, 0..ids.len(), 3).unwrap();
    let labels: Vec<String> = ids.iter().map(|id| format!("</td>{id}")).collect();
    let label = |id: u32| format!("<{id}>");
    let page = depths("a model", &labels, &readings, &label).unwrap();
    // The last row of every table is the embeddings', the first the whole model's.
    let document::Part::Table(wall) = &page.sections[0].parts[1] else { panic!("no table") };
    assert_eq!((wall.rows.len(), wall.columns.len()), (3, 21));
    for (reading, cell) in readings.iter().zip(&wall.rows[0][1..]) {
        assert_eq!(cell.text, label(reading.answer));
        assert_eq!(cell.shade, reading.depths[2].top[0].probability);
    }
    let html = document::html(&page);
    assert!(html.contains("&lt;/td&gt;7") && !html.contains("</td>7"));
    assert!(html.contains("class=\"line\""));
    assert!(depths("a model", &labels, &[], &label).is_err());
    let many = vec![readings[0].clone(); 513];
    let refused = depths("a model", &labels, &many, &label).unwrap_err().to_string();
    assert!(refused.contains("not 513"), "{refused}");
}
