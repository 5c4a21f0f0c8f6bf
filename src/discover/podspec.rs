//! Pod specs: the kinds of the Kubernetes API that hold one, and the fields in it that are images.
//!
//! Fields follow the API reference ("PodSpec v1 core", "Container v1 core", "ImageVolumeSource v1 core").

use crate::{
    error::{Diagnostic, Location},
    kube::Object,
    oci::Reference,
    yaml::{Node, Value},
};

use super::{Confidence, Finding, Findings, Level, Occurrence, Piece, Role, Step, site::object_step};

/// Where each kind keeps its pod spec. `extensions` was the group of workloads until Kubernetes 1.16, and install
/// manifests of that age still circulate.
const POD_SPECS: &[(&str, &[&str], &[&str])] = &[
    ("Pod", &[""], &["spec"]),
    ("ReplicationController", &[""], &["spec", "template", "spec"]),
    ("PodTemplate", &[""], &["template", "spec"]),
    ("Deployment", &["apps", "extensions"], &["spec", "template", "spec"]),
    ("DaemonSet", &["apps", "extensions"], &["spec", "template", "spec"]),
    ("ReplicaSet", &["apps", "extensions"], &["spec", "template", "spec"]),
    ("StatefulSet", &["apps"], &["spec", "template", "spec"]),
    ("Job", &["batch", "extensions"], &["spec", "template", "spec"]),
    ("CronJob", &["batch"], &["spec", "jobTemplate", "spec", "template", "spec"]),
];

/// The lists of containers in a pod spec.
const CONTAINERS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

/// Returns the path of the pod spec in objects of a group and kind.
fn pod_spec_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    POD_SPECS.iter().find(|(known, groups, _)| *known == kind && groups.contains(&group)).map(|(_, _, path)| *path)
}

/// Tells whether the Kubernetes API says where objects of this kind keep their pod spec.
pub(super) fn knows(object: &Object) -> bool {
    pod_spec_path(object.group(), &object.kind).is_some()
}

/// Adds what the object's pod spec names, if it holds one.
pub(super) fn find(object: &Object, found: &mut Findings) {
    let Some(path) = pod_spec_path(object.group(), &object.kind) else { return };
    let mut reader = Reader { object, found };
    let mut node = &object.node;
    let mut field = String::new();
    for key in path {
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(key);
        match reader.child(node, key, &field, "a mapping", |node| node.as_map().is_some()) {
            Some(child) => node = child,
            None => return,
        }
    }
    for list in CONTAINERS {
        reader.containers(node, list, &field);
    }
    reader.volumes(node, &field);
}

struct Reader<'a> {
    object: &'a Object,
    found: &'a mut Findings,
}

