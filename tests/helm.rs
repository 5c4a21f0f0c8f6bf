//! The chart renderer against what the real helm answered (`tests/data/helm`, with the script that asked), and against
//! hostile input.

mod errors;
mod hostile;
mod keys;

use std::collections::BTreeMap;

use airgap_bundler::{
    helm::{
        Ambient, Capabilities, Chart, Error, KeySource, Limits, Options, Origin, Overrides, Release, Rendered, Time,
        render,
    },
    tree::Tree,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;

const CHART: &str = "apiVersion: v2\nname: golden\nversion: 1.2.3\nappVersion: \"4.5\"\n";

fn chart(files: &[(&str, &str)]) -> Result<Chart, Error> {
    let tree: Tree =
        files.iter().map(|(path, text)| (path.parse().unwrap(), Bytes::copy_from_slice(text.as_bytes()))).collect();
    Chart::load(&tree, Origin::Folder, &|_, _| Err("no archives here".to_owned()))
}

fn ambient() -> Ambient {
    Ambient { now: Time::unix(1_700_000_000), random: [7; 32], keys: KeySource::Sample }
}

fn rendered(chart: &Chart, limits: &Limits) -> Result<Rendered, Error> {
    rendered_with(chart, limits, &ambient())
}

fn rendered_with(chart: &Chart, limits: &Limits, ambient: &Ambient) -> Result<Rendered, Error> {
    let capabilities = Capabilities::default().with_kube_version("1.33.0").unwrap();
    let release = Release::new("rel", "ns");
    render(chart, &Overrides::new(), &release, &capabilities, ambient, limits, &Options::default())
}

/// Renders one expression, or one file, in the chart that the real helm was asked with.
fn evaluate(case: &Json, values: &str, files: &BTreeMap<String, String>) -> Result<String, String> {
    let (partial, name) = match (case["expr"].as_str(), case["file"].as_str()) {
        (Some(expression), _) => (format!("{{{{- define \"x\" -}}}}{expression}{{{{- end -}}}}"), "x"),
        (None, text) => (text.unwrap().replace("@@", "1"), "golden/templates/_x.tpl"),
    };
    let template = &format!("kind: X\nv: {{{{ include {name:?} . | b64enc | quote }}}}\n");
    let mut all = vec![
        ("Chart.yaml", CHART),
        ("values.yaml", values),
        ("templates/_x.tpl", &partial),
        ("templates/x.yaml", template),
    ];
    all.extend(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let chart = chart(&all).map_err(|error| error.to_string())?;
    let rendered = rendered(&chart, &Limits::default()).map_err(|error| error.to_string())?;
    let text = &rendered.manifests[0].text;
    Ok(text.lines().find_map(|line| line.strip_prefix("v: \"")?.strip_suffix('"')).unwrap_or_default().to_owned())
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn expressions_give_what_helm_gives() {
    let shared: Json = serde_json::from_str(include_str!("data/helm/chart.json")).unwrap();
    let values = shared["values"].as_str().unwrap();
    let files: BTreeMap<String, String> = serde_json::from_value(shared["files"].clone()).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in include_str!("data/helm/expressions.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let expression = case["expr"].as_str().or(case["file"].as_str()).unwrap();
        let have = evaluate(&case, values, &files);
        count += 1;
        let want = case["out"].as_str().map(base64).or_else(|| case["b64"].as_str().map(str::to_owned));
        let good = match (&have, &want) {
            (Ok(have), Some(want)) => have == want,
            (Err(_), None) => true,
            _ => false,
        };
        if !good {
            use base64::Engine;
            let have = have.map(|have| {
                let bytes = base64::engine::general_purpose::STANDARD.decode(have).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let helm = case["out"].as_str().or(case["error"].as_str()).unwrap_or("bytes");
            wrong.push(format!("{expression}\n   helm: {helm:?}\n   here: {have:?}"));
        }
    }
    assert!(count >= 9_400, "only {count} expressions");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn one(template: &str) -> Result<Rendered, Error> {
    let chart = chart(&[("Chart.yaml", CHART), ("values.yaml", "a: {b: 1}\n"), ("templates/x.yaml", template)])?;
    rendered(&chart, &Limits::default())
}

#[test]
fn hostile_templates_end_in_a_clear_error() {
    for (template, word) in [
        ("{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}", "nested reference"),
        ("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}", "nested more than"),
        (
            "{{ define \"a\" }}{{ include \"b\" . }}{{ end }}{{ define \"b\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}",
            "nested",
        ),
        ("{{ $t := \"{{ tpl .t . }}\" }}{{ tpl $t (dict \"t\" $t) }}", "nested more than"),
        ("{{ range until 1000000000 }}x{{ end }}", "steps"),
        ("{{ range $i := until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}", "steps"),
        ("{{ range 9223372036854775807 }}{{ end }}", "steps"),
        ("{{ repeat 1000000000 \"x\" }}", "bytes"),
        ("{{ printf \"%1000000000d\" 1 }}", ""),
        ("{{ nindent 1000000000 \"a\" }}", "bytes"),
        ("{{ $x := \"xxxxxxxxxxxxxxxx\" }}{{ range until 64 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "bytes"),
        ("{{ range until 100000 }}{{ $_ := genPrivateKey \"rsa\" }}{{ end }}", "steps"),
        ("{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ print $d }}", "nested more than"),
        ("{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ deepCopy $d }}", "nested more than"),
        ("{{ $l := list }}{{ range until 1000000 }}{{ $l = append $l 1 }}{{ end }}", "steps"),
    ] {
        match one(template) {
            Ok(_) if word.is_empty() => {}
            Ok(_) => panic!("{template}: no error"),
            Err(error) => assert!(error.to_string().contains(word), "{template}: {error}"),
        }
    }
}

#[test]
fn deep_values_and_linear_patterns_do_no_harm() {
    one("{{ $d := dict }}{{ range until 100000 }}{{ $d = dict \"d\" $d }}{{ end }}a: {{ toYaml $d | len }}").unwrap();
    one("a: {{ regexMatch \"(a+)+$\" (printf \"%sb\" (repeat 100000 \"a\")) }}").unwrap();
    one("a: [{{ .Files.Get \"../../etc/passwd\" | quote }}, {{ .Files.Get \"/etc/passwd\" | quote }}]").unwrap();
    assert!(one("{{ env \"HOME\" }}").is_err());
    assert!(one(&format!("{}1{}", "{{ (".to_owned() + &"(".repeat(5000), ")".repeat(5001) + " }}")).is_err());
}

#[test]
fn lines_of_the_output_lead_to_lines_of_the_template() {
    let template = "# comment\nkind: A\n{{- if true }}\nname: {{ .Values.a.b }}\n{{- end }}\n---\nkind: B\nlist:\n{{- range until 2 }}\n- x{{ . }}\n{{- end }}\nlast: 1\n";
    let rendered = one(template).unwrap();
    let line = |manifest: usize, line: u32| rendered.manifests[manifest].template_line(line);
    assert_eq!(rendered.manifests[0].text, "# comment\nkind: A\nname: 1");
    assert_eq!([line(0, 1), line(0, 2), line(0, 3)], [Some(1), Some(2), Some(4)]);
    assert_eq!(rendered.manifests[1].text, "kind: B\nlist:\n- x0\n- x1\nlast: 1");
    assert_eq!(
        [line(1, 1), line(1, 2), line(1, 3), line(1, 4), line(1, 5)],
        [Some(7), Some(8), Some(10), Some(10), Some(12)]
    );
}

#[test]
fn unread_values_and_broken_manifests_are_named() {
    let files = [("Chart.yaml", CHART), ("values.yaml", "a: {b: 1}\n"), ("templates/x.yaml", "k: {{ .Values.a.b }}\n")];
    let chart = chart(&files).unwrap();
    let values = Overrides::new().set("a.b=2,a.typo=1,other=x");
    let release = Release::new("rel", "ns");
    let done = render(
        &chart,
        &values,
        &release,
        &Capabilities::default(),
        &ambient(),
        &Limits::default(),
        &Options::default(),
    )
    .unwrap();
    let told: Vec<String> = done.warnings.iter().map(|warning| format!("{warning:?}")).collect();
    assert_eq!(told, ["UnusedValue { path: \"a.typo\" }", "UnusedValue { path: \"other\" }"]);
    match one("a: 1\nb: [\n{{ print \"c: : d\" }}\n") {
        Err(Error::Manifest { line: Some(line), .. }) => assert!(line >= 2),
        other => panic!("{other:?}"),
    }
}

/// Pieces that make templates which get past the lexer more often than noise does.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    "if",
    "else",
    "end",
    "range",
    "with",
    "define",
    "template",
    "block",
    "include",
    "tpl",
    ".",
    "$",
    "$x",
    ":=",
    "=",
    "|",
    "(",
    ")",
    "\"a\"",
    "`b`",
    "'c'",
    "1",
    "-2.5",
    "nil",
    "true",
    ".Values",
    ".a.b",
    "dict",
    "list",
    "set",
    "printf",
    "\"%d %v\"",
    "toYaml",
    "fromYaml",
    "merge",
    "index",
    "slice",
    "until",
    "eq",
    "and",
    "or",
    "not",
    "default",
    "break",
    "continue",
    "\n",
    "text: ",
    "/*",
    "*/",
    ",",
    "quote",
    "trunc",
    "regexMatch",
    "\"[\"",
    "deepCopy",
    "keys",
    "$",
    "é",
    "\u{0}",
    "\\",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_template_panics_or_runs_for_ever(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let mut text = String::new();
        for piece in pieces {
            text.push_str(PIECES[piece]);
            text.push(' ');
        }
        // In this thread, so that a panic is one of the test.
        if let Ok(parsed) = airgap_bundler::helm::template::parser::parse("t", &text) {
            let limits = Limits { steps: 20_000, output: 1 << 20, nesting: 20 };
            let ambient = ambient();
            let mut templates = airgap_bundler::helm::template::exec::Templates::default();
            templates.add(&parsed);
            let mut interp = airgap_bundler::helm::template::exec::Interp::new(templates, &ambient, &limits);
            let _ = interp.file("t", airgap_bundler::helm::template::value::Value::dict(Default::default()));
            prop_assert!(interp.steps() <= 40_000);
        }
    }

    #[test]
    fn no_text_panics_the_parser(text in "\\PC*", inside in "[ -~]{0,40}") {
        let _ = airgap_bundler::helm::template::parser::parse("t", &text);
        let _ = airgap_bundler::helm::template::parser::parse("t", &format!("{{{{ {inside} }}}}"));
    }

    #[test]
    fn flags_never_panic(text in "[a-c.\\[\\]=,{}\\\\0-9 \"]{0,30}") {
        for values in [Overrides::new().set(&text), Overrides::new().set_string(&text), Overrides::new().set_json(&text), Overrides::new().set_literal(&text)] {
            let _ = values.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_values_never_panics(
        root in value(), child in value(), given in value(), set in "[a-c.]{0,6}(\\[[0-9]{1,2}\\])?=(null|1|\\{a,b\\}|x)?", text in "(child|global|[a-c])[.][a-c]=null"
    ) {
        let mut live = CHARTS.with(|cell| cell.borrow().clone());
        live[1].1 = root;
        live[3].1 = child;
        let files: Vec<(&str, &str)> = live.iter().map(|(path, text)| (*path, text.as_str())).collect();
        // In this thread, so that a panic is one of the test.
        if let Ok(chart) = chart(&files) {
            let overrides = Overrides::new().file("given", given).set(set).set(text);
            let capabilities = Capabilities::default();
            let limits = Limits { steps: 100_000, ..Limits::default() };
            let release = Release::new("rel", "ns");
            let made = render(&chart, &overrides, &release, &capabilities, &ambient(), &limits, &Options::default());
            prop_assert!(!matches!(made, Err(Error::Renderer(_))), "{:?}", made.err());
        }
    }
}

thread_local! {
    static CHARTS: std::cell::RefCell<Vec<(&'static str, String)>> = std::cell::RefCell::new(vec![
        ("Chart.yaml", format!("{CHART}dependencies: [{{name: child, version: 1.0.0, condition: a.b, tags: [a], import-values: [b, {{child: c, parent: a}}]}}]\n")),
        ("values.yaml", String::new()),
        ("charts/child/Chart.yaml", "apiVersion: v2\nname: child\nversion: 1.0.0\n".to_owned()),
        ("charts/child/values.yaml", String::new()),
        ("templates/a.yaml", "a: {{ toJson .Values }}\n".to_owned()),
        ("charts/child/templates/a.yaml", "a: {{ toJson .Values }}\n".to_owned()),
    ]);
}

/// Values of few names, so that they meet: tables, lists, nulls, scalars, the subchart and the globals.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Json::Null),
        Just(Json::from(1)),
        Just(Json::from("x")),
        Just(Json::from(false)),
        Just(serde_json::json!([1, null]))
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        proptest::collection::btree_map(
            prop_oneof![Just("a"), Just("b"), Just("c"), Just("child"), Just("global"), Just("exports"), Just("tags")],
            inner,
            0..4,
        )
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    });
    tree.prop_map(|tree| format!("{tree}\n"))
}
