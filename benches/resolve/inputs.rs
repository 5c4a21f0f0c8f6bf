//! Charts and manifests to resolve.

use std::{fmt::Write as _, io::Read as _, path::Path};

use airgap_bundler::{kube, yaml};
use serde_json::Value;

use super::gather;

/// How many charts the spec has.
const CHARTS: usize = 50;
/// How many manifests the spec has.
const MANIFESTS: usize = 500;

const HEAD: &str = "apiVersion: airgap-bundler/v1\nkind: Bundle\nmetadata: {name: bench, version: 1.0.0}\nkubernetes: {version: \"1.33\"}\n";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Takes charts and manifests of the corpus, evenly spread over it; charts that need values are passed over.
pub fn of_corpus(corpus: &Path, folder: &Path) -> String {
    let cases = json(&corpus.join("cases.json"));
    let plain = |case: &&Value| {
        case["cat"] == "real"
            && case["helm4_ok"] == true
            && case["id"].as_str().unwrap().ends_with("__default")
            && !case["args"].to_string().contains("skip-schema")
    };
    let plain: Vec<&Value> = cases.as_array().unwrap().iter().filter(plain).collect();
    let mut spec = format!("{HEAD}charts:\n");
    let mut count = 0;
    for step in 0..plain.len() {
        // A stride that is prime to the number of cases meets each once.
        let case = plain[step * 7 % plain.len()];
        let chart = corpus.join(case["chart"].as_str().unwrap());
        let line = format!("  - {{name: c{count}, path: c{count}.tgz}}\n");
        std::fs::copy(&chart, folder.join(format!("c{count}.tgz"))).unwrap();
        let alone = format!("{HEAD}charts:\n{line}discovery: {{guesses: ignore, optional: ignore}}\n");
        if gather(folder, &alone).is_ok_and(|(_, wanted)| !wanted.images.is_empty()) {
            spec.push_str(&line);
            count += 1;
        }
        if count == CHARTS {
            break;
        }
    }
    let mut objects = Vec::new();
    for case in json(&corpus.join("manifests/cases.json")).as_array().unwrap() {
        let file = std::fs::File::open(corpus.join(case["file"].as_str().unwrap())).unwrap();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        objects.extend(text.split("\n---").filter(|one| is_object(one)).map(str::to_owned));
    }
    manifests(folder, &mut spec, (0..MANIFESTS).map(|at| objects[at * objects.len() / MANIFESTS].clone()));
    spec
}

fn is_object(text: &str) -> bool {
    let empty = yaml::documents(text, &yaml::Options::lenient()).is_ok_and(|all| all.iter().all(yaml::Node::is_null));
    !empty && kube::object::objects("x", text).is_ok()
}

fn manifests(folder: &Path, spec: &mut String, texts: impl Iterator<Item = String>) {
    std::fs::create_dir(folder.join("manifests")).unwrap();
    spec.push_str("manifests:\n");
    for (at, text) in texts.enumerate() {
        std::fs::write(folder.join(format!("manifests/{at}.yaml")), text).unwrap();
        let _ = writeln!(spec, "  - {{path: manifests/{at}.yaml}}");
    }
}

/// Makes up charts with a handful of templates, helpers and switches, and manifests with pods.
pub fn made_up(folder: &Path) -> String {
    let mut spec = format!("{HEAD}charts:\n");
    for at in 0..CHARTS {
        let chart = folder.join(format!("c{at}"));
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        let write = |name: &str, text: String| std::fs::write(chart.join(name), text).unwrap();
        write("Chart.yaml", format!("apiVersion: v2\nname: c{at}\nversion: 1.0.0\nappVersion: \"1.{at}\"\n"));
        let mut values = String::from("replicas: 1\n");
        let mut helpers = String::from(
            "{{- define \"labels\" -}}\napp: {{ .Release.Name }}\nversion: {{ .Chart.AppVersion | quote }}\n{{- end }}\n",
        );
        for part in 0..15 {
            let _ = writeln!(
                values,
                "part{part}:\n  enabled: {}\n  image: {{repository: quay.io/acme/c{at}-{part}, tag: \"\"}}\n  debug: false\n  resources: {{limits: {{cpu: 100m, memory: 64Mi}}}}",
                part % 3 != 0
            );
            let _ = writeln!(
                helpers,
                "{{{{- define \"image{part}\" -}}}}\n{{{{ printf \"%s:%s\" .Values.part{part}.image.repository (.Values.part{part}.image.tag | default .Chart.AppVersion) }}}}\n{{{{- end }}}}"
            );
            write(
                &format!("templates/part{part}.yaml"),
                format!(
                    "{{{{- if .Values.part{part}.enabled }}}}\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{{{ .Release.Name }}}}-{part}\n  labels: {{{{- include \"labels\" . | nindent 4 }}}}\nspec:\n  replicas: {{{{ .Values.replicas }}}}\n  template:\n    metadata:\n      labels: {{{{- include \"labels\" . | nindent 8 }}}}\n    spec:\n      containers:\n        - name: a\n          image: {{{{ include \"image{part}\" . }}}}\n          resources: {{{{- toYaml .Values.part{part}.resources | nindent 12 }}}}\n{{{{- end }}}}\n"
                ),
            );
        }
        write("values.yaml", values);
        write("templates/_helpers.tpl", helpers);
        let _ = writeln!(spec, "  - {{name: c{at}, path: c{at}}}");
    }
    let pod = |at: usize| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{at}}}\nspec:\n  containers:\n    - name: a\n      image: quay.io/acme/pod-{at}:1\n      env:\n        - {{name: URL, value: \"http://service-{at}:8080/\"}}\n"
        )
    };
    manifests(folder, &mut spec, (0..MANIFESTS).map(pod));
    spec
}
