//! What people read when a chart fails: the place, the reason in the chart's own words, and what to do.

use airgap_bundler::{
    error::{Classify as _, Diagnostic},
    helm::Limits,
};

use super::{CHART, chart, rendered};

/// Renders a chart that must fail, and returns its one diagnostic with the text of the error.
fn failed(files: &[(&str, &str)]) -> (Diagnostic, String) {
    let mut all = vec![("Chart.yaml", CHART)];
    all.extend(files);
    let chart = chart(&all).unwrap();
    let error = rendered(&chart, &Limits::default()).unwrap_err();
    (error.diagnostics()[0].clone(), error.to_string())
}

fn place(diagnostic: &Diagnostic) -> String {
    diagnostic.at.as_ref().unwrap().to_string()
}

#[test]
fn a_missing_value_is_named_with_its_path() {
    let template = "kind: Secret\ndata:\n  password: {{ .Values.auth.user.password | b64enc }}\n";
    for values in ["auth: {}\n", "auth:\n  user:\n"] {
        let (found, text) = failed(&[("values.yaml", values), ("templates/a.yaml", template)]);
        assert_eq!(place(&found), "golden/templates/a.yaml:3:23");
        assert!(found.message.contains("reads the value auth.user.password, but auth.user is not set"), "{found}");
        let hint = found.hint.unwrap();
        assert!(
            hint.contains("set auth.user.password in a values file, or with --set auth.user.password=VALUE"),
            "{hint}"
        );
        assert!(hint.contains("the line is: password: {{ .Values.auth.user.password | b64enc }}"), "{hint}");
        assert!(text.contains("nil pointer evaluating interface {}.password"), "{text}");
    }
}

#[test]
fn values_of_subcharts_are_named_as_the_user_sets_them() {
    let (found, _) = failed(&[
        ("charts/redis/Chart.yaml", "apiVersion: v2\nname: redis\nversion: 1.0.0\n"),
        (
            "charts/redis/templates/_helpers.tpl",
            "{{ define \"redis.password\" }}\n{{- $.Values.auth.password }}\n{{ end }}",
        ),
        ("charts/redis/templates/s.yaml", "a: 1\nb: {{ include \"redis.password\" . }}\n"),
    ]);
    assert_eq!(place(&found), "golden/charts/redis/templates/_helpers.tpl:2:6");
    let hint = found.hint.unwrap();
    assert!(found.message.contains("redis.auth.password, but redis.auth is not set"), "{}", found.message);
    assert!(hint.contains("--set redis.auth.password=VALUE"), "{hint}");
    assert!(hint.contains("it is included from golden/charts/redis/templates/s.yaml:2"), "{hint}");
}

#[test]
fn every_place_from_the_file_to_the_failing_line_is_there() {
    let (found, text) = failed(&[
        (
            "templates/_h.tpl",
            "{{ define \"outer\" }}\n{{ include \"inner\" . }}{{ end }}\n{{ define \"inner\" }}\n\n{{ tpl \"{{ upper 1 }}\" . }}{{ end }}",
        ),
        ("templates/a.yaml", "a: 1\nb:\n{{ include \"outer\" . }}\n"),
    ]);
    assert_eq!(place(&found), "gotpl:1:10");
    assert_eq!(found.message, "expected string; found 1");
    let hint = found.hint.unwrap();
    let chain = "from golden/templates/_h.tpl:5, from golden/templates/_h.tpl:2, from golden/templates/a.yaml:3";
    assert!(hint.contains(chain), "{hint}");
    for part in ["golden/templates/a.yaml:3:3", "golden/templates/_h.tpl:2:3", "golden/templates/_h.tpl:5:3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_words_of_the_chart_are_shown_as_they_are() {
    let words = "  two lines:\n\n    --set a.b=c  ";
    let template = format!("a: 1\n{{{{ fail {words:?} }}}}\n");
    let (found, text) = failed(&[("templates/a.yaml", &template)]);
    assert_eq!((found.code, found.message.as_str()), ("chart-refused", words));
    assert_eq!(place(&found), "golden/templates/a.yaml:2:4");
    assert!(text.contains(words));
    for template in [
        "a: {{ required \"a password is needed\" .Values.auth.password }}",
        "a: {{ .Values.auth.password | required \"a password is needed\" }}",
        "a: {{ .Values.auth.password | quote | trimAll \"\\\"\" | required \"a password is needed\" }}",
    ] {
        let (found, _) = failed(&[("values.yaml", "auth: {password: \"\"}\n"), ("templates/a.yaml", template)]);
        assert_eq!(found.message, "a password is needed");
        assert!(found.hint.as_ref().unwrap().contains("--set auth.password=VALUE"), "{found}");
    }
}

#[test]
fn other_failures_name_the_values_of_their_line() {
    let (found, _) = failed(&[("values.yaml", "port: 80\n"), ("templates/a.yaml", "a: {{ upper .Values.port }}\n")]);
    assert_eq!(found.message, "wrong type for value; expected string; got float64");
    assert!(found.hint.unwrap().contains("look at the values that this line reads: port"));
    let (found, _) = failed(&[("templates/a.yaml", "a: {{ range until 1000000000 }}{{ end }}\n")]);
    assert!(found.message.contains("steps") && found.hint.unwrap().contains("look for a loop"), "{}", found.message);
}

#[test]
fn files_that_are_no_templates_or_make_no_yaml_name_their_line() {
    for (template, words) in [
        ("a: 1\nb: {{ if }}\n", "golden/templates/a.yaml:2): missing value for if"),
        ("a: 1\nb: {{ nope }}\n", "golden/templates/a.yaml:2): function \"nope\" not defined"),
        ("a: 1\n{{ if true }}\n", "golden/templates/a.yaml:3): unexpected EOF"),
        ("a: 1\nb: {{ \"x: [\" }}\nc: 1\n", "golden/templates/a.yaml:"),
    ] {
        let chart = chart(&[("Chart.yaml", CHART), ("templates/a.yaml", template)]).unwrap();
        let error = rendered(&chart, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
