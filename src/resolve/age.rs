//! How old the content of a file is, for entries of `files` that may grow too old.
//!
//! # Invariants
//! - What the content says of itself counts before what a disk or a server says of it: a copy is as old as its original.
//! - The same bytes keep the date that the lock has for them, so that a checkout or a second download makes nothing younger.

use std::path::Path;

use jiff::{Timestamp, fmt::strtime};

use crate::{files, lock::LockedFile};

/// How much of a file is read to find a date in it; the header of ClamAV's databases has 512 bytes.
const HEAD: u64 = 512;

/// Returns the date that a file carries in itself, in seconds since 1970: databases of ClamAV say when they were built.
pub(super) fn inside(content: &[u8]) -> Option<i64> {
    let head = content.get(..usize::try_from(HEAD).ok()?.min(content.len()))?;
    let rest = head.strip_prefix(b"ClamAV-VDB:")?;
    // `21 Nov 2026 08-30 +0000:27123:…`: the first colon ends the date.
    let end = rest.iter().position(|byte| *byte == b':')?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    let moment = strtime::parse("%d %b %Y %H-%M %z", text).ok()?.to_timestamp().ok()?;
    Some(moment.as_second())
}

/// Returns the date of a file or of the youngest file in a folder: the one inside, else when it was changed last.
pub(super) fn of_place(place: &Path) -> Result<i64, files::Error> {
    let one = |path: &Path| {
        let file = files::Positional::open(path)?;
        let mut head = vec![0; usize::try_from(file.len()?.min(HEAD)).unwrap_or(0)];
        file.read_exact_at(&mut head, 0)?;
        match inside(&head) {
            Some(date) => Ok(date),
            None => files::modified(path),
        }
    };
    if !files::is_folder(place) {
        return one(place);
    }
    let mut youngest = 0;
    for path in files::walk_files(place)? {
        youngest = youngest.max(one(&place.join(path.as_str()))?);
    }
    Ok(youngest)
}

/// Returns the date that a server gives for what it answers (RFC 9110, "Last-Modified").
pub(super) fn of_server(last_modified: Option<&str>) -> Option<i64> {
    jiff::fmt::rfc2822::parse(last_modified?).ok().map(|moment| moment.timestamp().as_second())
}

/// Returns midnight of a day that is written as a number, `20261231`.
pub(super) fn of_day(date: u64) -> i64 {
    let part = |number: u64| i16::try_from(number).unwrap_or(1);
    let (month, day) = (i8::try_from(date / 100 % 100).unwrap_or(1), i8::try_from(date % 100).unwrap_or(1));
    let day = jiff::civil::Date::new(part(date / 10_000), month, day);
    day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC)).map_or(0, |moment| moment.timestamp().as_second())
}

/// Writes a date, or takes the one that the lock before has for the same bytes.
pub(super) fn as_of(file: &LockedFile, date: i64, previous: Option<&LockedFile>) -> String {
    let kept = previous.filter(|before| before.members == file.members).and_then(|before| before.as_of.clone());
    kept.unwrap_or_else(|| Timestamp::from_second(date.max(0)).unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_found_inside_and_outside() {
        let header = b"ClamAV-VDB:21 Nov 2026 03-30 -0500:27123:2066549:90:x:y:builder:1795249800";
        assert_eq!(inside(header), Some("2026-11-21T08:30:00Z".parse::<Timestamp>().unwrap().as_second()));
        for bad in [&b"ClamAV-VDB:"[..], b"ClamAV-VDB:yesterday:1", b"", b"hello"] {
            assert_eq!(inside(bad), None);
        }
        assert_eq!(of_server(Some("Sun, 06 Nov 1994 08:49:37 GMT")), Some(784_111_777));
        assert_eq!(of_server(Some("soon")), None);
        assert_eq!(of_day(20_261_121), "2026-11-21T00:00:00Z".parse::<Timestamp>().unwrap().as_second());
        assert_eq!(of_day(7), 0);
    }

    #[test]
    fn a_folder_is_as_young_as_its_youngest_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("old.cvd"), b"ClamAV-VDB:01 Jan 2020 00-00 +0000:1:").unwrap();
        assert_eq!(of_place(folder.path()).unwrap(), 1_577_836_800);
        std::fs::write(folder.path().join("new"), b"x").unwrap();
        assert!(of_place(folder.path()).unwrap() > 1_700_000_000);
    }
}
