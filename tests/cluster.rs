//! The Kubernetes API, judged by a real kube-apiserver; kubeconfig files and failures that need none.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use airgap_bundler::{
    cluster::{Apply, Cluster, Error, Options, Selection, condition, is_ready},
    error::{Classify, Kind},
    event::{Event, Observer, Silent},
    net::Environment,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::support::apiserver::{self, ADMIN, ApiServer, WEAK};

const TOOL: Apply<'_> = Apply { manager: "bundle-test", force: false, dry_run: false };

async fn connect(options: &Options) -> Result<Cluster, Error> {
    Cluster::connect(options, Arc::new(Silent)).await
}

async fn admin(server: &ApiServer) -> Cluster {
    let home = tempfile::tempdir().unwrap();
    connect(&server.options(home.path(), ADMIN)).await.unwrap()
}

/// Writes a kubeconfig and connects by it.
async fn by(text: &str) -> Result<Cluster, Error> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    std::fs::write(&path, text).unwrap();
    connect(&Options { kubeconfig: Some(path), ..Options::default() }).await
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn config_map(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"key": value}})
}

#[tokio::test]
async fn a_real_server_tells_its_version_and_what_it_serves() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    let version = cluster.version();
    assert_eq!(version.numbers().unwrap().0, 1, "{version:?}");
    assert!(version.git_version.starts_with("v1."), "{version:?}");
    cluster.ready().await.unwrap().unwrap();
    let served = cluster.api_versions().await.unwrap();
    assert!(served.contains(&"v1".to_owned()) && served.contains(&"apps/v1".to_owned()), "{served:?}");
    let deployment = cluster.resource("apps/v1", "Deployment").await.unwrap();
    assert_eq!((deployment.name.as_str(), deployment.namespaced), ("deployments", true));
    assert!(!cluster.resource("v1", "Node").await.unwrap().namespaced);
    let error = cluster.resource("extensions/v1beta1", "Ingress").await.unwrap_err();
    assert!(error.is_no_such_kind() && error.kind() == Kind::NotFound, "{error}");
    let error = cluster.resource("apps/v1beta1", "Deployment").await.unwrap_err().to_string();
    assert!(error.contains("it serves apps/v1"), "{error}");
}

#[tokio::test]
async fn objects_are_applied_read_and_listed() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    let space = "objects";
    let error = cluster.apply(&config_map(space, "one", "1"), &TOOL).await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { .. }) && error.to_string().contains("namespaces \"objects\" not found"),
        "{error}"
    );

    let only_try = Apply { dry_run: true, ..TOOL };
    cluster.apply(&namespace(space), &only_try).await.unwrap();
    assert_eq!(cluster.get("v1", "Namespace", None, space).await.unwrap(), None, "a dry run changed something");
    cluster.apply(&namespace(space), &TOOL).await.unwrap();

    let first = cluster.apply(&config_map(space, "one", "1"), &TOOL).await.unwrap();
    let again = cluster.apply(&config_map(space, "one", "1"), &TOOL).await.unwrap();
    assert_eq!(
        first["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"],
        "applied twice, changed twice"
    );
    let tried = cluster.apply(&config_map(space, "one", "2"), &only_try).await.unwrap();
    assert_eq!(tried["data"]["key"], "2");
    let found = cluster.get("v1", "ConfigMap", Some(space), "one").await.unwrap().unwrap();
    assert_eq!(found["data"]["key"], "1");
    // What was read can be applied again, with its bookkeeping in it.
    cluster
        .apply(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "data": found["data"],
        "metadata": {"name": "one", "namespace": space, "managedFields": found["metadata"]["managedFields"]}}),
            &TOOL,
        )
        .await
        .unwrap();
    assert_eq!(cluster.get("v1", "ConfigMap", Some(space), "two").await.unwrap(), None);

    // An object that names no namespace goes where the context says.
    let placed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "unplaced"}});
    let placed = cluster.apply(&placed, &only_try).await.unwrap();
    assert_eq!(placed["metadata"]["namespace"], "default");

    let wrong =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": space}, "dada": {}});
    let error = cluster.apply(&wrong, &TOOL).await.unwrap_err();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("dada"), "{error}");
    let error = cluster.apply(&json!({"kind": "ConfigMap"}), &TOOL).await.unwrap_err();
    assert!(matches!(error, Error::NoObject(_)), "{error}");
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    let space = "pages";
    cluster.apply(&namespace(space), &TOOL).await.unwrap();
    let make = stream::iter(0..520).map(|number| {
        let cluster = cluster.clone();
        async move {
            let mut map = config_map(space, &format!("item-{number}"), "x");
            map["metadata"]["labels"] = json!({"half": if number % 2 == 0 { "even" } else { "odd" }});
            cluster.apply(&map, &TOOL).await.unwrap();
        }
    });
    make.buffer_unordered(16).collect::<Vec<()>>().await;
    let selection = Selection { namespace: Some(space), ..Selection::default() };
    let all = cluster.list("v1", "ConfigMap", &selection).await.unwrap();
    assert_eq!(all.len(), 520);
    assert!(all.iter().all(|item| item["kind"] == "ConfigMap" && item["apiVersion"] == "v1"));
    let even = Selection { labels: Some("half=even"), ..selection };
    assert_eq!(cluster.list("v1", "ConfigMap", &even).await.unwrap().len(), 260);
    let one = Selection { fields: Some("metadata.name=item-7"), ..selection };
    assert_eq!(cluster.list("v1", "ConfigMap", &one).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_conflict_names_who_owns_the_field() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    let space = "conflicts";
    cluster.apply(&namespace(space), &TOOL).await.unwrap();
    cluster.apply(&config_map(space, "shared", "theirs"), &Apply { manager: "argocd", ..TOOL }).await.unwrap();
    let error = cluster.apply(&config_map(space, "shared", "ours"), &TOOL).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Answer);
    let text = error.to_string();
    assert!(text.contains("argocd") && text.contains(".data.key") && text.contains("force"), "{text}");
    let taken = cluster.apply(&config_map(space, "shared", "ours"), &Apply { force: true, ..TOOL }).await.unwrap();
    assert_eq!(taken["data"]["key"], "ours");
}

