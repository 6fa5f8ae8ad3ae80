//! What a message repeats of the user's text: shortened, without control characters, with a mark below.

use std::ops::Range;

use crate::limits::{QUOTED_CHARS_MAX, SHOWN_COLUMNS_MAX};

/// A source line and the line of carets below it.
pub(super) struct Excerpt {
    pub(super) line: String,
    pub(super) mark: String,
}

impl Excerpt {
    /// `span` is in bytes of `text`; a line that is too long is cut around its start.
    pub(super) fn new(text: &str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end).max(start);
        let (before, dots) = last_columns(&text[..start], SHOWN_COLUMNS_MAX / 2);
        let left = SHOWN_COLUMNS_MAX - columns(before);
        let (marked, cut) = first_columns(&text[start..end], left);
        let (after, cut_after) = first_columns(&text[end..], left - columns(marked));
        let lead = if dots { "..." } else { "" };
        let tail = if cut || cut_after { "..." } else { "" };
        let after = if cut { "" } else { after };
        let line = format!("{lead}{}{tail}", clean(&[before, marked, after].concat()));
        let mark = " ".repeat(lead.len() + columns(before)) + &"^".repeat(columns(marked).max(1));
        Self {
            line: line.trim_end().to_owned(),
            mark,
        }
    }
}

/// A word of the user's as a message repeats it.
pub(super) fn quoted(word: &str) -> String {
    let mut shown: String = word.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < word.len() {
        shown.push_str("...");
    }
    clean(&shown)
}

/// Tabs become one space; what a terminal might obey becomes `?`.
fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || is_unseen(c) => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Marks that turn the direction of writing, or take no room: they could make a line look like another.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn first_columns(text: &str, max: usize) -> (&str, bool) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += width(c);
        if used > max {
            return (&text[..at], true);
        }
    }
    (text, false)
}

fn last_columns(text: &str, max: usize) -> (&str, bool) {
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += width(c);
        if used > max {
            return (&text[at + c.len_utf8()..], true);
        }
    }
    (text, false)
}

fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Columns of a terminal: the wide scripts of East Asia take two, accents none.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_wide_characters() {
        let text = "listener 温度 x";
        let at = text.find('x').unwrap();
        let excerpt = Excerpt::new(text, &(at..at + 1));
        assert_eq!(excerpt.mark, format!("{}^", " ".repeat(14)));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("{}bad{}", "a".repeat(500), "b".repeat(500));
        let excerpt = Excerpt::new(&text, &(500..503));
        assert_eq!(excerpt.line.len(), SHOWN_COLUMNS_MAX + 6);
        assert!(excerpt.line.starts_with("...a") && excerpt.line.ends_with("b..."));
        let at = excerpt.mark.find('^').unwrap();
        assert_eq!(&excerpt.line[at..at + 3], "bad");
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(quoted("a\x1b[31m\u{202e}b"), "a?[31m?b");
    }
}
