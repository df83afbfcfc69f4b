//! Whatever a document says, it stays text; what does not hold is marked.

use super::*;

const HOSTILE: &str = "</script><b>|`*_\u{202e}";

fn hostile() -> Document {
    let mut section = Section::new(HOSTILE);
    section.say(HOSTILE);
    section.check(HOSTILE, f64::NAN, 1.0);
    section.parts.push(Part::Formula(HOSTILE.into()));
    section.parts.push(Part::Bars(vec![(HOSTILE.into(), 0.5)]));
    let mut table = Table::new(&[HOSTILE, "n"]);
    table.rows.push(vec![Cell::new(HOSTILE), Cell::number(-1.5, 2).shaded(0.4).strong(true)]);
    section.parts.push(Part::Table(table));
    let line = |name: &str| (name.to_string(), vec![(0.0, 2.0), (1.0, 3.0)]);
    section.parts.push(Part::Plot(Plot {
        across: HOSTILE.into(),
        upwards: "loss".into(),
        lines: vec![line(HOSTILE), line("b")],
    }));
    Document { title: HOSTILE.into(), lead: HOSTILE.into(), sections: vec![section] }
}

#[test]
fn nothing_in_a_document_is_markup() {
    let document = hostile();
    let page = html(&document);
    assert!(!page.contains("<b>|") && !page.contains("</script>"));
    let markdown = markdown(&document);
    let outside_code = markdown.lines().filter(|line| !line.starts_with("    "));
    for line in outside_code {
        assert!(!line.contains("<b>") && !line.contains(" |`"), "{line}");
    }
    // A row of a table has as many bars as it has columns, and one more.
    let row = markdown.lines().find(|line| line.contains("-1.50")).unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 3, "{row}");
    assert!(plain(&document).contains("-1.50 ←"));
}

#[test]
fn what_is_no_number_does_not_hold() {
    let document = hostile();
    assert_eq!(document.checks().count(), 1);
    assert!(document.checks().all(|check| !check.holds()));
    let check = |off| Check { what: "x".into(), off, limit: 1e-5 };
    assert!(check(1e-6).holds() && !check(1e-4).holds());
    assert!(html(&document).contains("check fails"));
}
