//! A real kube-apiserver with etcd, as released, without kubelets and controllers: objects are checked, defaulted,
//! stored and merged by Kubernetes itself, and nothing runs.

use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use airgap_bundler::{
    cluster::{Cluster, Options},
    event::Silent,
    net::{Client, Environment, HeaderValue, Method, Pem, Pinned, Request, Secret, Settings, Url, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// The token of a user who may do everything.
pub const ADMIN: &str = "token-of-admin";
/// The token of a user who may do nothing.
pub const WEAK: &str = "token-of-weak";

/// Describes the one server that all tests of a run share.
pub struct ApiServer {
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    pub port: u16,
    /// Everything below is PEM.
    pub ca: String,
    pub admin_cert: String,
    pub admin_key: String,
    _child: Child,
    data: tempfile::TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Finds the programs. Where Go is at hand they can be built, so a run that requires referees must have them.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let here = |name: &str| {
        let mut folders: Vec<PathBuf> = std::env::var_os("BUNDLE_REFEREES").into_iter().map(PathBuf::from).collect();
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    if let (Some(apiserver), Some(etcd)) = (here("kube-apiserver"), here("etcd")) {
        return Some((apiserver, etcd));
    }
    let required = std::env::var_os("BUNDLE_REFEREES_REQUIRED").is_some() && here("go").is_some();
    assert!(!required, "kube-apiserver and etcd must be in BUNDLE_REFEREES or PATH (.ci/referees builds them)");
    let _ = writeln!(std::io::stderr(), "SKIPPED: no kube-apiserver and etcd in BUNDLE_REFEREES or PATH");
    None
}

/// Returns the server of this run, started by whoever comes first; ends with the process.
pub fn get() -> Option<&'static ApiServer> {
    static SERVER: OnceLock<Option<ApiServer>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

/// Starts a server for one test alone, that wants to see a cluster as it made it.
pub fn own() -> Option<ApiServer> {
    start()
}

/// Starts a server of its own, for a test that others would disturb.
pub fn start() -> Option<ApiServer> {
    let (apiserver, etcd) = programs()?;
    let data = tempfile::tempdir().unwrap();
    let at = |name: &str| data.path().join(name);
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "cluster CA");
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    // No `localhost`: a test asks for it by another name than the certificate's.
    let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "kubernetes.test".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let key = KeyPair::generate().unwrap();
    std::fs::write(at("server.crt"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(at("server.key"), key.serialize_pem()).unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "operator");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    let key = KeyPair::generate().unwrap();
    let (admin_cert, admin_key) = (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem());
    std::fs::write(at("ca.crt"), &ca).unwrap();
    let accounts = KeyPair::generate().unwrap();
    std::fs::write(at("accounts.key"), accounts.serialize_pem()).unwrap();
    std::fs::write(at("accounts.pub"), accounts.public_key_pem()).unwrap();
    std::fs::write(at("tokens.csv"), format!("{ADMIN},admin,1,\"system:masters\"\n{WEAK},weak,2\n")).unwrap();
    let (port, store, peer) = (free_port(), free_port(), free_port());
    // The shell waits for the end of its input, which comes when this process is gone, however that happens.
    let script = r#"
        cd "$1" || exit 1
        "$2" --data-dir store --listen-client-urls "http://127.0.0.1:$4" --advertise-client-urls "http://127.0.0.1:$4" \
            --listen-peer-urls "http://127.0.0.1:$5" --initial-advertise-peer-urls "http://127.0.0.1:$5" \
            --initial-cluster "default=http://127.0.0.1:$5" --unsafe-no-fsync >etcd.log 2>&1 &
        store=$!
        "$3" --etcd-servers "http://127.0.0.1:$4" --bind-address 127.0.0.1 --secure-port "$6" \
            --tls-cert-file server.crt --tls-private-key-file server.key --client-ca-file ca.crt \
            --token-auth-file tokens.csv --authorization-mode RBAC \
            --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file accounts.key \
            --service-account-key-file accounts.pub --service-cluster-ip-range 10.96.0.0/16 \
            --disable-admission-plugins ServiceAccount >apiserver.log 2>&1 &
        server=$!
        cat >/dev/null
        kill -9 $server $store
    "#;
    let child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(data.path())
        .arg(etcd)
        .arg(apiserver)
        .args([store, peer, port].map(|port| port.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server =
        ApiServer { url: format!("https://127.0.0.1:{port}"), port, ca, admin_cert, admin_key, _child: child, data };
    server.wait_until_ready();
    Some(server)
}

/// Runs work on a thread of its own: the caller may be inside a runtime.
fn on_its_own(work: impl Future<Output = ()> + Send) {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

impl ApiServer {
    fn wait_until_ready(&self) {
        let home = tempfile::tempdir().unwrap();
        let options = self.options(home.path(), ADMIN);
        let poll = async {
            let begin = Instant::now();
            loop {
                let observer = std::sync::Arc::new(Silent);
                if let Ok(cluster) = Cluster::connect(&options, observer).await
                    && matches!(cluster.ready().await, Ok(Ok(())))
                {
                    return;
                }
                if begin.elapsed() > Duration::from_secs(60) {
                    let log = std::fs::read_to_string(self.data.path().join("apiserver.log")).unwrap_or_default();
                    panic!("the API server does not get ready:\n{}", &log[log.len().saturating_sub(4000)..]);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        on_its_own(poll);
    }

    /// Creates an object as it is, its status too, where the server keeps one that is given.
    pub fn create(&self, path: &str, object: &serde_json::Value) {
        let url: Url = format!("{}{path}", self.url).parse().unwrap();
        let pinned = Pinned { ca: Some(Pem::Text(Secret::new(self.ca.as_str()))), ..Pinned::default() };
        let client = Client::pinned(Settings::default(), &url, &pinned, std::sync::Arc::new(Silent)).unwrap();
        let request = Request::new(Method::POST, url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .authorization(Some(Secret::new(format!("Bearer {ADMIN}"))))
            .body(object.to_string());
        let send = async {
            let response = client.send(request).await.unwrap();
            let status = response.status();
            assert_eq!(status, 201, "{}", String::from_utf8_lossy(&response.beginning(2000).await));
        };
        on_its_own(send);
    }

    /// Returns a kubeconfig for the user of a token.
    pub fn kubeconfig(&self, token: &str) -> String {
        self.kubeconfig_of(&format!("token: {token}"))
    }

    /// Returns a kubeconfig for a user described in YAML.
    pub fn kubeconfig_of(&self, user: &str) -> String {
        let ca = STANDARD.encode(&self.ca);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: real\n  cluster: {{server: '{}', certificate-authority-data: {ca}}}\n\
             users:\n- name: someone\n  user: {{{user}}}\n\
             contexts:\n- name: test\n  context: {{cluster: real, user: someone}}\n",
            self.url
        )
    }

    /// Writes a kubeconfig for a token into a folder and returns how to find it.
    pub fn options(&self, home: &Path, token: &str) -> Options {
        let path = home.join("kubeconfig");
        std::fs::write(&path, self.kubeconfig(token)).unwrap();
        Options { kubeconfig: Some(path), context: None, environment: Environment::default() }
    }
}
