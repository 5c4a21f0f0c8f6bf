//! What the characters of a text allow: which styles can carry it, what has to be escaped.

/// Tells whether YAML 1.1 ends a line here.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Tells what the library writes without an escape: nothing beyond the basic plane, no tab.
pub(super) fn printable(c: char) -> bool {
    c == '\n' || (' '..='~').contains(&c) || (('\u{a0}'..='\u{fffd}').contains(&c) && c != '\u{feff}')
}

/// Writes a character between double quotes.
pub(super) fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c if (c as u32) <= 0xff => return format!("\\x{:02X}", c as u32),
        c if (c as u32) <= 0xffff => return format!("\\u{:04X}", c as u32),
        c => return format!("\\U{:08X}", c as u32),
    };
    format!("\\{short}")
}

/// What a text allows.
pub(super) struct Facts {
    /// It has more than one line.
    pub(super) multiline: bool,
    /// It can stand without quotes.
    pub(super) plain: bool,
    /// It can stand between apostrophes.
    pub(super) single: bool,
    /// It can stand below a bar.
    pub(super) block: bool,
}

/// Finds out which styles can carry a text.
pub(super) fn analyze(text: &str) -> Facts {
    if text.is_empty() {
        return Facts { multiline: false, plain: true, single: true, block: false };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut multiline, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut was_space, mut was_break) = (false, false);
    let mut before_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let after_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
        indicators |= match c {
            '#' => first || before_blank,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            '?' | '-' => first && after_blank,
            ':' => after_blank,
            _ => false,
        };
        special |= !printable(c);
        if c == ' ' {
            break_space |= was_break;
            (was_space, was_break) = (true, false);
        } else if is_break(c) {
            multiline = true;
            space_break |= was_space;
            (was_space, was_break) = (false, true);
        } else {
            (was_space, was_break) = (false, false);
        }
        before_blank = matches!(c, ' ' | '\t' | '\0') || is_break(c);
        first = false;
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
    let edges = edge(text.chars().next()) || edge(text.chars().next_back());
    let trailing_space = text.ends_with(' ');
    let hard = space_break || special;
    Facts {
        multiline,
        plain: !(edges || break_space || hard || multiline || indicators),
        single: !(break_space || hard),
        block: !(trailing_space || hard),
    }
}