impl Reader<'_> {
    fn report(&mut self, diagnostic: Diagnostic, node: &Node) {
        self.found.diagnostics.push(diagnostic.at(self.object.location(node)));
    }

    /// Names the object for people.
    fn subject(&self) -> String {
        self.step().to_string()
    }

    fn step(&self) -> Step {
        object_step(self.object)
    }

    /// Returns a field when it is there and has the shape that the API gives it.
    fn child<'n>(
        &mut self,
        node: &'n Node,
        key: &str,
        field: &str,
        shape: &str,
        fits: impl Fn(&Node) -> bool,
    ) -> Option<&'n Node> {
        let child = node.get(key).filter(|child| !child.is_null())?;
        if fits(child) {
            return Some(child);
        }
        let message = format!("{}: `{field}` must be {shape}, not {}", self.subject(), child.kind_name());
        self.report(Diagnostic::error("pod-spec-shape", message), child);
        None
    }

    /// Walks a list of mappings; what is neither is reported.
    fn items<'n>(&mut self, spec: &'n Node, list: &str, root: &str) -> Vec<(String, &'n Node)> {
        let field = format!("{root}.{list}");
        let Some(items) = self.child(spec, list, &field, "a list", |node| node.as_seq().is_some()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (i, item) in items.as_seq().unwrap_or_default().iter().enumerate() {
            let field = format!("{field}[{i}]");
            if item.as_map().is_some() {
                found.push((field, item));
            } else {
                let message = format!("{}: `{field}` must be a mapping, not {}", self.subject(), item.kind_name());
                self.report(Diagnostic::error("pod-spec-shape", message), item);
            }
        }
        found
    }

    fn containers(&mut self, spec: &Node, list: &str, root: &str) {
        for (field, container) in self.items(spec, list, root) {
            let field = format!("{field}.image");
            match container.get("image").filter(|image| !image.is_null() && image.as_str() != Some("")) {
                Some(image) => self.image(image, field),
                None => {
                    let name = container.get("name").and_then(Node::text).unwrap_or_default();
                    let message = format!("{}: container {name:?} names no image at `{field}`", self.subject());
                    let hint = "the API server refuses this unless something fills it in at admission: name that image under `images`";
                    self.report(Diagnostic::warning("image-missing", message).hint(hint), container);
                }
            }
        }
    }

    fn volumes(&mut self, spec: &Node, root: &str) {
        for (field, volume) in self.items(spec, "volumes", root) {
            let field = format!("{field}.image");
            // `rbd.image` and the like are names of other things; only a volume's own `image` is pulled.
            let Some(source) = self.child(volume, "image", &field, "a mapping", |node| node.as_map().is_some()) else {
                continue;
            };
            // The API lets a template leave the reference open.
            if let Some(reference) = source.get("reference").filter(|node| !node.is_null() && node.as_str() != Some(""))
            {
                self.image(reference, format!("{field}.reference"));
            }
        }
    }

    fn image(&mut self, node: &Node, field: String) {
        let Value::String(written) = &node.value else {
            let message = format!("{}: `{field}` must be text, not {}", self.subject(), node.kind_name());
            return self.report(Diagnostic::error("image-unreadable", message), node);
        };
        if let Err(error) = written.parse::<Reference>() {
            let message = format!("{}: `{field}` is no image reference: {error}", self.subject());
            let mut diagnostic = Diagnostic::error("image-unreadable", message);
            if looks_unfilled(written) {
                diagnostic = diagnostic.hint("this looks like a template that nobody filled in: render it first");
            }
            return self.report(diagnostic, node);
        }
        let Location { file, line, .. } = self.object.location(node);
        let finding = Finding {
            written: written.clone(),
            confidence: Confidence::Schema,
            provenance: vec![Step::File { file, line: Some(line) }, self.step(), Step::Field { field }],
        };
        self.found.findings.push(finding.clone());
        let level = Level { at: node.at, start: 0, end: written.len(), base64: false };
        let pieces = vec![Piece { role: Role::Reference, levels: vec![level] }];
        self.found.occurrences.push(Occurrence { finding, pieces });
    }
}

