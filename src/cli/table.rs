//! Tables that fit: columns as wide as they need, numbers to the right, and never more than 80 columns.
//!
//! What does not fit loses its least important columns first, and says which; when nothing is left to leave out the
//! widest column is cut.

use std::io;

use super::output::{Colour, Screen, WIDTH, cut};

const GAP: usize = 2;

/// A column: its heading, its side, and how easily it is spared.
pub(super) struct Column {
    head: &'static str,
    right: bool,
    /// 0: never left out; the highest goes first.
    spare: u8,
}

/// A column of words.
pub(super) const fn left(head: &'static str, spare: u8) -> Column {
    Column { head, right: false, spare }
}

/// A column of numbers.
pub(super) const fn right(head: &'static str, spare: u8) -> Column {
    Column { head, right: true, spare }
}

/// What stands in one place.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    pub(super) fn painted(text: String, colour: Option<Colour>) -> Cell {
        Cell { text, colour }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, colour: None }
    }
}

/// Rows under headings.
pub(super) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: &'static [Column]) -> Table {
        Table { columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn print(&self, screen: &mut Screen) -> io::Result<()> {
        let (widths, spared) = self.layout();
        let head: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::painted(column.head.to_owned(), Some(Colour::Bold)))
            .collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let line = self.line(row, &widths, screen);
            screen.line(&line)?;
        }
        if !spared.is_empty() {
            let note = cut(&format!("(no room for {}; --json has all)", spared.join(", ")), WIDTH);
            let note = screen.paint(Some(Colour::Dim), &note);
            screen.line(&note)?;
        }
        Ok(())
    }

    /// A width for each column, `None` for those left out, and the names of these.
    fn layout(&self) -> (Vec<Option<usize>>, Vec<&'static str>) {
        let natural = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
            Some(widest.max(column.head.chars().count()))
        };
        let mut widths: Vec<Option<usize>> = self.columns.iter().enumerate().map(natural).collect();
        let mut spared = Vec::new();
        loop {
            let shown = widths.iter().flatten().count();
            let total = widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1);
            if total <= WIDTH {
                return (widths, spared);
            }
            let candidates = self.columns.iter().enumerate().filter(|(index, _)| widths[*index].is_some());
            match candidates.max_by_key(|(_, column)| column.spare) {
                Some((index, column)) if column.spare > 0 => {
                    widths[index] = None;
                    spared.push(column.head);
                }
                _ => {
                    let Some(widest) = widths.iter_mut().flatten().max() else { return (widths, spared) };
                    *widest = widest.saturating_sub(total - WIDTH).max(*widest / 2);
                }
            }
        }
    }

    fn line(&self, row: &[Cell], widths: &[Option<usize>], screen: &Screen) -> String {
        let mut line = String::new();
        // blanks are owed until something follows: none at the end of a line
        let mut owed = 0;
        for ((cell, column), width) in row.iter().zip(self.columns).zip(widths) {
            let Some(width) = *width else { continue };
            let text = cut(&cell.text, width);
            let blanks = width.saturating_sub(text.chars().count());
            if column.right {
                owed += blanks;
            }
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed));
                line.push_str(&screen.paint(cell.colour, &text));
                owed = 0;
            }
            owed += GAP + if column.right { 0 } else { blanks };
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[left("NAME", 0), right("N", 0), left("EXTRA", 1), left("MORE", 2)];

    fn print(rows: &[[&str; 4]]) -> Vec<String> {
        let mut table = Table::new(COLUMNS);
        rows.iter().for_each(|row| table.push(row.map(|text| Cell::from(text.to_owned())).to_vec()));
        let mut out = Vec::new();
        table.print(&mut Screen::new(&mut out, false)).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn numbers_stand_to_the_right_and_no_line_ends_in_blanks() {
        let lines = print(&[["isp1", "7", "x", ""], ["b", "1234", "yy", "z"]]);
        assert_eq!(lines, ["NAME     N  EXTRA  MORE", "isp1     7  x", "b     1234  yy     z"]);
    }

    #[test]
    fn what_does_not_fit_is_spared_by_rank_and_said() {
        let long = "m".repeat(70);
        let lines = print(&[["isp1", "7", "x", &long]]);
        assert_eq!(lines, ["NAME  N  EXTRA", "isp1  7  x", "(no room for MORE; --json has all)"]);
        let huge = "h".repeat(300);
        for line in print(&[[&huge, &huge, &huge, &huge]]) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn colour_does_not_move_a_column() {
        let mut table = Table::new(COLUMNS);
        let green = Cell::painted("up".to_owned(), Some(Colour::Green));
        table.push(vec![green, String::from("1").into(), String::new().into(), String::new().into()]);
        let mut out = Vec::new();
        table.print(&mut Screen::new(&mut out, true)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\x1b[32mup\x1b[0m    1\n"), "{text:?}");
    }
}
