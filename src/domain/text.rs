//! Sheets of text for a terminal: figures, tables and bar charts in a given width.

use unicode_width::UnicodeWidthStr;

use crate::amount::Amount;

/// What bars and lines are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Unicode,
    /// For clients whose encoding has no block elements.
    Ascii,
}

/// Lines that a bar chart is high.
const CHART_LINES: i64 = 6;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A bar is no wider, however few there are.
const WIDEST_BAR: usize = 4;

/// A column of a table.
#[derive(Clone, Copy)]
pub enum Column<'a> {
    Left(&'a str),
    Right(&'a str),
    /// Cut where the table would be too wide.
    Cut(&'a str),
}

pub struct Sheet {
    width: usize,
    charset: Charset,
    lines: Vec<String>,
}

impl Sheet {
    pub fn new(width: usize, charset: Charset) -> Sheet {
        Sheet { width, charset, lines: Vec::new() }
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines
    }

    pub fn line(&mut self, text: &str) {
        let text = self.cut(&plain(text), self.width);
        self.lines.push(text.trim_end().to_owned());
    }

    pub fn blank(&mut self) {
        self.lines.push(String::new());
    }

    /// One text at each end of the line; the left one is cut where both do not fit.
    pub fn ends(&mut self, left: &str, right: &str) {
        let left = self.cut(&plain(left), self.width.saturating_sub(right.width() + 1));
        let space = self.width.saturating_sub(left.width() + right.width()).max(1);
        self.lines.push(format!("{left}{}{right}", " ".repeat(space)));
    }

    /// A text and a rule behind it to the end of the line.
    pub fn heading(&mut self, text: &str) {
        let text = self.cut(&plain(text), self.width.saturating_sub(4));
        let rule = self.rule(self.width.saturating_sub(text.width() + 1));
        self.lines.push(format!("{text} {rule}"));
    }

    /// Names and figures in three columns, column by column.
    pub fn figures(&mut self, figures: &[(&str, String)]) {
        const COLUMNS: usize = 3;
        let lines = figures.len().div_ceil(COLUMNS);
        let columns: Vec<&[(&str, String)]> = figures.chunks(lines.max(1)).collect();
        let widths: Vec<(usize, usize)> = columns
            .iter()
            .map(|column| {
                let name = column.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
                (name, column.iter().map(|(_, figure)| figure.width()).max().unwrap_or_default())
            })
            .collect();
        // What is left is shared out between the columns, which thereby reach the end of the line.
        let used: usize = widths.iter().map(|(name, figure)| name + figure + 1).sum();
        let gaps = columns.len().saturating_sub(1);
        let gap = self.width.saturating_sub(used).checked_div(gaps).unwrap_or_default().clamp(2, 9);
        for line in 0..lines {
            let cells = columns.iter().zip(&widths).filter_map(|(column, (name_width, figure_width))| {
                let (name, figure) = column.get(line)?;
                Some(format!("{} {}", padded(name, *name_width, false), padded(figure, *figure_width, true)))
            });
            self.lines.push(cells.collect::<Vec<_>>().join(&" ".repeat(gap)));
        }
    }

    pub fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) {
        const GAP: usize = 2;
        let name = |column: &Column| match *column {
            Column::Left(name) | Column::Right(name) | Column::Cut(name) => name.to_owned(),
        };
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let header: Vec<String> = columns.iter().map(name).collect();
        let widest = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
            cells.chain(header.get(index).map(|name| name.width())).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..columns.len()).map(widest).collect();
        let total: usize = widths.iter().sum::<usize>() + GAP * columns.len().saturating_sub(1);
        let cut = columns.iter().position(|column| matches!(column, Column::Cut(_)));
        if let Some(cut) = cut.and_then(|index| widths.get_mut(index)) {
            *cut = cut.saturating_sub(total.saturating_sub(self.width)).max(8.min(*cut));
        }
        for row in std::iter::once(&header).chain(&rows) {
            let cells = columns.iter().zip(row).zip(&widths).map(|((column, cell), width)| match column {
                Column::Right(_) => padded(cell, *width, true),
                _ => padded(&self.cut(cell, *width), *width, false),
            });
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
            self.lines.push(line.trim_end().to_owned());
        }
    }

    /// Bars side by side on an axis, with the first and the last one's name below it.
    pub fn bars(&mut self, bars: &[(String, Amount)]) {
        let top = bars.iter().map(|(_, amount)| *amount).max().unwrap_or_default().max(Amount::ZERO);
        let scale = top.to_string();
        let indent = scale.width().max(5);
        let (axis, corner) = match self.charset {
            Charset::Unicode => ('┤', '└'),
            Charset::Ascii => ('|', '+'),
        };
        let width = (self.width.saturating_sub(indent + 2) / bars.len().max(1)).clamp(1, WIDEST_BAR);
        // A gap between bars, where there is room.
        let ink = if width > 1 { width - 1 } else { 1 };
        let heights: Vec<i64> = bars.iter().map(|(_, amount)| self.height(*amount, top)).collect();
        for line in (0..CHART_LINES).rev() {
            let label = if line == CHART_LINES - 1 { scale.as_str() } else { "" };
            let mut text = format!("{} {axis}", padded(label, indent, true));
            for height in &heights {
                let mark = self.mark(height - line * 8);
                text.extend(std::iter::repeat_n(mark, ink));
                text.extend(std::iter::repeat_n(' ', width - ink));
            }
            self.lines.push(text.trim_end().to_owned());
        }
        let span = width * bars.len();
        self.lines.push(format!("{} {corner}{}", padded("0", indent, true), self.rule(span)));
        let (first, last) = (bars.first().map_or("", |bar| &bar.0), bars.last().map_or("", |bar| &bar.0));
        let names = first.width() + last.width();
        let below = if bars.len() < 2 || span < names + 1 {
            first.to_owned()
        } else {
            format!("{first}{}{last}", " ".repeat(span - names))
        };
        self.lines.push(format!("{}{below}", " ".repeat(indent + 2)));
    }

    /// In eighths of a line; anything above 0 shows.
    fn height(&self, amount: Amount, top: Amount) -> i64 {
        if !amount.is_positive() || !top.is_positive() {
            return 0;
        }
        let most = Amount::from_units(CHART_LINES * 8);
        let eighths = most.share_floor(amount, top, 0).unwrap_or_default();
        i64::try_from(eighths.raw() / Amount::ONE.raw()).unwrap_or_default().max(1)
    }

    fn mark(&self, eighths: i64) -> char {
        let eighths = usize::try_from(eighths.clamp(0, 8)).unwrap_or_default();
        match self.charset {
            Charset::Unicode => EIGHTHS.get(eighths).copied().unwrap_or(' '),
            Charset::Ascii if eighths > 4 => '#',
            Charset::Ascii if eighths > 0 => '.',
            Charset::Ascii => ' ',
        }
    }

    fn rule(&self, width: usize) -> String {
        match self.charset {
            Charset::Unicode => "─".repeat(width),
            Charset::Ascii => "-".repeat(width),
        }
    }

    /// At most `width` wide.
    fn cut(&self, text: &str, width: usize) -> String {
        if text.width() <= width {
            return text.to_owned();
        }
        let end = match self.charset {
            Charset::Unicode => '…',
            Charset::Ascii => '~',
        };
        let mut kept = String::new();
        for letter in text.chars() {
            kept.push(letter);
            if kept.width() + 1 > width {
                kept.pop();
                break;
            }
        }
        kept.push(end);
        kept
    }
}