/// Tells whether a text holds a mark by which templates and deployment scripts name what they fill in.
fn looks_unfilled(text: &str) -> bool {
    ["{{", "}}", "${", "$(", "<", "%", "#"].iter().any(|mark| text.contains(mark))
        || text.starts_with(['$', '_'])
        // CHANGEME and the like.
        || (text.contains(|c: char| c.is_ascii_uppercase()) && !text.contains(|c: char| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{discover, error::Severity, kube::object::objects};

    fn find(text: &str) -> Findings {
        discover::find(&objects("m.yaml", text).unwrap())
    }

    fn lines(found: &Findings) -> Vec<String> {
        found.findings.iter().map(|finding| format!("{} {finding}", finding.written)).collect()
    }

    #[test]
    fn every_kind_with_a_pod_spec_is_known_by_group_and_kind() {
        for (api_version, kind, path) in [
            ("v1", "Pod", "spec"),
            ("v1", "ReplicationController", "spec.template.spec"),
            ("v1", "PodTemplate", "template.spec"),
            ("apps/v1", "Deployment", "spec.template.spec"),
            ("apps/v1", "StatefulSet", "spec.template.spec"),
            ("apps/v1", "DaemonSet", "spec.template.spec"),
            ("apps/v1", "ReplicaSet", "spec.template.spec"),
            ("apps/v1beta2", "Deployment", "spec.template.spec"),
            ("extensions/v1beta1", "Deployment", "spec.template.spec"),
            ("extensions/v1beta1", "DaemonSet", "spec.template.spec"),
            ("extensions/v1beta1", "ReplicaSet", "spec.template.spec"),
            ("batch/v1", "Job", "spec.template.spec"),
            ("batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec"),
            ("batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template.spec"),
        ] {
            let open: String = path.split('.').map(|key| format!("{key}: {{")).collect();
            let close = "}".repeat(path.split('.').count());
            let text = format!("apiVersion: {api_version}\nkind: {kind}\n{}containers: [{{image: a}}]{close}", open);
            let text = text.replacen(": {", ":\n  {", 1);
            let found = find(&text);
            assert_eq!(lines(&found), [format!("a m.yaml:4 → {kind} → {path}.containers[0].image")], "{text}");
            assert!(found.diagnostics.is_empty());
        }
        for (api_version, kind) in [
            ("serving.knative.dev/v1", "Service"),
            ("batch.volcano.sh/v1alpha1", "Job"),
            ("v1", "Deployment"),
            ("apps/v1", "Pod"),
        ] {
            let text = format!(
                "apiVersion: {api_version}\nkind: {kind}\nspec: {{containers: [{{image: a}}], template: {{spec: {{containers: [{{image: a}}]}}}}}}"
            );
            assert!(find(&text).findings.is_empty(), "{kind} of {api_version}");
        }
    }

    #[test]
    fn all_fields_that_are_images_and_no_others() {
        let found = find(
            "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: frontend, namespace: web}
spec:
  template:
    spec:
      initContainers:
      - {name: init, image: 'busybox:1.37'}
      containers:
      - name: app
        image: quay.io/acme/app:v1@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
        env: [{name: OTHER_IMAGE, value: 'x/y:1'}]
      - {name: side, image: side}
      ephemeralContainers:
      - {name: debug, image: debug:1}
      volumes:
      - {name: data, image: {reference: 'ghcr.io/acme/data:2', pullPolicy: Always}}
      - {name: ceph, rbd: {image: 'not-one'}}
      - {name: open, image: {pullPolicy: Always}}
",
        );
        let at =
            |line: u32, field: &str| format!("m.yaml:{line} → Deployment web/frontend → spec.template.spec.{field}");
        let expected = [
            format!("busybox:1.37 {}", at(8, "initContainers[0].image")),
            format!(
                "quay.io/acme/app:v1@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a {}",
                at(11, "containers[0].image")
            ),
            format!("side {}", at(13, "containers[1].image")),
            format!("debug:1 {}", at(15, "ephemeralContainers[0].image")),
            format!("ghcr.io/acme/data:2 {}", at(17, "volumes[0].image.reference")),
        ];
        assert_eq!(lines(&found), expected);
        assert!(found.diagnostics.is_empty(), "{:?}", found.diagnostics);
        assert!(found.findings.iter().all(|finding| finding.confidence == Confidence::Schema));
    }

    #[test]
    fn what_is_no_image_is_reported_with_its_place() {
        let found = find(
            "\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - {name: a}
  - {name: b, image: ''}
  - {name: c, image: '{{ .Values.image }}'}
  - {name: d, image: $IMAGE}
  - {name: e, image: 5}
  - {name: f, image: 'UPPER:1'}
  - {name: g, image: ' nginx'}
  - {name: h, image: '###IMAGE###'}
  - 7
  volumes: {}
---
apiVersion: v1
kind: Pod
spec: []
",
        );
        let seen: Vec<_> = found
            .diagnostics
            .iter()
            .map(|d| (d.severity, d.code, d.at.as_ref().map_or(0, |at| at.line), d.hint.is_some()))
            .collect();
        let (error, warning) = (Severity::Error, Severity::Warning);
        assert_eq!(
            seen,
            [
                (warning, "image-missing", 6, true),
                (warning, "image-missing", 7, true),
                (error, "image-unreadable", 8, true),
                (error, "image-unreadable", 9, true),
                (error, "image-unreadable", 10, false),
                (error, "image-unreadable", 11, true),
                (error, "image-unreadable", 12, false),
                (error, "image-unreadable", 13, true),
                (error, "pod-spec-shape", 14, false),
                (error, "pod-spec-shape", 15, false),
                (error, "pod-spec-shape", 19, false),
            ]
            .map(|(severity, code, line, hint)| (severity, code, line, hint))
        );
        assert!(found.findings.is_empty());
    }
}
