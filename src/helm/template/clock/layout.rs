//! The pieces that Go's layouts are made of.

/// The pieces that a layout is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    SmallPm,
    Zone,
    /// Offset: `Z` for zero, colons, parts (1 hours, 2 minutes, 3 seconds).
    Offset(bool, bool, u8),
    /// Fraction: digits, whether trailing zeros go, separator.
    Fraction(usize, bool, u8),
}

/// Finds the next piece: (text before, piece, rest).
pub(super) fn next_piece(layout: &str) -> Option<(&str, Piece, &str)> {
    let bytes = layout.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        let rest = &layout.get(i..)?;
        let found: Option<(Piece, usize)> = match byte {
            b'J' if rest.starts_with("January") => Some((Piece::LongMonth, 7)),
            b'J' if rest.starts_with("Jan") => Some((Piece::Month, 3)),
            b'M' if rest.starts_with("Monday") => Some((Piece::LongWeekDay, 6)),
            b'M' if rest.starts_with("Mon") && !rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) => {
                Some((Piece::WeekDay, 3))
            }
            b'M' if rest.starts_with("MST") => Some((Piece::Zone, 3)),
            b'0' => match bytes.get(i + 1) {
                Some(b'1') => Some((Piece::ZeroMonth, 2)),
                Some(b'2') => Some((Piece::ZeroDay, 2)),
                Some(b'3') => Some((Piece::ZeroHour12, 2)),
                Some(b'4') => Some((Piece::ZeroMinute, 2)),
                Some(b'5') => Some((Piece::ZeroSecond, 2)),
                Some(b'6') => Some((Piece::Year, 2)),
                _ if rest.starts_with("002") => Some((Piece::ZeroYearDay, 3)),
                _ => None,
            },
            b'1' if rest.starts_with("15") => Some((Piece::Hour, 2)),
            b'1' => Some((Piece::NumMonth, 1)),
            b'2' if rest.starts_with("2006") => Some((Piece::LongYear, 4)),
            b'2' => Some((Piece::Day, 1)),
            b'_' if rest.starts_with("_2006") => {
                let at = i + 1;
                return Some((&layout[..at], Piece::LongYear, &layout[at + 4..]));
            }
            b'_' if rest.starts_with("_2") => Some((Piece::UnderDay, 2)),
            b'_' if rest.starts_with("__2") => Some((Piece::UnderYearDay, 3)),
            b'3' => Some((Piece::Hour12, 1)),
            b'4' => Some((Piece::Minute, 1)),
            b'5' => Some((Piece::Second, 1)),
            b'P' if rest.starts_with("PM") => Some((Piece::Pm, 2)),
            b'p' if rest.starts_with("pm") => Some((Piece::SmallPm, 2)),
            b'-' | b'Z' => {
                let zulu = *byte == b'Z';
                let forms: [(&str, bool, u8); 5] = [
                    ("070000", false, 3),
                    ("07:00:00", true, 3),
                    ("0700", false, 2),
                    ("07:00", true, 2),
                    ("07", false, 1),
                ];
                forms
                    .iter()
                    .find(|(text, ..)| rest[1..].starts_with(text))
                    .map(|(text, colons, parts)| (Piece::Offset(zulu, *colons, *parts), text.len() + 1))
            }
            b'.' | b',' => match bytes.get(i + 1) {
                Some(digit @ (b'0' | b'9')) => {
                    let count = bytes[i + 1..].iter().take_while(|other| *other == digit).count();
                    let ends = !bytes.get(i + 1 + count).is_some_and(u8::is_ascii_digit);
                    ends.then_some((Piece::Fraction(count, *digit == b'9', *byte), count + 1))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((piece, length)) = found {
            return Some((&layout[..i], piece, &layout[i + length..]));
        }
    }
    None
}
