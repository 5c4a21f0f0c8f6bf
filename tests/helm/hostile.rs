//! Charts that mean harm (and charts that look like it): each ends in a clear error, within bounds of work, memory and time.

use std::{
    io::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use airgap_bundler::{
    files,
    helm::{Limits, Overrides},
};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::{CHART, chart, rendered};

/// What a template must end in.
enum End {
    /// An error with these words.
    Error(&'static str),
    /// Text that holds these words: harmless.
    Text(&'static str),
}

fn judge(template: &str, end: &End) {
    let start = Instant::now();
    // What is no YAML by itself is packed.
    let packed = format!("{{{{ define \"all\" }}}}{template}{{{{ end }}}}a: {{{{ include \"all\" . | b64enc }}}}\n");
    // A tenth of the work that a chart may do: this binary is not optimised.
    let limits = Limits { steps: 5_000_000, output: 16 << 20, ..Limits::default() };
    let template_file = if matches!(end, End::Text(_)) { &packed } else { template };
    let made = chart(&[("Chart.yaml", CHART), ("templates/x.yaml", template_file)]);
    let made = made.and_then(|chart| rendered(&chart, &limits));
    match (made, end) {
        (Ok(rendered), End::Text(words)) => {
            use base64::Engine;
            let text = rendered.manifests[0].text.trim().trim_start_matches("a:").trim();
            let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(words), "{template}: {text:.200}");
        }
        (Err(error), End::Error(words)) => assert!(error.to_string().contains(words), "{template}: {error}"),
        (Ok(_), End::Error(_)) => panic!("{template}: no error"),
        (Err(error), End::Text(_)) => panic!("{template}: {error}"),
    }
    // Seconds, also without optimisation; the rest is for a machine that is busy with other tests.
    assert!(start.elapsed() < Duration::from_secs(30), "{template}: {:?}", start.elapsed());
}

#[test]
fn templates_that_grow_without_end() {
    use End::Error;
    for (template, end) in [
        // Doubling: by variable, by join, by toYaml, by replace, by tpl, by include.
        ("{{ $x := \"xxxxxxxx\" }}{{ range until 64 }}{{ $x = cat $x $x }}{{ end }}", Error("bytes")),
        ("{{ $x := list 1 2 }}{{ range until 64 }}{{ $x = concat $x $x }}{{ end }}", Error("")),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toYaml $x }}",
            Error(""),
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toJson $x }}",
            Error(""),
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ deepCopy $x | kindOf }}",
            Error(""),
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ print $x }}",
            Error(""),
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toToml $x }}",
            Error(""),
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ $y := dict }}{{ $_ := merge $y $x }}{{ $_ = mergeOverwrite $y (deepCopy $x) }}",
            Error(""),
        ),
        ("{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = replace \"a\" \"aa\" $x }}{{ end }}", Error("bytes")),
        (
            "{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = regexReplaceAll \"a\" $x \"aa\" }}{{ end }}",
            Error("bytes"),
        ),
        ("{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = b64enc $x }}{{ end }}", Error("bytes")),
        ("{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = quote $x $x }}{{ end }}", Error("bytes")),
        ("{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = list $x $x | join $x }}{{ end }}", Error("bytes")),
        ("{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = print $x $x }}{{ end }}", Error("bytes")),
        (
            "{{ $x := \"aaaaaaaa\" }}{{ range until 64 }}{{ $x = tpl (print $x $x \"{{ 1 }}\") $ }}{{ end }}",
            Error("bytes"),
        ),
        (
            "{{ define \"a\" }}{{ include \"b\" . }}{{ include \"b\" . }}{{ end }}{{ define \"b\" }}{{ include \"c\" . }}{{ include \"c\" . }}{{ end }}{{ define \"c\" }}{{ if . }}{{ include \"a\" . }}{{ end }}{{ end }}{{ include \"a\" 1 }}",
            Error(""),
        ),
        (
            "{{ define \"a\" }}{{ if lt . 60 }}{{ template \"a\" (add1 . | int) }}{{ template \"a\" (add1 . | int) }}{{ end }}{{ end }}{{ template \"a\" 0 }}",
            Error("steps"),
        ),
        ("{{ define \"a\" }}{{ tpl \"{{ include \\\"a\\\" . }}\" . }}{{ end }}{{ include \"a\" . }}", Error("nested")),
    ] {
        judge(template, &end);
    }
}

