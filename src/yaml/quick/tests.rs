use proptest::prelude::*;

use super::*;
use crate::yaml::{Duplicates, compose};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Fails when the short way and the long way differ; tells whether the short way was taken.
fn agree(text: &str, options: &Options) -> bool {
    let Some(quick) = documents(text, options, Keep::All) else { return false };
    let full = compose::documents(text, options).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    // Places and spellings as well, which do not count for equality.
    assert_eq!(format!("{quick:#?}"), format!("{full:#?}"), "{text:?}");
    true
}

/// A value that can be written in several ways.
#[derive(Clone, Debug)]
enum Shape {
    Scalar(String),
    Seq(Vec<Shape>, bool),
    Map(Vec<(String, Shape)>),
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "", "a", "yes", "null", "~", "1", "0644", "1.10", "-1", "-x", "a: b", "a#b", "a #b", "[]", "{}", "[a, \"b\", 'c']",
            "{a: 1, \"b\": [x, y]}", "[a b]", "{{ x }}", "\"a\\n\\tb\"", "\"a\\x41\"", "\"a: 'b' # c\"", "'it''s'", "''", "\"\"", ".inf",
            "-.nan", "2001-01-01", "<<", "*a", "&a b", "!!str 1", "!x", "|", ">", "|-\n", "%a", "@a", "a:b", "a:", "http://x:80/y", "é – ü",
            "\u{85}", "a\tb", "a  # c", "'a' # c", "\"a\"b", "? a", ": a", "- a", "-", ":80", "::", "\"a\n  b\"", "'a\n\n   b '", "\"a \\\n   b\"", "a\n   b\n\n    c",
        ])
        .prop_map(str::to_owned),
        2 => ("[|>]", "[-+]?", "[1-9]?", prop::collection::vec("[ ]{0,7}[a-z#:\\-\\t ]{0,5}", 0..5))
            .prop_map(|(style, chomp, indent, lines)| {
                let indent = if indent == "7" { indent } else { String::new() };
                format!("{style}{chomp}{indent}\n{}", lines.join("\n"))
            }),
        1 => "[ -~]{0,8}",
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let key = prop_oneof![
        8 => "[a-e]{1,2}",
        1 => prop::sample::select(vec!["y", "1", "null", "-x", ".5", "'q'", "\"d\"", "a b", "a ", "<<", "~", "é", "kind", "metadata", "18446744073709551615"])
            .prop_map(str::to_owned),
    ];
    scalar().prop_map(Shape::Scalar).prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 1..4), any::<bool>())
                .prop_map(|(items, flush)| Shape::Seq(items, flush)),
            prop::collection::vec((key.clone(), inner), 1..5).prop_map(Shape::Map),
        ]
    })
}

