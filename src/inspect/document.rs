//! A text with tables, bars and plots, said once: `explain` and `heads` fill it, and the files below
//! write it for a terminal, as Markdown and as a page. It measures nothing.

mod html;
mod markdown;
mod plain;
mod plot;

pub use html::html;
pub use markdown::markdown;
pub use plain::plain;

/// A whole text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// What it is about.
    pub title: String,
    /// What a reader learns from it.
    pub lead: String,
    /// Its sections, in order.
    pub sections: Vec<Section>,
}

/// Some paragraphs under a heading.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What stands under it.
    pub parts: Vec<Part>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// A formula or numbers in a line of their own.
    Formula(String),
    /// Rows and columns.
    Table(Table),
    /// Shares of one, each with a name.
    Bars(Vec<(String, f64)>),
    /// Lines over common axes.
    Plot(Plot),
    /// A finished picture, for pages only: SVG.
    Picture(String),
    /// Something that has to be so.
    Check(Check),
}

/// Rows and columns; numbers stand to the right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Cells are squares of colour beside each other, their texts unimportant.
    pub dense: bool,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How deep it is coloured where colours are: 0 to 1.
    pub shade: f64,
    /// It stands out.
    pub strong: bool,
}

/// Lines over common axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plot {
    /// What runs to the right.
    pub across: String,
    /// What runs upwards.
    pub upwards: String,
    /// Each line's name and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Something that has to be so, and how far from it the run was.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What has to be so.
    pub what: String,
    /// The largest deviation found.
    pub off: f64,
    /// The largest one allowed.
    pub limit: f64,
}

impl Check {
    /// Is it so? A deviation that is no number is none.
    pub fn holds(&self) -> bool {
        self.off <= self.limit
    }

    /// In a line.
    pub fn line(&self) -> String {
        let mark = if self.holds() { "✓" } else { "✗" };
        format!("{mark} {} (off by {:.1e}, allowed {:.0e})", self.what, self.off, self.limit)
    }
}

impl Cell {
    /// A text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number in so many digits.
    pub fn number(value: f64, digits: usize) -> Self {
        Self::new(format!("{value:.digits$}"))
    }

    /// The same, coloured.
    pub fn shaded(mut self, shade: f64) -> Self {
        self.shade = shade;
        self
    }

    /// The same, standing out.
    pub fn strong(mut self, strong: bool) -> Self {
        self.strong = strong;
        self
    }
}

impl Table {
    /// With these columns, no rows yet.
    pub fn new(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).into()).collect();
        Self { columns, ..Self::default() }
    }
}

impl Section {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), parts: Vec::new() }
    }

    /// Adds a paragraph.
    pub fn say(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    /// Adds what has to be so.
    pub fn check(&mut self, what: impl Into<String>, off: f64, limit: f64) {
        self.parts.push(Part::Check(Check { what: what.into(), off, limit }));
    }
}

impl Document {
    /// Everything that has to be so.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.sections.iter().flat_map(|section| &section.parts).filter_map(|part| match part {
            Part::Check(check) => Some(check),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