#[test]
fn counts_and_widths_beyond_reason() {
    use End::{Error, Text};
    for (template, end) in [
        ("{{ repeat 9223372036854775807 \"x\" }}", Error("bytes")),
        ("{{ repeat 1000000000 \"\" | len }}", Text("0")),
        ("{{ until 9223372036854775807 }}", Error("")),
        ("{{ untilStep 0 9223372036854775807 1 }}", Error("")),
        ("{{ untilStep 0 10 0 | len }}", Text("0")),
        ("{{ untilStep -9223372036854775808 9223372036854775807 9223372036854775807 | len }}", Text("")),
        ("{{ seq 1 1000000000 }}", Error("")),
        ("{{ seq 1 1 9223372036854775807 }}", Error("")),
        ("{{ indent 1000000000 \"a\" }}", Error("bytes")),
        ("{{ nindent 9223372036854775807 \"a\" }}", Error("")),
        ("{{ printf \"%1000000000d\" 1 }}", Text("")),
        ("{{ printf \"%.1000000000f\" 1.5 }}", Text("")),
        ("{{ printf \"%*d\" 1000000000 1 }}", Text("")),
        ("{{ printf \"%[1]*[1]d%[1]*[1]d\" 999999 | len }}", Text("")),
        ("{{ randAlphaNum 1000000000 }}", Error("bytes")),
        ("{{ randBytes 1000000000 }}", Error("bytes")),
        ("{{ wrap 1 (repeat 1000000 \"a \") | len }}", Text("")),
        ("{{ abbrev 9223372036854775807 \"abc\" }}", Text("abc")),
        ("{{ trunc -9223372036854775808 \"abc\" }}", Text("")),
        ("{{ substr -9223372036854775808 9223372036854775807 \"abc\" }}", Error("out of range")),
        ("{{ splitn \"\" 9223372036854775807 \"abc\" | len }}", Text("")),
        ("{{ regexSplit \"\" (repeat 100000 \"a\") 9223372036854775807 | len }}", Text("")),
        ("{{ chunk 1 (until 100000) | len }}", Text("100000")),
        ("{{ chunk 0 (until 10) | len }}", Error("")),
        ("{{ round 1.5 1000000000 }}", Text("")),
        ("{{ add 9223372036854775807 1 }}", Text("-9223372036854775808")),
        ("{{ div -9223372036854775808 -1 }}", Text("")),
        ("{{ mod -9223372036854775808 -1 }}", Text("")),
        ("{{ dateModify \"9999999h\" (toDate \"2006\" \"9999\") | date \"2006\" }}", Text("")),
        ("{{ date \"2006\" 9223372036854775807 }}", Text("")),
        ("{{ date \"2006\" -9223372036854775808 }}", Text("")),
        ("{{ date (repeat 100000 \"January \") 0 | len }}", Text("")),
        ("{{ range until 100000 }}{{ $_ := genPrivateKey \"rsa\" }}{{ end }}", Error("steps")),
        ("{{ range until 100000 }}{{ $_ := bcrypt \"a\" }}{{ end }}", Error("steps")),
        ("{{ range until 100000 }}{{ $_ := derivePassword 1 \"long\" \"a\" \"b\" \"c\" }}{{ end }}", Error("steps")),
    ] {
        judge(template, &end);
    }
}

#[test]
fn patterns_that_explode() {
    use End::{Error, Text};
    for (template, end) in [
        ("{{ regexMatch \"(a+)+$\" (print (repeat 100000 \"a\") \"b\") }}", Text("false")),
        ("{{ regexMatch \"(a|aa)*c\" (repeat 100000 \"a\") }}", Text("false")),
        ("{{ regexMatch \"(((a{100}){100}){100}){100}\" \"a\" }}", Text("false")),
        ("{{ mustRegexMatch \"(((a{100}){100}){100}){100}\" \"a\" }}", Error("")),
        ("{{ mustRegexMatch (print (repeat 10000 \"(\") \"a\" (repeat 10000 \")\")) \"a\" }}", Error("")),
        ("{{ mustRegexMatch \"\\\\pL{1000}\\\\pL{1000}\\\\pL{1000}\" \"a\" }}", Error("")),
        ("{{ mustRegexMatch (repeat 1000000 \"a|\") \"b\" }}", Error("size limit")),
        ("{{ regexFindAll \"\" (repeat 100000 \"a\") -1 | len }}", Text("100001")),
        ("{{ semverCompare (repeat 100000 \"||1\") \"1\" }}", Error("improper constraint")),
        ("{{ semverCompare (repeat 100000 \"1.\") \"1\" }}", Error("")),
    ] {
        judge(template, &end);
    }
}