/// Writes a shape below a column; `inline` is how far the line is already.
fn write(out: &mut String, shape: &Shape, indent: usize, inline: bool) {
    let pad = |out: &mut String, first: bool| {
        if !(first && inline) {
            out.push_str(&" ".repeat(indent));
        }
    };
    match shape {
        Shape::Scalar(text) => {
            let deeper = format!("\n{}", " ".repeat(indent));
            out.push_str(&text.replace('\n', &deeper));
            out.push('\n');
        }
        Shape::Seq(items, _) => {
            for (i, item) in items.iter().enumerate() {
                pad(out, i == 0);
                out.push_str("- ");
                write(out, item, indent + 2, true);
            }
        }
        Shape::Map(entries) => {
            for (i, (key, value)) in entries.iter().enumerate() {
                pad(out, i == 0);
                out.push_str(key);
                out.push(':');
                match value {
                    Shape::Scalar(text) if text.starts_with(['{', 'a', '"']) => {
                        out.push('\n');
                        out.push_str(&" ".repeat(indent + 1));
                        write(out, value, indent + 1, true);
                    }
                    Shape::Scalar(_) => {
                        out.push(' ');
                        write(out, value, indent + 1, true);
                    }
                    Shape::Seq(_, flush) => {
                        out.push('\n');
                        write(out, value, if *flush { indent } else { indent + 2 }, false);
                    }
                    Shape::Map(_) => {
                        out.push_str(" # c\n");
                        write(out, value, indent + 3, false);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn what_is_not_declined_is_read_as_the_long_way_reads_it(
        shape in shape(),
        cut in any::<prop::sample::Index>(),
        insert in prop::sample::select(vec!["", " ", "\n", "#", ": ", "- ", "x", "\t", "'", "\"", "\n\n", "---\n", "\n  \n", "# c\n", "|", "\\", "é"]),
        keep_end in any::<bool>(),
    ) {
        let mut text = String::new();
        write(&mut text, &shape, 0, false);
        agree(&text, &Options::lenient());
        if !keep_end {
            agree(text.trim_end(), &Options::lenient());
        }
        let mut at = cut.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, insert);
        agree(&text, &Options::default());
        agree(text.trim(), &Options { duplicates: Duplicates::Refuse, ..Options::default() });
    }

    #[test]
    fn what_is_kept_does_not_depend_on_what_is_not(shape in shape()) {
        const PARTS: Keep = Keep::Keys(&[("a", Keep::All), ("kind", Keep::All), ("b", Keep::Keys(&[("c", Keep::All)]))]);
        let mut text = String::new();
        write(&mut text, &shape, 0, false);
        if let Some(parts) = documents(&text, &Options::lenient(), PARTS) {
            let full = compose::documents(&text, &Options::lenient()).unwrap();
            prop_assert_eq!(parts.len(), full.len());
            for (part, full) in parts.iter().zip(&full) {
                for path in [&["a"][..], &["kind"], &["b", "c"]] {
                    let (part, full) = (part.at_path(path.iter().copied()), full.at_path(path.iter().copied()));
                    prop_assert_eq!(format!("{part:?}"), format!("{full:?}"), "{}", text);
                }
            }
        }
    }
}

#[test]
fn ordinary_texts_take_the_short_way() {
    for text in [
        "a: 1\nb:\n  c: [x, \"y\"]\n  d: {}\n",
        "# c\n---\napiVersion: v1 # c\nkind: \"A\"\nmetadata:\n  name: 'x'\n  annotations:\n    a.b/c: \"true\"\nspec:\n- a\n- b: 1\n  c:\n  - - 2\n",
        "a: |\n  x\n\n   y\n  # z\n\nb: >-\n  x\n  y\n\n  z\n   w\n  v\nc: text\n  goes on\n\n  here\nd: \"and\n  here\"\n",
        "a:\n  - b:\n\n  -\n    c: d",
        "- a\n- b\n---\nc: d\n",
        "a:\n  {}\nb:\n  - x\nc:\n    \"y\"\nd:\n  z\n  z\ne: :80\n",
        "8080: x\n'y': z\n.a: -b\nc: |+\n  x\n\n",
        "",
        "# nothing",
    ] {
        assert!(agree(text, &Options::default()), "{text}");
    }
}

#[test]
fn what_needs_thought_is_declined() {
    for text in [
        "a: &x 1",
        "a: *x",
        "<<: {}",
        "a: !!str 1",
        "? a",
        "a: 1\na: 2",
        "~: 1",
        "null: 1",
        "a: .inf",
        "a:\tb",
        "\ta: 1",
        "a: [",
        "a: ]",
        "a: 'b",
        "a: \"\\x41\"",
        "a: b: c",
        "a: b\n   c: d",
        "a:\n b: 1\n  c: 2",
        "a: 1\n- b",
        "a: 1\n b: c",
        "%YAML 1.1\n---\na: 1",
        "---\n",
        "a: 1\n...\n",
        "a\n",
        "a: |2\n   x",
        "a: |\nb: 1",
        "a: |\n    \n  x\n",
        "a: \u{85}",
        "a: \u{7f}",
        "a: 1 b: 2",
        "--- a: 1",
        "a: '1' b",
        "a: {b: 1, b: 2}",
        "99999999999999999999: 1",
    ] {
        assert!(documents(text, &Options::default(), Keep::All).is_none(), "{text:?}");
    }
    let deep = "- ".repeat(DEPTH + 1);
    assert!(documents(&deep, &Options::lenient(), Keep::All).is_none());
    let shallow = Options { max_depth: 2, ..Options::default() };
    assert!(documents("a: {b: {c: 1}}", &shallow, Keep::All).is_none());
}
