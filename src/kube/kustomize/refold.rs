//! Folded blocks (`>`) change on their way through kustomize: its writer puts a line break too much before a line that is
//! indented more, and its reader keeps it. What comes out of kubectl has that line, so what comes out here has it too.

use super::quoting::analyze;

/// Returns the text after one round of writing and reading as a folded block; `None` when it stays as it is.
pub(super) fn through(text: &str) -> Option<String> {
    if !text.contains('\n') || !analyze(text).block {
        return None;
    }
    let read = read(&write(text), text);
    (read != text).then_some(read)
}

fn is_blank(c: Option<char>) -> bool {
    c.is_none_or(|c| matches!(c, ' ' | '\t' | '\0'))
}

/// Writes the lines of the block. The first break after a line that is not indented counts double, unless the whole text
/// begins with a blank: the writer looks at the text's first character where it should look at the next line's.
fn write(text: &str) -> String {
    let doubles = !is_blank(text.chars().find(|c| *c != '\n'));
    let mut out = String::with_capacity(text.len() + 16);
    let (mut after_break, mut indented) = (true, true);
    for c in text.chars() {
        if c == '\n' {
            if !after_break && !indented && doubles {
                out.push('\n');
            }
            out.push('\n');
            after_break = true;
        } else {
            if after_break {
                indented = is_blank(Some(c));
            }
            out.push(c);
            after_break = false;
        }
    }
    out
}

/// Reads the lines of the block: a single break between lines that are not indented is a space (YAML 1.1, section 9.3.3).
fn read(block: &str, original: &str) -> String {
    let mut out = String::with_capacity(block.len());
    let (mut line_break, mut empty_lines) = (false, 0usize);
    let mut was_indented = false;
    for line in block.split('\n') {
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        let indented = is_blank(line.chars().next());
        if line_break && !was_indented && !indented {
            if empty_lines == 0 {
                out.push(' ');
            }
        } else if line_break {
            out.push('\n');
        }
        out.extend(std::iter::repeat_n('\n', empty_lines));
        out.push_str(line);
        (line_break, empty_lines, was_indented) = (true, 0, indented);
    }
    // The piece after the last break is no line.
    let trailing = empty_lines.saturating_sub(usize::from(block.ends_with('\n')));
    if original.ends_with('\n') && line_break {
        out.push('\n');
    }
    let keeps = original == "\n" || original.ends_with("\n\n");
    if keeps {
        out.extend(std::iter::repeat_n('\n', trailing));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::through;

    #[test]
    fn a_break_before_a_line_that_is_indented_more_doubles() {
        for (text, expected) in [
            ("one\ntwo\nthree\n", None),
            ("one\n\ntwo", None),
            ("one\n  two\nthree", Some("one\n\n  two\nthree")),
            ("one\n\n  two\n\nthree\n", Some("one\n\n\n  two\n\nthree\n")),
            ("one", None),
            ("one \n  two", None),
        ] {
            assert_eq!(through(text).as_deref(), expected, "{text:?}");
        }
    }
}
