//! A weight as a colour. Small weights are shown: the scale is the weight's square root.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// From nothing to all, even in lightness, told apart without telling red from green.
pub(super) const NIGHT: [Rgb; 6] =
    [[14, 16, 28], [45, 30, 94], [126, 36, 122], [206, 60, 90], [246, 138, 62], [252, 236, 150]];

/// The same on paper.
pub(super) const PAPER: [Rgb; 6] = [
    [255, 255, 255],
    [226, 234, 246],
    [164, 196, 230],
    [92, 146, 210],
    [44, 90, 168],
    [16, 36, 92],
];

/// What a picture is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Dark.
    Night,
    /// White.
    Paper,
}

/// The colour of a weight, 0 to 1.
pub fn colour(weight: f32, ground: Ground) -> Rgb {
    let stops = match ground {
        Ground::Night => &NIGHT,
        Ground::Paper => &PAPER,
    };
    let along = weight.clamp(0.0, 1.0).sqrt() * (stops.len() - 1) as f32;
    let at = (along as usize).min(stops.len() - 2);
    let part = along - at as f32;
    let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * part).round() as u8;
    let (a, b) = (stops[at], stops[at + 1]);
    [mix(a[0], b[0]), mix(a[1], b[1]), mix(a[2], b[2])]
}