/// A custom resource as cert-manager's: cluster-wide, with a status of its own.
fn definition(group: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("signers.{group}")},
        "spec": {"group": group, "scope": "Cluster", "names": {"kind": "Signer", "plural": "signers", "singular": "signer"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"ca": {"type": "string"}}, "required": ["ca"]},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}})
}

#[tokio::test]
async fn kinds_appear_when_they_are_installed_and_states_are_waited_for() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    let group = "wait.example.test";
    let kind = (&*format!("{group}/v1"), "Signer");
    let signer =
        json!({"apiVersion": kind.0, "kind": "Signer", "metadata": {"name": "enclave"}, "spec": {"ca": "root"}});
    let error = cluster.apply(&signer, &TOOL).await.unwrap_err();
    assert!(error.is_no_such_kind() && error.to_string().contains("CustomResourceDefinitions"), "{error}");
    let definition = cluster.apply(&definition(group), &TOOL).await.unwrap();
    let name = definition["metadata"]["name"].as_str().unwrap();
    let established = |seen: &Value| condition(seen, "Established").is_some_and(|(status, ..)| status == "True");
    let crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    cluster.wait(crd, None, name, Duration::from_secs(30), established).await.unwrap();
    let late = cluster.wait(kind, None, "enclave", Duration::from_secs(2), |_| true).await.unwrap_err();
    assert!(matches!(late, Error::Waited { .. }) && late.kind() == Kind::Unavailable, "{late}");
    assert!(late.to_string().contains("it is not there"), "{late}");
    cluster.apply(&signer, &TOOL).await.unwrap();
    let error = cluster.wait(kind, None, "enclave", Duration::ZERO, is_ready).await.unwrap_err().to_string();
    assert!(error.contains("says nothing of its state"), "{error}");
    let wrong = json!({"apiVersion": kind.0, "kind": "Signer", "metadata": {"name": "bad"}, "spec": {}});
    let error = cluster.apply(&wrong, &Apply { dry_run: true, ..TOOL }).await.unwrap_err();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("spec.ca"), "{error}");
}

