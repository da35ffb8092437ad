//! How an example looks on the screen: its title, its source with line numbers in the margin, and
//! the line that says what it showed. Colours only on a terminal, and not where `NO_COLOR` is set.

use std::env;
use std::io::{self, IsTerminal, Write};

use super::Tour;

/// Whether to colour, decided once for a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    colour: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";

impl Style {
    pub(super) fn of_stdout() -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = io::stdout().is_terminal() && !set("NO_COLOR") && !dumb;
        Self { colour }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One line for each example: its name and its title.
pub(super) fn list(tours: &[&Tour]) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    for tour in tours {
        writeln!(out, "{:20} {}", tour.name, tour.title)?;
    }
    out.flush()?;
    Ok(0)
}

/// What stands above an example's output. An example that is not the first keeps its distance.
pub(super) fn opening(style: Style, tour: &Tour, distance: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if distance {
        writeln!(out)?;
    }
    let title = format!("{}: {}", tour.name, tour.title);
    writeln!(out, "{}\n", style.paint(BOLD, &title))?;
    for (number, line) in example(tour.source) {
        let margin = style.paint(DIM, &format!("{number:4} |"));
        writeln!(out, "{}", format!("{margin} {line}").trim_end())?;
    }
    writeln!(out, "\n{}", style.paint(DIM, "output:"))?;
    out.flush()
}

/// What stands below an example's output.
pub(super) fn closing(style: Style, tour: &Tour) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mark = style.paint(GREEN, "=>");
    writeln!(out, "{mark} {}", tour.showed)?;
    out.flush()
}

/// The example in a source file: all that follows the header, with the line numbers of the file.
fn example(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let header = |line: &str| line.starts_with("//!") || line.is_empty();
    source.lines().enumerate().skip_while(move |(_, line)| header(line)).map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_left_out_and_the_numbers_stay() {
        let source = "//! Header.\n\nuse x;\n\n//! not a header any more\nlast\n";
        let lines: Vec<_> = example(source).collect();
        assert_eq!(lines, [(3, "use x;"), (4, ""), (5, "//! not a header any more"), (6, "last")]);
    }

    #[test]
    fn paint_is_plain_without_colour() {
        assert_eq!(Style { colour: false }.paint(BOLD, "x"), "x");
        assert_eq!(Style { colour: true }.paint(BOLD, "x"), "\x1b[1mx\x1b[0m");
    }
}