/// On one line: somebody's own text may have line breaks and other controls, which a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn padded(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    if right { format!("{space}{text}") } else { format!("{text}{space}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(charset: Charset, draw: impl FnOnce(&mut Sheet)) -> Vec<String> {
        let mut sheet = Sheet::new(40, charset);
        draw(&mut sheet);
        sheet.into_lines()
    }

    fn bar(name: &str, amount: &str) -> (String, Amount) {
        (name.to_owned(), Amount::parse(amount).unwrap())
    }

    #[test]
    fn bars_are_as_high_as_their_amounts() {
        let bars = [bar("Mon", "48"), bar("Tue", "24"), bar("Wed", "0"), bar("Thu", "0.1")];
        let drawn = lines(Charset::Unicode, |sheet| sheet.bars(&bars));
        let expected = [
            "   48 ┤███",
            "      ┤███",
            "      ┤███",
            "      ┤███ ███",
            "      ┤███ ███",
            "      ┤███ ███     ▁▁▁",
            "    0 └────────────────",
            "       Mon          Thu",
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn without_blocks_bars_are_of_ascii() {
        let drawn = lines(Charset::Ascii, |sheet| {
            sheet.heading("Usage");
            sheet.bars(&[bar("Mon", "48"), bar("Tue", "2")]);
        });
        assert!(drawn.iter().all(|line| line.is_ascii()), "{drawn:#?}");
        assert_eq!(drawn[6], "      |### ...");
    }

    #[test]
    fn nothing_used_is_an_empty_chart() {
        let drawn = lines(Charset::Unicode, |sheet| sheet.bars(&[bar("Mon", "0")]));
        assert_eq!(drawn[0], "    0 ┤");
        assert_eq!(drawn[7], "       Mon");
    }

    #[test]
    fn the_column_that_may_be_cut_is() {
        let drawn = lines(Charset::Unicode, |sheet| {
            let columns = [Column::Right("id"), Column::Cut("what"), Column::Left("end")];
            let long = "a reason\nthat goes on and on and on and on and on";
            sheet.table(&columns, &[vec!["7".into(), long.into(), "x".into()]]);
        });
        assert_eq!(drawn, ["id  what                             end", " 7  a reason that goes on and on a…  x"]);
    }

    #[test]
    fn figures_stand_in_columns() {
        let drawn = lines(Charset::Unicode, |sheet| {
            sheet.figures(&[("balance", "12.5".into()), ("held", "0".into()), ("granted", "100".into())]);
        });
        assert_eq!(drawn, ["balance 12.5     held 0     granted 100"]);
    }

    proptest! {
        #[test]
        fn no_line_of_text_is_too_wide(text in "\\PC{0,80}", right in "[a-z]{0,10}", width in 20_usize..100) {
            let mut sheet = Sheet::new(width, Charset::Unicode);
            sheet.line(&text);
            sheet.heading(&text);
            sheet.ends(&text, &right);
            for line in sheet.into_lines() {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }

        #[test]
        fn charts_fit(amounts in prop::collection::vec(0_i64..1_000_000_000, 1..60)) {
            let mut sheet = Sheet::new(80, Charset::Unicode);
            let bars: Vec<_> = amounts.iter().map(|n| (n.to_string(), Amount::from_units(*n))).collect();
            sheet.bars(&bars);
            let lines = sheet.into_lines();
            prop_assert_eq!(lines.len(), 8);
            prop_assert!(lines.iter().take(7).all(|line| line.width() <= 80));
        }
    }
}