#[test]
fn documents_that_explode() {
    use End::{Error, Text};
    let bomb = "{{ $b := \"a: &a [x,x,x,x,x,x,x,x,x]\\n\" }}{{ range $i, $c := list \"b\" \"c\" \"d\" \"e\" \"f\" \"g\" \"h\" \"i\" }}{{ $p := index (list \"a\" \"b\" \"c\" \"d\" \"e\" \"f\" \"g\" \"h\") $i }}{{ $b = printf \"%s%s: &%s [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\\n\" $b $c $c $p $p $p $p $p $p $p $p $p }}{{ end }}";
    let with = |tail: &str| format!("{bomb}{tail}");
    for (template, end) in [
        (with("{{ fromYaml $b | toJson | trunc 20 }}"), Text("Error")),
        (with("{{ $b | fromYamlArray | toJson | trunc 20 }}"), Text("rror")),
        (with("{{ tpl \"{{ fromYaml .b }}\" (dict \"b\" $b) | trunc 30 }}"), Text("Error")),
        ("{{ fromYaml (repeat 100000 \"[\") | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromYaml (print \"a: \" (repeat 100000 \"{a: \")) | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromYaml (repeat 20000 \"- \") | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromYaml \"a: &a\\n  b: *a\" | toJson }}".to_owned(), Text("Error")),
        ("{{ fromYaml \"a: &a {<<: *a}\" | toJson }}".to_owned(), Text("Error")),
        ("{{ fromJson (repeat 100000 \"[\") | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromJson (repeat 100000 `{\"a\":`) | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromToml (print \"a = \" (repeat 100000 \"[\")) | toJson | trunc 10 }}".to_owned(), Text("Error")),
        ("{{ fromToml (print (repeat 100000 \"a.\") \"a = 1\") | toJson | trunc 10 }}".to_owned(), Text("")),
        ("{{ fromYaml \"a: 1e999999999\" | toJson }}".to_owned(), Text("")),
        ("{{ fromYaml \"a: !!binary ____\" | toJson }}".to_owned(), Text("")),
        ("{{ fromYaml \"%TAG ! tag:x,2000:\\n---\\n!x a\" | toJson }}".to_owned(), Text("")),
        ("{{ mustFromJson \"1e999999999\" }}".to_owned(), Error("")),
    ] {
        judge(&template, &end);
    }
    let levels = (0..9).fold("v0: &v0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
        let next = i + 1;
        format!("{text}v{next}: &v{next} [{}]\n", vec![format!("*v{i}"); 9].join(","))
    });
    let deep = "[".repeat(200_000);
    for values in [levels.as_str(), &deep, "a: &a [*a]\n", &"a: {".repeat(50_000)] {
        let start = Instant::now();
        let made = chart(&[
            ("Chart.yaml", CHART),
            ("values.yaml", values),
            ("templates/a.yaml", "a: {{ toYaml .Values | len }}"),
        ]);
        let made = made.and_then(|chart| rendered(&chart, &Limits::default()));
        assert!(made.is_err(), "{:.60}", values);
        assert!(Overrides::new().file("x", values).check().is_err(), "{:.60}", values);
        assert!(start.elapsed() < Duration::from_secs(20), "{:.60}: {:?}", values, start.elapsed());
    }
}

