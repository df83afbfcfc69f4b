//! Both losses stand where they should.

use super::*;

fn line(step: usize, loss: Option<f64>, valid_loss: Option<f64>) -> Line {
    Line { step, loss, valid_loss, ..Line::default() }
}

#[test]
fn both_losses_are_drawn_where_they_stand() {
    let lines = [line(10, Some(4.0), None), line(20, Some(2.0), None), line(20, None, Some(3.0))];
    let text = text(&lines, 30, 5);
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[0].starts_with("  4.000 │·"), "{text}");
    assert!(rows[2].ends_with('o'), "{text}");
    assert!(rows[4].starts_with("  2.000 │") && rows[4].ends_with('·'), "{text}");
    assert!(rows[6].contains("10") && rows[6].ends_with("20"), "{text}");
    let svg = svg(&lines);
    assert!(svg.contains("d=\"M48.0 16.0L704.0 286.0\""), "{svg}");
    assert!(svg.contains("validation loss, nats a token, last 3.000"), "{svg}");
}

#[test]
fn nothing_is_drawn_of_nothing() {
    let lines = [line(1, Some(f64::NAN), None), line(2, None, None)];
    assert_eq!((svg(&lines), text(&lines, 40, 5)), (String::new(), String::new()));
}
