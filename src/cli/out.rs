//! Standard output: lines that survive a closed pipe, colours where they are wanted, and the one look of
//! all tables.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _, stdout},
};

use comfy_table::{Cell, Color, Table, TableStyle, presets};

use super::Failure;

/// Prints a line, or several. A reader that has gone away ends the command silently.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") });
    written.and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::other(format!("standard output: {error}")),
    })
}

/// A line below the header and nothing else, so that a row is easy to copy and to grep for.
const LOOK: TableStyle = {
    let mut look = presets::NOTHING;
    look.header_separator = presets::UTF8_HORIZONTAL_ONLY.row_separator;
    look
};

/// An empty table with this header; cells have to be clean.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(LOOK).set_header(header.to_vec());
    table
}

/// Whether and how text is coloured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

/// A colour with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Bad,
    Warning,
    Busy,
    Dim,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn of_stdout() -> Self {
        Self(stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// No colours.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(false)
    }

    /// Always colours.
    #[cfg(test)]
    pub(super) fn always() -> Self {
        Self(true)
    }

    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Good => 32,
            Colour::Bad => 31,
            Colour::Warning => 33,
            Colour::Busy => 36,
            Colour::Dim => 2,
        };
        if self.0 && !text.trim().is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A cell of a table; the table has to know the colour itself, or its columns would not align.
    pub(super) fn cell(self, colour: Colour, text: &str) -> Cell {
        let cell = Cell::new(text);
        match (self.0, colour) {
            (false, _) => cell,
            (true, Colour::Good) => cell.fg(Color::DarkGreen),
            (true, Colour::Bad) => cell.fg(Color::DarkRed),
            (true, Colour::Warning) => cell.fg(Color::DarkYellow),
            (true, Colour::Busy) => cell.fg(Color::DarkCyan),
            (true, Colour::Dim) => cell.fg(Color::DarkGrey),
        }
    }
}
