//! The pages for whoever has no mouse, hears instead of sees, prefers the dark, or holds a phone.

use taper::inspect::{
    Focus, Instead, Questions, Token, depths, document, lens, lesson, page, ranking, survey,
};
use taper::model::{LoadOptions, Model};

use crate::browser::Browser;
use crate::common::shared;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const UP: &str = "\u{e013}";
const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";
const DOWN: &str = "\u{e015}";
const END: &str = "\u{e010}";

const VIEWS: [&str; 5] = ["wall", "map", "lines", "lens", "heads"];

/// Roles that say nothing without a name.
const NAMED: [&str; 13] = [
    "button",
    "link",
    "tab",
    "combobox",
    "slider",
    "application",
    "tabpanel",
    "tablist",
    "form",
    "complementary",
    "group",
    "image",
    "navigation",
];

/// A folder with all three pages about a real model.
struct Pages {
    _folder: tempfile::TempDir,
    viewer: String,
    lesson: String,
    ranking: String,
    depths: String,
}

fn pages() -> Option<Pages> {
    let model = Model::load(shared("stories260K")?, &LoadOptions::default()).unwrap();
    let text =
        "Once upon a time, there was a little girl. She liked to play, and she liked to run.";
    let ids = model.tokenizer.as_ref().unwrap().encode(text, true).unwrap();
    let questions = Questions {
        period: 12,
        texts: 1,
        ablate: Some(Instead::Zero),
        curve: true,
        text: ids.clone(),
        ..Questions::default()
    };
    let found = survey(&model, &questions, &mut || Ok(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        format!("file://{}", file.display())
    };
    let lesson = lesson(&model, &ids, &Focus::default()).unwrap();
    let readings = lens(&model.decoder, &ids, 0..ids.len(), 5).unwrap();
    let labels: Vec<String> = Token::of(&model, &ids).iter().map(Token::label).collect();
    let label = |id: u32| Token::of(&model, &[id])[0].label();
    let depths = depths("stories260K", &labels, &readings, &label).unwrap();
    Some(Pages {
        depths: write("depths.html", &document::html(&depths)),
        viewer: write("viewer.html", &page(&model, &ids, ids.len()).unwrap()),
        lesson: write("lesson.html", &document::html(&lesson.document)),
        ranking: write("ranking.html", &document::html(&ranking(&[found]))),
        _folder: folder,
    })
}

fn focused(browser: &Browser) -> String {
    let name =
        "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent)";
    browser.value(name).as_str().unwrap().trim().to_string()
}

fn view(browser: &Browser, pages: &Pages, view: &str) {
    browser.open("about:blank");
    browser.open(&format!("{}#view={view}&layer=2&head=1", pages.viewer));
    browser.until("document.getElementById('view').children.length > 0");
}

#[test]
fn a_keyboard_is_enough() {
    let (Some(pages), Some(browser)) = (pages(), Browser::start()) else { return };
    // However much a view shows, Tab passes through it in a few steps.
    for (name, most) in [("wall", 4), ("map", 7), ("lines", 8), ("lens", 5), ("heads", 12)] {
        view(&browser, &pages, name);
        let mut stops = Vec::new();
        while stops.len() <= most {
            browser.press(TAB);
            if browser.value("document.activeElement === document.body") == true {
                break;
            }
            stops.push(focused(&browser));
            assert!(browser.value("document.activeElement.matches(':focus-visible')") == true);
        }
        assert!(stops.len() <= most && stops.len() >= 4, "{name}: {stops:?}");
        let inside = browser.value("document.querySelectorAll('#view [tabindex=\"0\"]').length");
        assert_eq!(inside, 1, "{name}: one place to enter the view");
    }
    // From the wall into a head, along its map, and back to where one came from.
    view(&browser, &pages, "wall");
    (0..4).for_each(|_| browser.press(TAB));
    assert!(focused(&browser).starts_with("Head 2.1:"), "{}", focused(&browser));
    [RIGHT, DOWN].into_iter().for_each(|key| browser.press(key));
    assert!(focused(&browser).starts_with("Head 3.2:"), "{}", focused(&browser));
    browser.press(ENTER);
    browser.until("document.activeElement.matches('canvas.map')");
    browser.until("location.hash.includes('layer=3') && location.hash.includes('head=2')");
    [UP, LEFT, LEFT].into_iter().for_each(|key| browser.press(key));
    browser.until("location.hash.includes('key=') && location.hash.includes('query=')");
    let place = browser.value("[state.query, state.key, count]");
    let place: Vec<u64> = place.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
    assert_eq!(place[..2], [place[2] - 2, place[2] - 4]);
    browser.until("document.getElementById('readout').textContent.includes('looks at')");
    let said = browser.value("document.getElementById('readout').textContent");
    browser.press("1");
    browser.until("document.activeElement.matches('.thumb')");
    assert!(focused(&browser).starts_with("Head 3.2:"));
    // A fresh page at that address says the same.
    let hash = browser.value("location.hash").as_str().unwrap().replace("wall", "map");
    browser.open("about:blank");
    browser.open(&format!("{}{hash}", pages.viewer));
    browser.until("document.getElementById('readout').textContent !== ''");
    assert_eq!(browser.value("document.getElementById('readout').textContent"), said);
    // Lines and lens by arrows; the tabs too.
    view(&browser, &pages, "lines");
    browser.value("void document.querySelector('.queries [tabindex=\"0\"]').focus()");
    [DOWN, DOWN, RIGHT].into_iter().for_each(|key| browser.press(key));
    browser.until("document.activeElement.closest('.keys')?.querySelector('[data-at=\"2\"]') === document.activeElement");
    browser.until("document.getElementById('readout').textContent.includes('is looked at by')");
    view(&browser, &pages, "lens");
    browser.value("void document.querySelector('.lens [tabindex=\"0\"]').focus()");
    [DOWN, END].into_iter().for_each(|key| browser.press(key));
    browser.until("document.querySelector('#lens-detail h2').textContent.includes('layer 3')");
    browser.value("void document.querySelector('#tabs [tabindex=\"0\"]').focus()");
    browser.press(RIGHT);
    browser
        .until("document.activeElement.id === 'tab-heads' && document.querySelector('.ranking')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn everything_has_a_name_to_hear() {
    let (Some(pages), Some(browser)) = (pages(), Browser::start()) else { return };
    browser.command("Accessibility.enable", &serde_json::json!({}));
    for name in VIEWS {
        view(&browser, &pages, name);
        let heard = browser.heard();
        let nameless = |role: &str| heard.iter().any(|(r, text)| r == role && text.is_empty());
        let found: Vec<&str> = NAMED.into_iter().filter(|role| nameless(role)).collect();
        assert!(found.is_empty(), "{name}: {found:?} without a name");
        let has = |role: &str, text: &str| {
            assert!(
                heard.iter().any(|(r, t)| r == role && t.contains(text)),
                "{name}: {role} {text}"
            );
        };
        has("tablist", "Views");
        assert_eq!(heard.iter().filter(|(role, _)| role == "tab").count(), VIEWS.len());
        match name {
            "wall" => has("button", "Head 2.1: "),
            "map" => has("application", "Weights of head 2.1"),
            "lines" => has("list", "Who looks"),
            "lens" => has("button", "layer 4, after"),
            _ => has("columnheader", "induction"),
        }
    }
    for page in [&pages.lesson, &pages.ranking, &pages.depths] {
        browser.open(page);
        let heard = browser.heard();
        let roles = ["link", "button", "image", "navigation"];
        assert!(
            !heard.iter().any(|(r, t)| roles.contains(&r.as_str()) && t.is_empty()),
            "{heard:?}"
        );
        assert!(heard.iter().filter(|(role, _)| role == "heading").count() >= 5);
    }
}

#[test]
fn a_phone_and_the_dark_show_it_too() {
    let (Some(pages), Some(browser)) = (pages(), Browser::start()) else { return };
    browser.as_a_phone();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        for name in VIEWS {
            view(&browser, &pages, name);
            assert_eq!(browser.value("document.documentElement.dataset.theme"), scheme);
            fits_and_is_legible(&browser, name);
            if name == "wall" {
                let least = "Math.min(...[...document.querySelectorAll('.thumb')].map((x) => x.getBoundingClientRect().width))";
                assert!(browser.value(least).as_f64().unwrap() >= 24.0, "too small for a finger");
            }
        }
        for page in [&pages.lesson, &pages.ranking, &pages.depths] {
            browser.open(page);
            fits_and_is_legible(&browser, page);
        }
    }
    // A tap chooses a cell; no pointer hovers here.
    view(&browser, &pages, "map");
    let point = "(() => { const box = document.querySelector('canvas.map').getBoundingClientRect(); \
                 return [box.left + box.width * 0.4, box.top + box.height * 0.8]; })()";
    let point = browser.value(point);
    let touch = serde_json::json!([{ "x": point[0], "y": point[1] }]);
    for (kind, points) in [("touchStart", touch), ("touchEnd", serde_json::json!([]))] {
        let touch = serde_json::json!({ "type": kind, "touchPoints": points });
        browser.command("Input.dispatchTouchEvent", &touch);
    }
    browser.until(
        "state.query > 10 && document.getElementById('readout').textContent.includes('looks at')",
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Nothing sticks out of the page, and text is dark enough on light, or light enough on dark.
#[track_caller]
fn fits_and_is_legible(browser: &Browser, what: &str) {
    let fits = browser.value("document.documentElement.scrollWidth <= window.innerWidth");
    assert_eq!(fits, true, "{what} is wider than its window");
    // Contrast as WCAG 2 defines it, of texts that stand on a plain ground.
    let least = browser.value(
        "(() => { \
           const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((x) => x / 255) \
             .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); \
             return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; \
           const ground = (e) => { for (; e; e = e.parentElement) { \
             const c = getComputedStyle(e).backgroundColor; \
             if (!/, 0\\)$/.test(c)) return /rgba/.test(c) ? null : c; } return 'rgb(255, 255, 255)'; }; \
           let least = [21, '']; \
           for (const e of document.querySelectorAll('p, h1, h2, th, td, dt, dd, a, label, button, li, b, span, small')) { \
             if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue; \
             if (e.closest('[disabled]') || parseFloat(getComputedStyle(e).fontSize) === 0) continue; \
             const back = ground(e); if (!back) continue; \
             const [a, b] = [light(getComputedStyle(e).color), light(back)].sort((x, y) => y - x); \
             const ratio = (a + 0.05) / (b + 0.05); \
             if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 120)]; } \
           return least; })()",
    );
    assert!(least[0].as_f64().unwrap() >= 4.5, "{what}: {least}");
}
