//! Boxed tables, as in the original description, from the columns that an entry has.

use comfy_table::{ColumnConstraint, ContentLineStyle, LineStyle, Table, TableStyle, Width};

use super::output::{clean, percent};
use crate::clock::ago;
use crate::document::WorkerLoad;

/// Lines between all columns and below the header.
const BOXES: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// The same in ASCII.
const ASCII: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// An empty cell.
pub(super) const NOTHING: &str = "-";

/// An entry of a list, which a table shows as a row.
pub(super) trait Tabular: Sized {
    /// The columns, from left to right.
    fn columns() -> Vec<Column<Self>>;
}

/// A column: its head, and what it shows of an entry.
pub(super) struct Column<T> {
    head: &'static str,
    cell: fn(&T) -> String,
    least_width: u16,
}

impl<T> Column<T> {
    pub(super) fn new(head: &'static str, cell: fn(&T) -> String) -> Self {
        Self { head, cell, least_width: 0 }
    }

    /// One that is at least so many characters wide, so that columns do not move under `--watch` when its cells change.
    pub(super) fn at_least(least_width: u16, head: &'static str, cell: fn(&T) -> String) -> Self {
        Self { head, cell, least_width }
    }
}

/// Draws a row per entry below the heads; every cell is made harmless for a terminal.
pub(super) fn table<T: Tabular>(unicode: bool, items: &[T]) -> String {
    let columns = T::columns();
    let mut table = Table::new();
    table.load_style(if unicode { BOXES } else { ASCII });
    table.force_no_tty();
    table.set_header(columns.iter().map(|column| column.head).collect::<Vec<_>>());
    for item in items {
        table.add_row(columns.iter().map(|column| clean(&(column.cell)(item))).collect::<Vec<_>>());
    }
    for (index, width) in columns.iter().map(|column| column.least_width).enumerate().filter(|(_, width)| *width > 0) {
        if let Some(column) = table.column_mut(index) {
            // A constraint counts the blank on each side.
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
        }
    }
    format!("{table}\n")
}

/// The same as comma-separated values (RFC 4180), a cell that shows nothing empty. Spreadsheets run what begins like a formula,
/// so such a cell gets an apostrophe in front, as in reports.
pub(super) fn csv<T: Tabular>(items: &[T]) -> String {
    let columns = T::columns();
    let line = |cells: Vec<String>| format!("{}\n", cells.join(","));
    let heads = line(columns.iter().map(|column| csv_cell(column.head)).collect());
    let rows = items.iter().map(|item| line(columns.iter().map(|column| csv_cell(&(column.cell)(item))).collect()));
    std::iter::once(heads).chain(rows).collect()
}

fn csv_cell(text: &str) -> String {
    let text = clean(text);
    if text == NOTHING {
        return String::new();
    }
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '|', '%']);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return text;
    }
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, text.replace('"', "\"\""))
}

/// A text that may be missing.
pub(super) fn or_nothing(text: Option<&String>) -> String {
    text.map_or(NOTHING, String::as_str).to_owned()
}

/// `3/10 (30%)`.
pub(super) fn load(load: Option<WorkerLoad>) -> String {
    load.map_or_else(
        || NOTHING.to_owned(),
        |load| {
            let share = if load.capacity == 0 { 0.0 } else { percent(load.running.into(), load.capacity.into()) };
            format!("{}/{} ({share:.0}%)", load.running, load.capacity)
        },
    )
}

/// A status, with its age where it is not of now: `Active, 12 s ago`.
pub(super) fn aged(status: &str, age_ms: Option<u64>) -> String {
    age_ms.map_or_else(|| status.to_owned(), |age_ms| format!("{status}, {}", ago(age_ms)))
}

/// The cells of each row of a table, the heads first.
#[cfg(test)]
pub(super) fn cells<T: Tabular>(items: &[T]) -> Vec<Vec<String>> {
    let text = table(false, items);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}