#[tokio::test]
async fn permissions_are_told() {
    let Some(server) = apiserver::get() else { return };
    let cluster = admin(server).await;
    assert!(cluster.may("create", "", "secrets", Some("cert-manager")).await.unwrap().allowed);
    let home = tempfile::tempdir().unwrap();
    let weak = connect(&server.options(home.path(), WEAK)).await.unwrap();
    assert!(!weak.may("create", "", "secrets", Some("cert-manager")).await.unwrap().allowed);
    let error = weak.list("v1", "Node", &Selection::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let text = error.to_string();
    assert!(text.contains("\"weak\"") && text.contains("nodes") && text.contains("ClusterRole"), "{text}");
}

#[tokio::test]
async fn every_way_to_log_in_works() {
    let Some(server) = apiserver::get() else { return };
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let connected = async |user: &str| {
        file("config", &server.kubeconfig_of(user));
        let options = Options {
            kubeconfig: Some(home.path().join("config")),
            environment: Environment::of_process(),
            ..Options::default()
        };
        let cluster = connect(&options).await?;
        cluster.list("v1", "Node", &Selection::default()).await.map(|_| ())
    };
    connected(&format!("token: {ADMIN}")).await.unwrap();
    let (cert, key) = (STANDARD.encode(&server.admin_cert), STANDARD.encode(&server.admin_key));
    connected(&format!("client-certificate-data: {cert}, client-key-data: {key}")).await.unwrap();
    // Paths are relative to the kubeconfig.
    file("me.crt", &server.admin_cert);
    file("me.key", &server.admin_key);
    connected("client-certificate: me.crt, client-key: ./me.key").await.unwrap();
    file("token", &format!("{ADMIN}\n"));
    connected("tokenFile: token").await.unwrap();
    // Someone else, by permission of someone who may do everything.
    let error = connected(&format!("token: {ADMIN}, as: nobody")).await.unwrap_err().to_string();
    assert!(error.contains("\"nobody\""), "{error}");
    connected(&format!("token: {ADMIN}, as: nobody, as-groups: ['system:masters']")).await.unwrap();

    let plugin = |body: &str, more: &str| {
        file("plugin", &format!("#!/bin/sh\n{body}\n"));
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(home.path().join("plugin"), std::fs::Permissions::from_mode(0o755)).unwrap();
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, interactiveMode: Never{more}}}"
        )
    };
    let answer = |status: &str| {
        format!(
            "echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{status}}}'"
        )
    };
    connected(&plugin(&answer(&format!("{{\"token\":\"{ADMIN}\"}}")), "")).await.unwrap();
    let pair = json!({"clientCertificateData": server.admin_cert, "clientKeyData": server.admin_key}).to_string();
    file("pair.json", &json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": serde_json::from_str::<Value>(&pair).unwrap()}).to_string());
    connected(&plugin(&format!("cat {}", home.path().join("pair.json").display()), "")).await.unwrap();
    // The plugin sees the cluster and its own variables; the first token it gave is refused, the second is good.
    let stateful = format!(
        "test -n \"$TEAM\" || exit 3\ncase $KUBERNETES_EXEC_INFO in *{}*) ;; *) exit 4;; esac\n\
         if test -e {mark}; then T={ADMIN}; else T=old; touch {mark}; fi\n\
         echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"'$T'\"}}}}'",
        server.url,
        mark = home.path().join("mark").display()
    );
    connected(&plugin(&stateful, ", env: [{name: TEAM, value: red}], provideClusterInfo: true")).await.unwrap();

    let error = connected(&plugin("echo 'session is over' >&2; exit 1", "")).await.unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("session is over"), "{error}");
    let error = connected(&plugin("echo hello", "")).await.unwrap_err().to_string();
    assert!(error.contains("no ExecCredential"), "{error}");
    let missing = "exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-program, installHint: get it}";
    let error = connected(missing).await.unwrap_err().to_string();
    assert!(error.contains("no-such-program") && error.contains("get it"), "{error}");
    let old = connected("auth-provider: {name: gcp}").await.unwrap_err();
    assert!(old.kind() == Kind::Usage && old.to_string().contains("gcp"), "{old}");
}

