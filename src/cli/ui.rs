//! What goes to the screen: tables that fit the terminal, sizes and times for people, JSON for programs.
//!
//! # Invariants
//! - stdout carries data only; everything else goes to stderr.
//! - Text that came from outside (names, annotations, registry messages) passes [`clean`] before it is shown, so that no
//!   escape sequence or direction override reaches a terminal.
//! - A closed stdout (`| head`) ends the command quietly.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Says how a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Writes results to stdout.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// How results are printed.
    pub format: Format,
}

impl Ui {
    /// Prints `value` as JSON or YAML, or calls `people` to get the text for people.
    ///
    /// # Errors
    /// Those of writing to stdout; a closed pipe is no error.
    pub fn print<T: Serialize>(&self, value: &T, people: impl FnOnce() -> String) -> io::Result<()> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(value).map_err(io::Error::other)? + "\n",
            Format::Yaml => crate::yaml::to_text(value).map_err(io::Error::other)?,
            Format::Table => people(),
        };
        write_all(text.as_bytes())
    }
}

/// Writes raw bytes to stdout; a closed pipe is no error.
///
/// # Errors
/// Every other failure of writing.
pub fn write_all(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Returns the width of the terminal; when stdout is none, what `COLUMNS` says, or 120.
pub fn width() -> u16 {
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), _)) if io::stdout().is_terminal() => width.max(40),
        _ => asked().unwrap_or(120).max(40),
    }
}

/// What stands between two columns.
const GAP: usize = 2;

/// Lays out rows under headers without frames, as kubectl does. Names and digests are never broken, so that they can be
/// copied: when three or more columns do not fit the terminal, the first one gets a line of its own and the widest of
/// the others wraps at blanks.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows = rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect());
    let mut all: Vec<Vec<String>> = vec![headers.iter().map(|header| header.to_uppercase()).collect()];
    all.extend(rows);
    layout(&all, usize::from(width()))
}

/// Lays out rows as [`table`] does, and nothing when there are none.
pub fn table_of_any(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() { String::new() } else { table(headers, rows) }
}

/// Lays out rows as a table of Markdown.
pub fn markdown_table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", headers.join(" | "), "---|".repeat(headers.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| markdown(cell)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// Takes the meaning that Markdown gives to some characters away, and cleans the text.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Writes rows as CSV (RFC 4180), with a header.
pub fn csv(headers: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(csv_cell).collect();
        cells.join(",") + "\r\n"
    };
    let mut text = line(&mut headers.iter().copied());
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    text
}

fn csv_cell(text: &str) -> String {
    let mut text = clean(text);
    // Spreadsheets take such a cell for a formula; what comes from outside must not calculate.
    if text.starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Returns what stands between a table and the next one: nothing when there was none.
pub fn between(before: &str) -> &'static str {
    if before.is_empty() { "" } else { "\n" }
}

fn layout(rows: &[Vec<String>], width: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut widths = vec![0; columns];
    for row in rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let needed = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let stacked = columns > 2 && needed(&widths) > width;
    let (first, indent) = if stacked { (1, GAP) } else { (0, 0) };
    let over = (indent + needed(&widths[first..])).saturating_sub(width);
    if let Some(widest) = widths[first..].iter_mut().max().filter(|_| stacked && over > 0) {
        *widest = widest.saturating_sub(over).max(20.min(*widest));
    }
    let mut text = String::new();
    for row in rows {
        if let (true, Some(name)) = (stacked, row.first()) {
            // A further name of the same thing has no other cells.
            text.push_str(&format!("{name}\n"));
        }
        let cells: Vec<Vec<String>> =
            row.iter().zip(&widths).skip(first).map(|(cell, width)| wrapped(cell, *width)).collect();
        if stacked && cells.iter().all(Vec::is_empty) {
            continue;
        }
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or_default().max(1) {
            let mut line = " ".repeat(indent);
            for (cell, width) in cells.iter().zip(&widths[first..]) {
                let part = cell.get(at).map(String::as_str).unwrap_or_default();
                line.push_str(&format!("{part:width$}{:GAP$}", ""));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Breaks a text at blanks into lines of at most `width` characters; a longer word stays whole, and so do the blanks
/// within a line.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        let blank = |at: &usize| rest[*at..].starts_with(' ');
        let cut = match end == rest.len() || blank(&end) {
            true => end,
            false => rest[..end].rfind(' ').unwrap_or_else(|| rest[end..].find(' ').map_or(rest.len(), |at| end + at)),
        };
        let (line, tail) = rest.split_at(cut);
        lines.push(line.trim_end().to_owned());
        rest = tail.trim_start();
    }
    lines
}

/// Replaces what could drive a terminal or hide text: control characters and direction overrides.
pub fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// Cleans a text of several lines; further lines are indented, so that none passes for a line of our own.
pub fn clean_lines(text: &str) -> String {
    text.trim().lines().map(clean).collect::<Vec<_>>().join("\n  ")
}

/// Writes a size for people, in powers of ten as registries and disks count: `595 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Writes a duration for people: `0.4 s`, `1 min 5 s`, `2 h 3 min`.
pub fn duration(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Writes a count with its noun: `1 image`, `3 images`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_050_600_000, 594_900_000, 999_600].map(size),
            ["0 B", "999 B", "1.0 kB", "1.1 GB", "595 MB", "1.0 MB"]
        );
        assert_eq!(duration(Duration::from_millis(440)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(65)), "1 min 5 s");
        assert_eq!(duration(Duration::from_secs(7380)), "2 h 3 min");
    }

    #[test]
    fn cells_stay_cells() {
        let row = vec!["a|b".to_owned(), "*x*".to_owned()];
        assert_eq!(markdown_table(&["one", "two"], &[row]), "| one | two |\n|---|---|\n| a\\|b | \\*x\\* |\n");
        let row = vec!["a,\"b\"\n".to_owned(), "=SUM(A1)".to_owned()];
        assert_eq!(csv(&["one", "two"], &[row]), "one,two\r\n\"a,\"\"b\"\"\u{fffd}\",'=SUM(A1)\r\n");
    }

    #[test]
    fn outside_text_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn narrow_tables_break_no_name() {
        let rows = [
            ["IMAGE", "SIZE", "WHY"],
            ["quay.io/some/name:1", "1 MB", "line one of a file and more"],
            ["alias", "", ""],
        ];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            layout(&rows, 29),
            "IMAGE\n  SIZE  WHY\nquay.io/some/name:1\n  1 MB  line one of a file\n        and more\nalias\n"
        );
        assert_eq!(wrapped("a  bb cccccc d", 5), ["a  bb", "cccccc", "d"]);
        assert_eq!(wrapped("", 5), Vec::<String>::new());
        // A digest is longer than the terminal is wide: it stays whole.
        let rows = [["digest".to_owned(), "a".repeat(60)].to_vec()];
        assert_eq!(layout(&rows, 40), format!("digest  {}\n", "a".repeat(60)));
    }

    #[test]
    fn tables_have_aligned_columns_and_no_trailing_space() {
        let text = table(&["image", "size"], [vec!["a".into(), "1 MB".into()], vec!["longer".into(), "22 MB".into()]]);
        assert_eq!(text, "IMAGE   SIZE\na       1 MB\nlonger  22 MB\n");
    }
}