#[test]
fn nothing_outside_the_chart_is_seen() {
    use End::{Error, Text};
    for (template, end) in [
        (
            "a: [{{ .Files.Get \"../../etc/passwd\" | quote }}, {{ .Files.Get \"/etc/passwd\" | quote }}]",
            Text("[\"\", \"\"]"),
        ),
        (
            "a: {{ (.Files.Glob \"/etc/*\").AsConfig | quote }}{{ (.Files.Glob \"../**\").AsSecrets | quote }}",
            Text("{}\"\"{}"),
        ),
        ("a: {{ .Files.Get \"C:\\\\\\\\Windows\" | quote }}{{ .Files.Get \"\\u0000\" | quote }}", Text("\"\"")),
        ("a: {{ .Files.Lines \"/dev/zero\" | len }}", Text("0")),
        ("a: {{ getHostByName \"localhost\" | quote }}", Text("\"\"")),
        ("a: {{ lookup \"v1\" \"Secret\" \"kube-system\" \"\" | toJson }}", Text("{}")),
        ("a: {{ env \"HOME\" }}", Error("function \"env\" not defined")),
        ("a: {{ expandenv \"$HOME\" }}", Error("function \"expandenv\" not defined")),
        ("a: {{ include \"../../etc/passwd\" . }}", Error("no template")),
        ("a: {{ template \"/etc/passwd\" . }}", Error("not defined")),
        ("a: {{ dateInZone \"MST\" 0 \"../../../etc/passwd\" }}", Text("UTC")),
        ("a: {{ osBase \"/a/b\" }}{{ osDir \"/a/b\" }}{{ osClean \"../..\" }}", Text("b/a../..")),
    ] {
        judge(template, &end);
    }
}

