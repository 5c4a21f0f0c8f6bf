//! The order of keys in a mapping that go-yaml writes.

/// Keys of small letters only sort alike in byte order and in the library's.
pub(super) fn simple_order(key: &[u8]) -> bool {
    key.iter().all(u8::is_ascii_alphabetic)
}

/// Orders keys as go-yaml: letters after everything else, numbers by value.
pub(super) fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let is_digit = |c: char| c.is_ascii_digit();
    for i in 0..left.len().min(right.len()) {
        let (x, y) = (left[i], right[i]);
        if x == y {
            continue;
        }
        match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => return x.cmp(&y),
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            _ => {}
        }
        let (mut xn, mut yn) = (0i64, 0i64);
        if x == '0' || y == '0' {
            let mut j = i;
            while j > 0 && is_digit(left[j - 1]) {
                j -= 1;
                if left[j] != '0' {
                    (xn, yn) = (1, 1);
                    break;
                }
            }
        }
        let run = |chars: &[char], mut value: i64| {
            let mut end = i;
            while end < chars.len() && is_digit(chars[end]) {
                value = value.wrapping_mul(10).wrapping_add(i64::from(chars[end] as u32) - 48);
                end += 1;
            }
            (value, end)
        };
        let (xv, xe) = run(&left, xn);
        let (yv, ye) = run(&right, yn);
        return xv.cmp(&yv).then(xe.cmp(&ye)).then(x.cmp(&y));
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_keys_naturally() {
        let mut keys = ["a10", "a2", "B", "a", "a-b", "a_b", "1", "10", "9"];
        keys.sort_by(|a, b| key_order(a, b));
        assert_eq!(keys, ["1", "9", "10", "B", "a", "a-b", "a_b", "a2", "a10"]);
    }
}
