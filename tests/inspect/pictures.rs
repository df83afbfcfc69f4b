//! Are the pictures what they say? PNG's pixels, SVG that is well formed whatever the tokens are.

use taper::inspect::{Ground, Map, Room, colour, escape, heat, png, script_json, svg, visible};

const HOSTILE: [&str; 7] = [
    "</script><script>alert(1)</script>",
    "\u{202e}abc",
    "\0\u{1b}[31m",
    "\"'&<>",
    "👩‍👩‍👧",
    "שלום",
    "]]>",
];

fn map(side: usize) -> Map {
    let mut map = Map::new(side, side);
    for row in 0..side {
        for column in 0..=row {
            map.values[row * side + column] = 1.0 / (row + 1) as f32;
        }
    }
    map
}

fn labels() -> Vec<String> {
    HOSTILE.iter().map(|text| visible(text)).collect()
}

#[test]
fn a_png_has_its_colours() {
    let bytes = png(&map(7), &labels(), "title", &["note".into()]).unwrap();
    let mut reader = png_reader(&bytes);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let colours: Vec<[u8; 3]> = pixels[..info.buffer_size()]
        .chunks_exact(3)
        .map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();
    for weight in [1.0, 0.5, 1.0 / 7.0] {
        let wanted = colour(weight, Ground::Paper);
        assert!(colours.iter().filter(|c| **c == wanted).count() > 100, "{weight}");
    }
    assert!(png(&map(600), &[], "long", &[]).unwrap().len() < 1 << 20);
}

fn png_reader(bytes: &[u8]) -> png::Reader<std::io::Cursor<&[u8]>> {
    png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap()
}

#[test]
fn an_svg_is_well_formed_whatever_the_tokens_are() {
    let picture = svg(&map(7), &labels(), HOSTILE[0], &[HOSTILE[2].into()]).unwrap();
    assert!(!picture.contains("<script"));
    assert!(
        !picture.contains('\u{202e}') && !picture.contains('\0') && !picture.contains('\u{1b}')
    );
    let (mut depth, mut rest) = (0i32, picture.as_str());
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').unwrap() + at;
        let tag = &rest[at..=end];
        depth += if tag.starts_with("</") { -1 } else { i32::from(!tag.ends_with("/>")) };
        rest = &rest[end + 1..];
    }
    assert_eq!(depth, 0);
}

#[test]
fn what_would_break_a_page_is_written_out() {
    assert_eq!(escape("<a b=\"c\">'&"), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;");
    assert_eq!(escape("a\0b"), "a\u{fffd}b");
    assert!(!script_json("\"</script><!--\u{2028}\"").contains(['<', '\u{2028}']));
    assert_eq!(visible(" a\n\t\u{202e}\u{7f}"), "·a⏎⇥\\u{202e}\\u{7f}");
    assert_eq!(visible(""), "∅");
}

#[test]
fn a_heat_map_fits_its_window() {
    for (side, columns, lines) in
        [(1, 80, 24), (7, 80, 24), (40, 80, 24), (600, 120, 40), (9, 3, 2)]
    {
        let text = heat(&map(side), &labels(), Room { columns, lines });
        let shown = bare(&text);
        let wide = shown.lines().take(shown.lines().count() - 1).map(|l| l.chars().count()).max();
        assert!(wide.unwrap() <= columns.max(20), "{side}: {wide:?} in {columns}");
        assert!(shown.lines().count() <= lines.max(4), "{side}: {} lines", shown.lines().count());
    }
}

/// Without colours.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('m').unwrap();
        rest = &rest[at + end + 1..];
    }
    out + rest
}
