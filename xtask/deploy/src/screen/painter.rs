//! Lines that are drawn again and again at the end of the screen.
//!
//! The cursor rests at the start of the row below them. There the terminal shows `^C`, and whatever else is typed; at the end of
//! a line that fills its row it would go on in the next, and a line that nothing erases would stay above.

#![expect(clippy::disallowed_methods, reason = "bars are erased as they were drawn")]

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::{escape, terminal};

const FRAMES: [char; 8] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧'];

/// What is drawn now.
pub(super) struct Painter {
    frame: usize,
    /// How many columns each line takes.
    drawn: Vec<usize>,
}

impl Painter {
    pub(super) const fn new() -> Painter {
        Painter { frame: 0, drawn: Vec::new() }
    }

    /// Draws a line for each of what moves, with how long it has moved, in place of those that are there.
    pub(super) fn draw(&mut self, moving: &[(String, Instant)]) {
        let (rows, columns) = terminal::room();
        self.frame = (self.frame + 1) % FRAMES.len();
        // The cursor has a row of its own, and what was said last stays in sight.
        let room = rows.saturating_sub(3).max(1);
        let shown = if moving.len() > room { room - 1 } else { moving.len() };
        let mut lines: Vec<String> = moving[..shown]
            .iter()
            .map(|(text, began)| line(FRAMES[self.frame], text, began.elapsed(), columns))
            .collect();
        if shown < moving.len() {
            lines.push(format!("     and {} more", moving.len() - shown));
        }
        let mut written = self.erasing(columns);
        for line in &lines {
            written.push_str(line);
            written.push('\n');
        }
        self.drawn = lines.iter().map(|line| line.chars().map(width).sum()).collect();
        write(&written);
    }

    /// Takes off what is drawn.
    pub(super) fn erase(&mut self) {
        if !self.drawn.is_empty() {
            let written = self.erasing(terminal::room().1);
            self.drawn.clear();
            write(&written);
        }
    }

    fn erasing(&self, columns: usize) -> String {
        // A terminal that was made narrower shows a line in several rows.
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
    }
}

fn line(frame: char, text: &str, elapsed: Duration, columns: usize) -> String {
    let time = match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    };
    let room = columns.saturating_sub(time.len() + 8);
    format!("   {frame} {} {time}", cut(text, room))
}

/// Returns as much of the text as has room, on one line.
fn cut(text: &str, room: usize) -> String {
    let text = escape::line(text);
    if text.chars().map(width).sum::<usize>() <= room {
        return text;
    }
    let mut left = room.saturating_sub(2);
    let fits = |c: &char| {
        let fits = width(*c) <= left;
        left = left.saturating_sub(width(*c));
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}..")
}

/// Returns how many columns a character takes at the most.
fn width(c: char) -> usize {
    // The frames take one; of all else that is not ASCII it depends on the terminal.
    if c.is_ascii() || FRAMES.contains(&c) { 1 } else { 2 }
}

fn write(text: &str) {
    // In one piece, so that nothing comes between.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Returns a line as it is drawn.
#[cfg(test)]
pub(crate) fn bar(text: &str) -> String {
    line(FRAMES[0], text, Duration::ZERO, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_fills_its_row() {
        for text in ["short", &"long ".repeat(40), &"größe ".repeat(30), "two\nlines"] {
            let line = line('⠋', text, Duration::from_secs(75), 80);
            assert!(line.chars().count() < 80 && !line.contains('\n'), "{line}");
            assert!(line.ends_with(" 1 min 15 s"), "{line}");
        }
        assert_eq!(line('⠋', "a: create", Duration::from_secs(4), 80), "   ⠋ a: create 4 s");
    }
}
