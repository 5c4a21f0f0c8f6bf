//! Traps that other finders of images fell into, where charts are concerned; hooks, failures, variants and versions of the
//! cluster have theirs in `rendering.rs`, dependencies in `dependencies.rs`.

use airgap_bundler::error::Kind;

use super::{Desk, images};
use crate::support::repository::pod;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

/// A chart with a subchart `db` that is there twice under other names: once on, once off.
fn with_aliases() -> Desk {
    let desk = Desk::new();
    let needs = "dependencies:\n- {name: db, version: '*', alias: main, condition: main.enabled}\n- {name: db, version: '*', alias: spare, condition: spare.enabled}\n";
    desk.write("web/Chart.yaml", format!("{CHART}{needs}"))
        .write("web/values.yaml", "main: {enabled: true, image: {tag: from-parent}}\nspare: {enabled: false}\n")
        .write("web/templates/pod.yaml", pod("web:1"))
        .write("web/charts/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 2.0.0\n")
        .write("web/charts/db/values.yaml", "image: {name: db, tag: own-default}\n")
        .write("web/charts/db/templates/pod.yaml", pod("{{ .Values.image.name }}:{{ .Values.image.tag }}"));
    desk
}

#[test]
fn an_alias_is_rendered_with_what_the_parent_gives_it() {
    let desk = with_aliases();
    let wanted = desk.gather("charts: [{name: web, path: web}]\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/db:from-parent", "docker.io/library/web:1"]);
    let wanted = desk.gather("charts: [{name: web, path: web, set: {main.image.tag: from-user}}]\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/db:from-user", "docker.io/library/web:1"]);
}

#[test]
fn a_subchart_that_is_off_brings_nothing_and_is_told_as_optional() {
    let wanted = with_aliases().gather("charts: [{name: web, path: web}]\n").unwrap();
    let left: Vec<String> = wanted.not_carried.iter().map(|one| one.image.to_string()).collect();
    assert_eq!(left, ["docker.io/library/db:own-default"]);
    assert!(
        wanted.not_carried[0].because[0].to_string().contains("web@1.0.0 → spare@2.0.0"),
        "{:?}",
        wanted.not_carried
    );
}

#[test]
fn a_chart_that_asks_the_cluster_sees_none() {
    let desk = Desk::new();
    let asks = format!(
        "{{{{- if lookup \"v1\" \"Secret\" \"ns\" \"x\" }}}}\n{}{{{{- else }}}}\n{}{{{{- end }}}}\n",
        pod("upgraded:1"),
        pod("fresh:1")
    );
    desk.write("web/Chart.yaml", CHART).write("web/templates/pod.yaml", asks);
    let wanted = desk.gather("charts: [{name: web, path: web}]\n").unwrap();
    assert_eq!(images(&wanted), ["docker.io/library/fresh:1"]);
}

#[test]
fn a_chart_that_does_not_render_is_no_chart_without_images() {
    let desk = Desk::new();
    desk.write("web/Chart.yaml", CHART)
        .write("web/templates/pod.yaml", pod("{{ required \"database.host is required\" .Values.host }}:1"));
    desk.gather("charts: [{name: web, path: web}]\n").unwrap_err().says(
        Kind::Usage,
        1,
        &["charts[0]: web 1.0.0 does not render", "database.host is required"],
    );
}

#[test]
fn an_image_of_a_template_that_is_left_open_is_a_mistake_and_not_left_out() {
    let desk = Desk::new();
    desk.write("web/Chart.yaml", CHART).write("web/templates/pod.yaml", pod("{{ .Values.repository }}:"));
    let failed = desk.gather("charts: [{name: web, path: web}]\n").unwrap_err();
    assert_eq!((failed.kind, failed.told.len()), (Kind::Usage, 1), "{:?}", failed.told);
}