#[tokio::test]
async fn what_keeps_from_a_cluster_is_said() {
    let Some(server) = apiserver::get() else { return };
    let error = by(&server.kubeconfig("wrong-token")).await.err().unwrap();
    assert!(matches!(error, Error::Unauthorized { .. }) && error.kind() == Kind::NotFound, "{error}");
    assert!(error.to_string().contains(&server.url) && !error.to_string().contains("wrong-token"), "{error}");

    let foreign = crate::support::certificates::Certificates::new();
    let of_other = server.kubeconfig(ADMIN).replace(&STANDARD.encode(&server.ca), &STANDARD.encode(&foreign.root));
    let error = by(&of_other).await.err().unwrap();
    assert!(matches!(error, Error::Certificate { .. }) && error.kind() == Kind::Untrusted, "{error}");
    assert!(error.to_string().contains("certificate-authority-data"), "{error}");

    let by_name = server.kubeconfig(ADMIN).replace("https://127.0.0.1:", "https://localhost:");
    let error = by(&by_name).await.err().unwrap().to_string();
    assert!(error.contains("other names") && error.contains("tls-server-name"), "{error}");
    let named = by_name.replace("{server:", "{tls-server-name: kubernetes.test, server:");
    by(&named).await.unwrap();

    let closed = server.kubeconfig(ADMIN).replace(&format!(":{}", server.port), ":1");
    let error = by(&closed).await.err().unwrap();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn checking_nothing_is_said_loudly() {
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);
    impl Observer for Notes {
        fn on(&self, event: &Event) {
            if let Event::Noted(diagnostic) = event {
                self.0.lock().unwrap().push(format!("{} {diagnostic}", diagnostic.code));
            }
        }
    }
    let Some(server) = apiserver::get() else { return };
    let authority = format!("certificate-authority-data: {}", STANDARD.encode(&server.ca));
    let text = server.kubeconfig(ADMIN).replace(&authority, "insecure-skip-tls-verify: true");
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config"), &text).unwrap();
    let notes = Arc::new(Notes::default());
    let options = Options { kubeconfig: Some(home.path().join("config")), ..Options::default() };
    let cluster = Cluster::connect(&options, notes.clone()).await.unwrap();
    assert!(cluster.is_insecure());
    let notes = notes.0.lock().unwrap();
    assert!(
        notes.iter().any(|note| note.starts_with("cluster-not-verified") && note.contains(&server.url)),
        "{notes:?}"
    );
    let both = server.kubeconfig(ADMIN).replace("{server:", "{insecure-skip-tls-verify: true, server:");
    assert_eq!(by(&both).await.err().unwrap().kind(), Kind::Usage);
}

/// Finds what an environment leads to, without asking any server: a closed port says which address was meant.
async fn led_to(home: &Path, variables: &[(&str, &str)], context: Option<&str>) -> String {
    let mut all = vec![("HOME", home.to_str().unwrap())];
    all.extend(variables);
    let environment: Environment = all.into_iter().collect();
    let options = Options { kubeconfig: None, context: context.map(str::to_owned), environment };
    connect(&options).await.err().expect("nothing listens there").to_string()
}

