//! Letters for pictures of dots: 5 × 8, so that a PNG needs no font of the machine's. Latin letters
//! only; others are a box, and stand in full in SVG.

/// Rows of a letter, and its width.
pub(super) const HEIGHT: usize = 8;
pub(super) const WIDTH: usize = 5;

/// Eight rows for each character from space to `~`, a digit to the base 32 each: its five bits are
/// the dots from left to right.
const GLYPHS: &str = "\
    0000000044440040AAA00000AAVAVAA04FKE5U40OP248J30CIK8LID0448000002488842084222480\
    04LEL400044V44000000C480000V000000000CC001248G00EHJLPHE04C4444E0EH1248V0V2421HE0\
    26AIV220VGU11HE068GUHHE0V1248880EHHEHHE0EHHF12C00CC0CC000CC0C480248G842000V0V000\
    84212480EH124040EH1DLLE0EHHVHHH0UHHUHHU0EHGGGHE0SIHHHIS0VGGUGGV0VGGUGGG0EHGNHHF0\
    HHHVHHH0E44444E072222IC0HIKOKIH0GGGGGGV0HRLLHHH0HHPLJHH0EHHHHHE0UHHUGGG0EHHHLID0\
    UHHUKIH0FGGE11U0V4444440HHHHHHE0HHHHHA40HHHLLLA0HHA4AHH0HHHA4440V1248GV0E88888E0\
    0G842100E22222E04AH00000000000V08420000000E1FHF0GGMPHHU000EGGHE011DJHHF000EHVGE0\
    698S888000FHHF1EGGMPHHH040C444E0206222ICGGIKOKI0C44444E000QLLHH000MPHHH000EHHHE0\
    00UHHUGG00DJHF1100MPGGG000EGE1U088S8896000HHHJD000HHHA4000HHLLA000HA4AH000HHHF1E\
    00V248V0244844204444444084424480008L2000";

/// What stands for a space, a line's end, a tab, a cut, and a letter that is not here.
const DOT: &str = "00004000";
const RETURN: &str = "0159V840";
const TAB: &str = "009DVD90";
const CUT: &str = "000000L0";
const BOX: &str = "VHHHHHV0";

/// The dots of a character: true where there is ink.
pub(super) fn dots(c: char) -> [[bool; WIDTH]; HEIGHT] {
    let rows = match plain(c) {
        '·' => DOT,
        '⏎' => RETURN,
        '⇥' => TAB,
        '…' => CUT,
        c @ ' '..='~' => {
            let at = (c as usize - ' ' as usize) * HEIGHT;
            GLYPHS.get(at..at + HEIGHT).unwrap_or(BOX)
        }
        _ => BOX,
    };
    let mut dots = [[false; WIDTH]; HEIGHT];
    for (row, digit) in dots.iter_mut().zip(rows.chars()) {
        let bits = digit.to_digit(32).unwrap_or(0);
        for (column, dot) in row.iter_mut().enumerate() {
            *dot = bits >> (WIDTH - 1 - column) & 1 == 1;
        }
    }
    dots
}

/// A letter without its accent.
fn plain(c: char) -> char {
    match c {
        'à'..='å' => 'a',
        'À'..='Å' => 'A',
        'è'..='ë' => 'e',
        'È'..='Ë' => 'E',
        'ì'..='ï' => 'i',
        'Ì'..='Ï' => 'I',
        'ò'..='ö' | 'ø' => 'o',
        'Ò'..='Ö' | 'Ø' => 'O',
        'ù'..='ü' => 'u',
        'Ù'..='Ü' => 'U',
        'ç' => 'c',
        'ñ' => 'n',
        'ß' => 's',
        'ý' | 'ÿ' => 'y',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '–' | '—' => '-',
        c => c,
    }
}
