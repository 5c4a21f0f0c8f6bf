//! Byte ranges and pages: the two ways in which a client asks for a part of something.

/// Says which part of a blob a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Everything, with 200.
    Whole,
    /// From the first up to the second offset (exclusive), with 206.
    Part(u64, u64),
    /// Nothing that exists, with 416.
    Unsatisfiable,
}

impl Span {
    /// Reads a `Range` header against a size (RFC 9110, sections 14.1.2 and 14.2). Other units, several ranges and
    /// malformed headers are ignored, as the RFC allows.
    pub(super) fn of(header: Option<&str>, size: u64) -> Span {
        let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Span::Whole };
        let Some((first, last)) = range.trim().split_once('-') else { return Span::Whole };
        let number = |text: &str| -> Option<Option<u64>> {
            if text.is_empty() {
                return Some(None);
            }
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // More digits than fit name a place beyond every blob.
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        };
        match (number(first), number(last)) {
            (Some(Some(first)), Some(last)) => {
                if last.is_some_and(|last| last < first) {
                    return Span::Whole;
                }
                if first >= size {
                    return Span::Unsatisfiable;
                }
                Span::Part(first, last.map_or(size, |last| last.saturating_add(1).min(size)))
            }
            (Some(None), Some(Some(suffix))) => {
                if suffix == 0 || size == 0 {
                    return Span::Unsatisfiable;
                }
                Span::Part(size.saturating_sub(suffix), size)
            }
            _ => Span::Whole,
        }
    }
}

/// Reads the `Content-Range` of a chunk, `<first>-<last>` (distribution specification, "Pushing a blob in chunks");
/// `bytes` in front and a total behind, as HTTP knows them, are accepted. `None` when it is malformed.
pub(super) fn chunk(header: &str) -> Option<(u64, u64)> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Writes how much of an upload has arrived. The range is inclusive, so nothing and one byte look alike: registries
/// write `0-0` for both.
pub(super) fn arrived(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

/// Takes one page of sorted names: those after `last`, at most `n`, and whether there are more.
pub(super) fn page<'a>(names: &'a [String], n: Option<usize>, last: Option<&str>, most: usize) -> (&'a [String], bool) {
    let start = last.map_or(0, |last| names.partition_point(|name| name.as_str() <= last));
    let rest = &names[start..];
    let count = n.unwrap_or(usize::MAX).min(most).min(rest.len());
    // "When n is zero, this endpoint MUST return an empty list, and MUST NOT include a Link header."
    (&rest[..count], count < rest.len() && n != Some(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_as_http_reads_them() {
        for (header, span) in [
            ("bytes=0-0", Span::Part(0, 1)),
            ("bytes=2-", Span::Part(2, 10)),
            ("bytes=2-4", Span::Part(2, 5)),
            ("bytes=2-400", Span::Part(2, 10)),
            ("bytes=-3", Span::Part(7, 10)),
            ("bytes=-30", Span::Part(0, 10)),
            ("bytes=10-", Span::Unsatisfiable),
            ("bytes=-0", Span::Unsatisfiable),
            ("bytes=99999999999999999999999-", Span::Unsatisfiable),
            ("bytes=5-99999999999999999999999", Span::Part(5, 10)),
            ("bytes=4-2", Span::Whole),
            ("bytes=0-1,3-4", Span::Whole),
            ("bytes=a-b", Span::Whole),
            ("bytes=-", Span::Whole),
            ("lines=0-1", Span::Whole),
        ] {
            assert_eq!(Span::of(Some(header), 10), span, "{header}");
        }
        assert_eq!(Span::of(None, 10), Span::Whole);
        assert_eq!(Span::of(Some("bytes=0-"), 0), Span::Unsatisfiable);
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk("0-9"), Some((0, 9)));
        assert_eq!(chunk("bytes 10-19/*"), Some((10, 19)));
        for bad in ["", "-", "1-", "-1", "a-b", "1-2-3", "+1-2"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
        assert_eq!((arrived(0), arrived(1), arrived(10)), ("0-0".into(), "0-0".into(), "0-9".into()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pages_cover_everything_once(
            names in proptest::collection::btree_set("[a-d]{1,3}", 0..40),
            n in 1usize..10,
            most in 1usize..10,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let mut seen: Vec<String> = Vec::new();
            loop {
                let (part, more) = page(&names, Some(n), seen.last().map(String::as_str), most);
                seen.extend_from_slice(part);
                if !more { break }
                prop_assert!(!part.is_empty());
            }
            prop_assert_eq!(seen, names.clone());
            prop_assert_eq!(page(&names, Some(0), None, most), (&[][..], false));
        }

        #[test]
        fn a_part_lies_within(header in "bytes=[0-9]{0,22}-[0-9]{0,22}", size in any::<u64>()) {
            if let Span::Part(from, to) = Span::of(Some(&header), size) {
                prop_assert!(from < to && to <= size);
            }
        }
    }
}
