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

/// Returns the width of the terminal, or 120 columns when stdout is none.
pub fn width() -> u16 {
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), _)) if io::stdout().is_terminal() => width.max(40),
        _ => 120,
    }
}

/// Lays out rows under headers without frames, as kubectl does; long cells wrap so that the table fits the terminal.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_width(width())
        .set_header(headers.iter().map(|header| header.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| clean(&cell)));
    }
    let last = headers.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Replaces what could drive a terminal or hide text: control characters and direction overrides.
pub fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
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
    fn outside_text_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn tables_have_aligned_columns_and_no_trailing_space() {
        let text = table(&["image", "size"], [vec!["a".into(), "1 MB".into()], vec!["longer".into(), "22 MB".into()]]);
        assert_eq!(text, "IMAGE   SIZE\na       1 MB\nlonger  22 MB\n");
    }
}