#[test]
fn names_that_would_be_paths_or_commands() {
    for (file, words) in [
        ("name: ..\nversion: 1.0.0", "name"),
        ("name: .\nversion: 1.0.0", "name"),
        ("name: a/b\nversion: 1.0.0", "name"),
        ("name: ../../x\nversion: 1.0.0", "name"),
        ("name: \"\"\nversion: 1.0.0", "name"),
        ("name: [a]\nversion: 1.0.0", ""),
        ("version: 1.0.0", "name"),
        ("name: a\nversion: ../1", "version"),
        ("name: a\nversion: \"1.0.0\\u001b[31m\"", "version"),
        ("name: a\nversion: \"\"", "version"),
        ("name: a\nversion: 1.0.0\ndependencies: [{name: ../x, version: 1.0.0}]", ""),
        ("name: a\nversion: 1.0.0\ndependencies: [{name: x, alias: ../y, version: 1.0.0}]", "alias"),
        ("name: a\nversion: 1.0.0\ndependencies: [null]", ""),
        ("name: a\nversion: 1.0.0\nmaintainers: [null]", ""),
        ("name: a\nversion: 1.0.0\ntype: nonsense", "type"),
        ("[]", ""),
        ("null", ""),
        ("a: &a [*a]", ""),
    ] {
        let text = format!("apiVersion: v2\n{file}\n");
        let text = if file.starts_with("name") || file.starts_with("version") { &text } else { file };
        let made = chart(&[("Chart.yaml", text), ("templates/a.yaml", "a: 1")])
            .and_then(|chart| rendered(&chart, &Limits::default()));
        let error = match made {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{file}: no error"),
        };
        assert!(error.contains(words), "{file}: {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn charts_in_charts_and_schemas_without_end() {
    let mut files = vec![("Chart.yaml".to_owned(), CHART.to_owned())];
    let mut folder = String::new();
    for level in 0..100 {
        folder.push_str(&format!("charts/c{level}/"));
        files.push((format!("{folder}Chart.yaml"), format!("apiVersion: v2\nname: c{level}\nversion: 1.0.0\n")));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let error = chart(&files).and_then(|chart| rendered(&chart, &Limits::default())).unwrap_err();
    assert!(error.to_string().contains("levels") || error.to_string().contains("nested"), "{error}");
    for (schema, is_error) in [
        ("{\"$ref\": \"#\"}", true),
        (
            "{\"$ref\": \"#/definitions/a\", \"definitions\": {\"a\": {\"$ref\": \"#/definitions/b\"}, \"b\": {\"$ref\": \"#/definitions/a\"}}}",
            true,
        ),
        ("{\"$ref\": \"https://example.com/schema.json\"}", false),
        ("{\"$ref\": \"file:///etc/passwd\"}", false),
        ("{\"properties\": {\"a\": {\"pattern\": \"((a{1000}){1000}){1000}\"}}}", true),
        ("{\"allOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}", true),
    ] {
        let start = Instant::now();
        let made = chart(&[
            ("Chart.yaml", CHART),
            ("values.yaml", "a: x\n"),
            ("values.schema.json", schema),
            ("templates/a.yaml", "a: 1"),
        ]);
        let made = made.and_then(|chart| rendered(&chart, &Limits::default()));
        match made {
            Err(_) => assert!(is_error, "{schema}"),
            Ok(rendered) => assert!(!is_error && !rendered.warnings.is_empty(), "{schema}"),
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{schema}");
    }
}

/// Writes a gzipped tar of entries: name, type, link target or content.
fn packed(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        // The writer refuses such names: they are put in as they are.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let mut data: &[u8] = content;
        if kind.is_symlink() || kind.is_hard_link() {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content);
            data = &[];
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn packed_charts_that_lie() {
    use tar::EntryType as Kind;
    let home = TempDir::new().unwrap();
    let chart_file = ("golden/Chart.yaml", Kind::Regular, CHART.as_bytes());
    for (name, entry) in [
        ("a symlink out", ("golden/templates/x.yaml", Kind::Symlink, &b"/etc/passwd"[..])),
        ("a symlink up", ("golden/values.yaml", Kind::Symlink, b"../../../etc/passwd")),
        ("a symlink of the lock", ("golden/Chart.lock", Kind::Symlink, b"/root/.bashrc")),
        ("a hard link", ("golden/templates/x.yaml", Kind::Link, b"/etc/passwd")),
        ("a path up", ("golden/../../x.yaml", Kind::Regular, b"a: 1")),
        ("an absolute path", ("/golden/templates/x.yaml", Kind::Regular, b"a: 1")),
        ("a device", ("golden/templates/x.yaml", Kind::Char, b"")),
        ("a pipe", ("golden/templates/x.yaml", Kind::Fifo, b"")),
    ] {
        let bytes = packed(&[chart_file, entry]);
        let made = files::read_tarball(Path::new(name), &bytes[..], &files::Limits::default());
        assert!(made.is_err(), "{name}");
    }
    // 300 MiB of zeros in 1.3 MB, and gzip of gzip.
    let zeros = vec![0; 300 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&zeros).unwrap();
    let bomb = encoder.finish().unwrap();
    drop(zeros);
    assert!(files::read_tarball(Path::new("zeros"), &bomb[..], &files::Limits::default()).is_err());
    let inner = packed(&[chart_file, ("golden/charts/b-1.0.0.tgz", Kind::Regular, &bomb)]);
    let path = home.path().join("golden.tgz");
    std::fs::write(&path, inner).unwrap();
    let (code, said) = bundle(&["template", path.to_str().unwrap()]);
    assert!(code != 0 && code != 70 && said.contains("b-1.0.0.tgz"), "{code}: {said}");
}

/// Runs the program with 1.5 GB of address space; the renderer's stack takes 0.5 of it, mapped but not used.
fn bundle(arguments: &[&str]) -> (i32, String) {
    let limited = "ulimit -v 1500000; exec \"$@\"";
    let mut all = vec!["-c", limited, "sh", env!("CARGO_BIN_EXE_bundle")];
    all.extend(arguments);
    let output = Command::new("sh").args(all).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_program_ends_with_an_error_and_little_memory() {
    for (template, words) in [
        ("{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}", "nested"),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toYaml $x }}",
            "template",
        ),
        (
            "{{ $x := dict \"a\" \"b\" }}{{ range until 64 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ deepCopy $x }}",
            "steps",
        ),
        ("{{ $x := \"xxxxxxxxxxxxxxxx\" }}{{ range until 64 }}{{ $x = print $x $x }}{{ end }}", "bytes"),
        (
            "{{ $d := dict }}{{ range $i := until 1000000 }}{{ $_ := set $d (print $i) (repeat 10000 \"x\") }}{{ end }}",
            "",
        ),
        ("{{ $l := list }}{{ range $i := until 1000000 }}{{ $l = append $l (repeat 1000000 \"x\") }}{{ end }}", ""),
        ("{{ range $i := until 1000000 }}{{ tpl (print \"{{ 1 }}\" $i (repeat 100000 \"x\")) $ | len }}{{ end }}", ""),
        ("{{ range $i := until 1000000 }}{{ regexMatch (print \"[a-z]{500}\" $i) \"x\" }}{{ end }}", ""),
    ] {
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join("templates")).unwrap();
        std::fs::write(home.path().join("Chart.yaml"), CHART).unwrap();
        std::fs::write(home.path().join("templates/a.yaml"), template).unwrap();
        let (code, said) = bundle(&["template", home.path().to_str().unwrap()]);
        assert!(
            code == 2 && said.contains(words) && said.contains("golden/templates/a.yaml:1"),
            "{template}: {code}: {said}"
        );
    }
}
