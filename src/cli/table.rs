//! Tables for people: columns that line up, and nothing around them.

use super::output::printable;

/// Rows under a line of column names.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its column names and no rows.
    pub(crate) fn new<const N: usize>(names: [&str; N]) -> Self {
        Self { rows: vec![names.iter().map(|name| name.to_ascii_uppercase()).collect()] }
    }

    /// Adds a row. A cell without text shows as `-`.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell) };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The lines, each without spaces at its end.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["name", "owner", "targets"]);
        table.row(["orders/v1".into(), "api".into(), "http://127.0.0.1:1".into()]);
        table.row(["ü/v1".into(), String::new(), "a\nb".into()]);
        assert_eq!(
            table.lines(),
            ["NAME       OWNER  TARGETS", "orders/v1  api    http://127.0.0.1:1", "ü/v1       -      a\\nb"]
        );
    }
}
