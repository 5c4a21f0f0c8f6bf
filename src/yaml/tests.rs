use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Node {
    let mut found = documents(text, &Options::default()).unwrap();
    assert_eq!(found.len(), 1, "{text}");
    found.remove(0)
}

fn json(text: &str) -> String {
    one(text).to_json().unwrap().to_string()
}

fn fails(text: &str) -> Error {
    documents(text, &Options::default()).map(|found| panic!("{text:?} gave {found:?}")).unwrap_err()
}

#[test]
fn documents_read_as_helm_and_kubectl_read_them() {
    // Each line was compared with `fromYaml | toJson` of helm.
    for (text, expected) in [
        ("a: yes\nb: off\nc: tRue", r#"{"a":true,"b":false,"c":"tRue"}"#),
        ("{y: 2}", r#"{"true":2}"#),
        ("0x10: a\n1e6: b", r#"{"16":"a","1e+06":"b"}"#),
        ("a: 1\na: 2", r#"{"a":2}"#),
        ("base: &b {x: 1}\nc:\n  <<: *b\n  x: 3", r#"{"base":{"x":1},"c":{"x":3}}"#),
        ("base: &b {x: 1}\nc:\n  x: 3\n  <<: *b", r#"{"base":{"x":1},"c":{"x":1}}"#),
        ("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}", r#"{"a":{"x":1},"b":{"x":2,"z":3},"c":{"x":1,"z":3}}"#),
        ("a: &a {x: 1}\nb: &b {z: 2}\nc:\n  <<: *a\n  <<: *b", r#"{"a":{"x":1},"b":{"z":2},"c":{"x":1,"z":2}}"#),
        ("\"<<\": {x: 1}", r#"{"<<":{"x":1}}"#),
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x", r#"{"a":1,"b":1,"c":2,"d":2}"#),
        ("a: &x\nb: *x", r#"{"a":null,"b":null}"#),
        ("a: !Foo {b: 1}", r#"{"a":{"b":1}}"#),
        ("a: ! 12\nb: !foo 12", r#"{"a":"12","b":"12"}"#),
        ("a: |\n  x\n   y\n\n  z\n", r#"{"a":"x\n y\n\nz\n"}"#),
        ("a: |\n  x", r#"{"a":"x"}"#),
        ("a: |+\n  x", r#"{"a":"x"}"#),
        ("a: |+\n  x\n\n", r#"{"a":"x\n\n"}"#),
        ("a: |\n  x\n ", r#"{"a":"x\n"}"#),
        ("a: >\n\n  y", r#"{"a":"\ny"}"#),
        ("a: |-\n  x", r#"{"a":"x"}"#),
        ("a: \"x \\\n  y\"", r#"{"a":"x y"}"#),
        ("a: {b:1}", r#"{"a":{"b:1":null}}"#),
        ("a:\t1", r#"{"a":1}"#),
        ("a: [\n1,\n2\n]", r#"{"a":[1,2]}"#),
        ("a: 1\r\nb: |\r\n  x\r\n", r#"{"a":1,"b":"x\n"}"#),
        ("\u{feff}a: 1", r#"{"a":1}"#),
        ("a: x\u{85}b: z", r#"{"a":"x","b":"z"}"#),
        ("%YAML 1.1\n---\na: yes", r#"{"a":true}"#),
        ("a:\n  - b:\n    c: 1", r#"{"a":[{"b":null,"c":1}]}"#),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
}

#[test]
fn what_go_refuses_is_refused_with_its_place() {
    for (text, line, column) in [
        ("a: 1\nb: *nope", 2, 4),
        ("a: &x\n  b: *x", 2, 6),
        ("a: 1\n? [a, b]\n: c", 2, 3),
        ("a: {{ .Values.x }}", 1, 5),
        ("~: d", 1, 1),
        ("18446744073709551615: a", 1, 1),
        ("c:\n  <<: 3", 2, 7),
        ("l: &l [{x: 1}]\na:\n  <<: [1]", 3, 8),
        ("a: !!null x", 1, 4),
        ("%YAML 1.2\n---\na: 1", 1, 1),
        ("a:\n\tb: 1", 2, 1),
        ("a: b: c", 1, 5),
        ("a: 1\nb: x\u{1}y", 2, 5),
        ("a: \"\\q\"", 1, 5),
        ("a:\n  b: 1\n c: 2", 3, 2),
        ("a: [1, 2", 2, 1),
        ("a: @x", 1, 4),
        ("a: &b [*b]", 1, 8),
    ] {
        let error = fails(text);
        assert_eq!((error.at.line, error.at.column), (line, column), "{text:?}: {error}");
    }
    // A merge of an alias that is no mapping.
    assert_eq!(fails("l: &l [{x: 1}]\na: {<<: *l}").problem, Problem::Merge);
}

#[test]
fn the_parsers_panics_become_errors() {
    assert_eq!(fails("a: [!,x]").problem, Problem::Unreadable);
    assert!(matches!(fails("\"x\\").problem, Problem::Syntax(_)));
    // The next text is read as if nothing had happened.
    assert_eq!(json("a: 1"), r#"{"a":1}"#);
}

#[test]
fn streams_keep_their_documents_apart() {
    let found = documents("a: 1\n---\n# nothing\n---\nb: 2\n...\n---\nc: 3\n", &Options::default()).unwrap();
    assert_eq!(found.len(), 4);
    assert!(found[1].is_null());
    assert_eq!(found[3].at, Mark { line: 8, column: 1 });
    assert!(documents("", &Options::default()).unwrap().is_empty());
    assert!(documents("# only a comment\n", &Options::default()).unwrap().is_empty());
    assert!(fails("a: &x 1\n---\nb: *x\n").to_string().contains("*x"));
}

#[test]
fn what_was_written_stays_available() {
    let node = one("version: 1.10\nname: on\nmode: 0644\nnothing:\nquoted: '1.10'\nlist: [a]");
    let text = |key: &str| node.get(key).and_then(Node::text);
    assert_eq!((text("version"), text("name"), text("mode")), (Some("1.10"), Some("on"), Some("0644")));
    assert_eq!((text("nothing"), text("quoted"), text("list")), (Some(""), Some("1.10"), None));
    assert_eq!(node.get("mode").unwrap().at, Mark { line: 3, column: 7 });
    assert_eq!(node.at_path(["list"]).unwrap().as_seq().unwrap()[0].as_str(), Some("a"));
}

#[test]
fn duplicate_keys_as_the_reader_chooses() {
    let text = "base: &b {k: 0}\nm:\n  <<: *b\n  k: 1\n  k: 2\n";
    let with = |duplicates| documents(text, &Options { duplicates, ..Options::default() });
    let error = with(Duplicates::Refuse).unwrap_err();
    assert_eq!(error.problem, Problem::Duplicate { key: "k".into(), first: 4 });
    assert_eq!(error.at, Mark { line: 5, column: 3 });
    let kept = with(Duplicates::Keep).unwrap();
    assert_eq!(kept[0].get("m").unwrap().as_map().unwrap().len(), 2);
    let last = with(Duplicates::LastWins).unwrap();
    assert_eq!(last[0].get("m").unwrap().get("k").unwrap().value, Value::Int(2));
}

#[test]
fn json_is_read_by_its_own_rules() {
    let long = "k".repeat(2000);
    for (text, expected) in [
        ("{\n\t\"a\"\n\t:\n\t1}", r#"{"a":1}"#.to_owned()),
        (r#"{"a": "\ud83c\udf89\/\u0001"}"#, "{\"a\":\"🎉/\\u0001\"}".to_owned()),
        (
            r#"{"yes": "yes", "n": 1e2, "m": -0, "u": 18446744073709551615}"#,
            r#"{"yes":"yes","n":100.0,"m":0,"u":18446744073709551615}"#.to_owned(),
        ),
        (&format!("{{\"{long}\": []}}"), format!("{{\"{long}\":[]}}")),
        (" [ ] ", "[]".to_owned()),
        // Not JSON, but YAML's flow style.
        ("{a: yes, b: [1, 2, ]}", r#"{"a":true,"b":[1,2]}"#.to_owned()),
    ] {
        assert_eq!(json(text), expected);
    }
    assert_eq!(documents("{\"a\":1}\n{\"b\":2}", &Options::default()).unwrap().len(), 2);
    assert_eq!(documents("{\"a\": 1}\n---\n{\"b\": 2}", &Options::default()).unwrap().len(), 2);
    let error = fails("{\n \"a\": 1,\n \"b\": [1, \"\\x\"]\n}");
    assert_eq!(error.at.line, 3, "{error}");
    let error = fails("{\"a\": \"\\ud83c\"}");
    assert!(error.at.line == 1, "{error}");
    let twice = documents(r#"{"a":1,"a":2}"#, &Options { duplicates: Duplicates::Refuse, ..Options::default() });
    assert!(matches!(twice.unwrap_err().problem, Problem::Duplicate { .. }));
}

#[test]
fn hostile_sizes_are_refused_quickly() {
    let mut laughs = "a0: &a0 [l,l,l,l,l,l,l,l,l]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 9].join(",");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let began = std::time::Instant::now();
    assert!(matches!(fails(&laughs).problem, Problem::TooManyAliases(_)));
    assert!(matches!(fails(&"[".repeat(40_000)).problem, Problem::TooDeep(128)));
    assert!(matches!(fails(&"{\"a\":".repeat(40_000)).problem, Problem::TooDeep(128)));
    assert!(matches!(fails(&"- ".repeat(40_000)).problem, Problem::TooDeep(128)));
    assert!(matches!(fails(&"%TAG !a! b\n".repeat(40_000)).problem, Problem::TooManyDirectives(_)));
    // Aliases may not build depth that the text does not show.
    let mut tower = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        tower.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(matches!(fails(&tower).problem, Problem::TooDeep(128)));
    let small = Options { max_bytes: 10, ..Options::default() };
    assert!(matches!(documents("aaaaaaaaaaa", &small).unwrap_err().problem, Problem::TooLarge { .. }));
    let few = Options { max_nodes: 10, ..Options::default() };
    assert!(matches!(documents(&"- a\n".repeat(20), &few).unwrap_err().problem, Problem::TooMany(10)));
    assert!(matches!(documents(&format!("[{}1]", "1,".repeat(20)), &few).unwrap_err().problem, Problem::TooMany(10)));
    // The deepest allowed tree is walked on an ordinary thread's stack.
    let deep = format!("a: {}{}", "[".repeat(998), "]".repeat(998));
    assert_eq!(documents(&deep, &Options::lenient()).unwrap()[0].to_json().unwrap().to_string().len(), 2 * 998 + 6);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(998), "]".repeat(998));
    assert_eq!(documents(&deep, &Options::lenient()).unwrap()[0].to_json().unwrap().to_string(), deep);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn written_text_reads_back_as_the_same_strings() {
    let words = [
        "1.10",
        "0644",
        "1_000",
        "yes",
        "n",
        "~",
        "",
        "on",
        "0x1F",
        "1e3",
        "12:30:45",
        "2001-12-14",
        "=",
        "<<",
        ".inf",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "{a",
        "[a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        "\"",
        " a",
        "a ",
        "a\nb",
        "\t",
        "null",
        "+1",
        ".5",
        "08",
        "0b1",
        "---",
        "...",
        "a:",
        "?",
        "-",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{7f}",
        "\\",
    ];
    let text = to_text(&words.to_vec()).unwrap();
    let read = one(&text);
    let read: Vec<_> = read.as_seq().unwrap().iter().map(|node| node.as_str()).collect();
    assert_eq!(read, words.map(Some), "{text}");
    assert_eq!(from_text::<Vec<String>>(&text).unwrap(), words);
}

#[test]
fn typed_reading_says_where() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[allow(dead_code)]
        name: String,
    }
    let error = from_text::<Shape>("name: x\nother: 1\n").unwrap_err();
    assert_eq!(error.at.line, 2, "{error}");
    assert!(matches!(from_text::<Shape>("name: a\n---\nname: b\n").unwrap_err().problem, Problem::Documents(2)));
    assert!(matches!(from_text::<Shape>("name: a\nname: b\n").unwrap_err().problem, Problem::Duplicate { .. }));
}

/// Fragments that YAML gives a meaning to, so that random texts reach deep into the parser.
const FRAGMENTS: &str = "(\\PC{0,8}|[ \\t\\n]{0,4}|- |: |\\? |\\||>|[|>][+-]?[0-9]?\n|[\\[\\]{},\"'&*!%#@\\\\]{1,3}|&a |\\*a|<<: |!!int |!<x>|--- |\\.\\.\\.\n|%TAG ! x\n|\\\\u[0-9a-f]{4}|a: 1\n|true|0x1|1e9|\u{85}|\u{feff}){0,24}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in FRAGMENTS) {
        let _ = documents(&text, &Options::default());
        let _ = documents(&format!("{{{text}"), &Options { duplicates: Duplicates::Keep, ..Options::default() });
    }

    #[test]
    fn strings_survive_being_written(text in "\\PC{0,30}|[0-9_.+-exob:]{1,8}|[a-zA-Z~<=]{1,5}|[ -~\n\t]{0,20}") {
        let written = to_text(&vec![&text]).unwrap();
        let read = documents(&written, &Options::default()).unwrap();
        prop_assert_eq!(read[0].as_seq().unwrap()[0].as_str(), Some(text.as_str()), "{}", written);
    }
}