#[tokio::test]
async fn kubeconfigs_are_found_and_merged_as_kubectl_does() {
    let home = tempfile::tempdir().unwrap();
    let error = led_to(home.path(), &[], None).await;
    assert!(error.contains("~/.kube/config") && error.contains("--kubeconfig"), "{error}");
    let nothing = connect(&Options::default()).await.err().unwrap();
    assert_eq!(nothing.kind(), Kind::NotFound);

    let config = |server: &str, context: &str, current: &str| {
        format!(
            "current-context: '{current}'\nclusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}]\n\
             contexts: [{{name: {context}, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        )
    };
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    std::fs::write(home.path().join(".kube/config"), config("127.0.0.1:1", "home", "home")).unwrap();
    let error = led_to(home.path(), &[], None).await;
    assert!(error.contains("http://127.0.0.1:1/ (context home)"), "{error}");
    // Of several files the first that names an entry wins; one that is not there does not matter.
    std::fs::write(home.path().join("a"), config("127.0.0.1:2", "first", "")).unwrap();
    std::fs::write(home.path().join("b"), config("127.0.0.1:3", "second", "second")).unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let list = format!("{}:{}:{}", path("missing"), path("a"), path("b"));
    let error = led_to(home.path(), &[("KUBECONFIG", &list)], None).await;
    assert!(error.contains("http://127.0.0.1:2/ (context second)"), "{error}");
    let error = led_to(home.path(), &[("KUBECONFIG", &list)], Some("third")).await;
    assert!(error.contains("no context \"third\"; there are: first, second"), "{error}");
    std::fs::write(home.path().join("c"), "clusters: [").unwrap();
    let error = led_to(home.path(), &[("KUBECONFIG", &path("c"))], None).await;
    assert!(error.contains("not valid YAML"), "{error}");
    std::fs::write(home.path().join("d"), "{}").unwrap();
    let error = led_to(home.path(), &[("KUBECONFIG", &path("d"))], None).await;
    assert!(error.contains("no current-context"), "{error}");
    let dangling = "current-context: x\ncontexts: [{name: x, context: {cluster: gone, user: u}}]\n";
    std::fs::write(home.path().join("e"), dangling).unwrap();
    let error = led_to(home.path(), &[("KUBECONFIG", &path("e"))], None).await;
    assert!(error.contains("cluster \"gone\""), "{error}");
}

/// Not a Kubernetes API server: answers as one that is broken, overloaded, or something else altogether would.
async fn pretender(answer: fn(&str) -> (u16, String)) -> (String, tokio::task::JoinHandle<()>) {
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        let (status, body) = answer(&request.uri().to_string());
        (axum::http::StatusCode::from_u16(status).unwrap(), body)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let config = format!(
        "current-context: x\nclusters: [{{name: c, cluster: {{server: 'http://{address}/prefix'}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: ''}}}}]\n"
    );
    (config, task)
}

const VERSION: &str = r#"{"major": "1", "minor": "34+", "gitVersion": "v1.34.2+k3s1"}"#;
const KINDS: &str =
    r#"{"kind": "APIResourceList", "resources": [{"name": "pods", "kind": "Pod", "namespaced": true}]}"#;

#[tokio::test]
async fn answers_that_no_api_server_gives_are_told_as_that() {
    let (config, _page) = pretender(|_| (200, "<html>Welcome</html>".to_owned())).await;
    let error = by(&config).await.err().unwrap();
    assert!(matches!(error, Error::Foreign { .. }) && error.kind() == Kind::Corrupt, "{error}");
    let (config, _list) = pretender(|_| (200, "[1]".to_owned())).await;
    assert!(matches!(by(&config).await.err().unwrap(), Error::Foreign { .. }));
    let (config, _proxy) = pretender(|_| (404, "no route\u{1b}[31m".to_owned())).await;
    let error = by(&config).await.err().unwrap();
    assert!(matches!(error, Error::Foreign { .. }) && !error.to_string().contains('\u{1b}'), "{error}");

    // A page that pretends that an object is not there must not pass for "not there".
    let (config, _server) = pretender(|uri| match uri {
        "/prefix/version" => (200, VERSION.to_owned()),
        "/prefix/api/v1" => (200, KINDS.to_owned()),
        _ => (404, "not found".to_owned()),
    })
    .await;
    let cluster = by(&config).await.unwrap();
    assert_eq!(cluster.version().numbers(), Some((1, 34)));
    let error = cluster.get("v1", "Pod", None, "web").await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    // Names cannot leave their place in the path.
    let error = cluster.get("v1", "Pod", Some("../../secrets"), "a/b?c").await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn lists_have_an_end() {
    fn endless(uri: &str) -> (u16, String) {
        match uri {
            "/prefix/version" => (200, VERSION.to_owned()),
            "/prefix/api/v1" => (200, KINDS.to_owned()),
            _ => (200, json!({"metadata": {"continue": "more"}, "items": vec![json!({}); 20_000]}).to_string()),
        }
    }
    let (config, _server) = pretender(endless).await;
    let cluster = by(&config).await.unwrap();
    let error = cluster.list("v1", "Pod", &Selection::default()).await.unwrap_err();
    assert!(matches!(error, Error::TooMany { .. }) && error.kind() == Kind::Corrupt, "{error}");
    // An empty page ends a list, whatever it says.
    let (config, _server) = pretender(|uri| match uri {
        "/prefix/version" | "/prefix/api/v1" => endless(uri),
        _ => (200, json!({"metadata": {"continue": "more"}, "items": []}).to_string()),
    })
    .await;
    assert!(by(&config).await.unwrap().list("v1", "Pod", &Selection::default()).await.unwrap().is_empty());
    // A list whose state the server forgot begins anew, once.
    let (config, _server) = pretender(|uri| match uri {
        "/prefix/version" | "/prefix/api/v1" => endless(uri),
        _ => (410, json!({"kind": "Status", "reason": "Expired", "message": "too old"}).to_string()),
    })
    .await;
    let error = by(&config).await.unwrap().list("v1", "Pod", &Selection::default()).await.unwrap_err();
    assert!(error.to_string().contains("too old"), "{error}");
}
