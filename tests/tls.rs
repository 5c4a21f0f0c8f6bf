//! Whom we trust: authorities, names, times, client certificates, and what is said when it does not hold.

use std::{path::Path, sync::Arc};

use airgap_bundler::{
    error::{Classify as _, Kind, Side},
    net::{ClientPair, Environment, HostSettings, Pem, Secret, Settings, install_crypto},
    oci::Host,
    registry::{Credentials, Error},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use crate::{
    support::faulty::{Faulty, Quirks, Reply},
    transport::{registries, remote, settings},
};

/// An authority with one server certificate and one client certificate.
pub struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        install_crypto();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        Authority { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.ca.pem()
    }

    pub fn issue(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, KeyPair, CertificateDer<'static>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        (certificate.pem(), key, certificate.der().clone())
    }

    fn server(&self, name: &str, client_ca: bool, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let (_, key, certificate) = self.issue(name, change);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder();
        let builder = if client_ca {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(vec![certificate], key).unwrap()
    }
}

fn pem(text: &str) -> Pem {
    Pem::Text(Secret::new(text))
}

fn with_host(faulty: &Faulty, one: HostSettings) -> Settings {
    let mut settings = settings();
    settings.hosts.insert(faulty.host().parse::<Host>().unwrap(), one);
    settings
}

async fn ask(faulty: &Faulty, settings: Settings) -> Result<(), Error> {
    let remote = remote(&registries(settings, Credentials::none()), &faulty.host(), "x", Side::Source);
    match remote.tags().await {
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_give_an_authority() {
    let authority = Authority::new();
    let faulty = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", false, |_| {}))).await;
    let error = ask(&faulty, settings()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Untrusted);
    let text = error.to_string();
    assert!(
        text.contains("certificate not trusted") && text.contains("--ca") && text.contains(&faulty.host()),
        "{text}"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", &authority.pem());
    let of_host = HostSettings { ca: vec![Pem::File(ca.clone())], ..HostSettings::default() };
    ask(&faulty, with_host(&faulty, of_host)).await.unwrap();
    ask(&faulty, Settings { ca: vec![pem(&authority.pem())], ..settings() }).await.unwrap();
    let environment: Environment = [("SSL_CERT_FILE", ca.to_str().unwrap())].into_iter().collect();
    ask(&faulty, Settings { environment, ..settings() }).await.unwrap();
    file(&format!("certs.d/{}/corp.crt", faulty.host()), &authority.pem());
    ask(&faulty, Settings { certs_d: vec![folder.path().join("none"), folder.path().join("certs.d")], ..settings() })
        .await
        .unwrap();
    // The authority of another registry is no authority here.
    let mut other = settings();
    let settings_of_other = HostSettings { ca: vec![pem(&authority.pem())], ..HostSettings::default() };
    other.hosts.insert("other.example".parse().unwrap(), settings_of_other);
    assert_eq!(ask(&faulty, other).await.unwrap_err().kind(), Kind::Untrusted);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_hold() {
    let authority = Authority::new();
    let trusting = || Settings { ca: vec![pem(&authority.pem())], ..settings() };
    let past = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", false, past))).await;
    let future = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    let early = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", false, future))).await;
    let other = Faulty::start_with(Quirks::default(), Some(authority.server("other.example", false, |_| {}))).await;
    for (faulty, words) in [(expired, "expired"), (early, "not valid yet"), (other, "other names")] {
        let error = ask(&faulty, trusting()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Untrusted);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates() {
    let authority = Authority::new();
    let faulty = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", true, |_| {}))).await;
    let trusting = || HostSettings { ca: vec![pem(&authority.pem())], ..HostSettings::default() };
    let error = ask(&faulty, with_host(&faulty, trusting())).await.unwrap_err();
    assert!(error.to_string().contains("client certificate"), "{error}");
    assert_eq!(error.kind(), Kind::Untrusted);
    let (certificate, key, _) = authority.issue("me", |_| {});
    let pair = ClientPair { cert: pem(&certificate), key: pem(&key.serialize_pem()) };
    assert!(!format!("{pair:?}").contains("PRIVATE"));
    ask(&faulty, with_host(&faulty, HostSettings { client: Some(pair), ..trusting() })).await.unwrap();
    // From certs.d, as Docker and podman read it.
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join(faulty.host());
    std::fs::create_dir_all(&mine).unwrap();
    std::fs::write(mine.join("ca.crt"), authority.pem()).unwrap();
    std::fs::write(mine.join("client.cert"), &certificate).unwrap();
    let certs_d = || Settings { certs_d: vec![folder.path().to_owned()], ..settings() };
    let error = ask(&faulty, certs_d()).await.unwrap_err();
    assert!(error.to_string().contains("client.key"), "{error}");
    std::fs::write(mine.join("client.key"), key.serialize_pem()).unwrap();
    ask(&faulty, certs_d()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_loopback_or_for_those_who_ask() {
    let faulty = Faulty::start(Quirks::default()).await;
    ask(&faulty, settings()).await.unwrap();
    let tls = HostSettings { plain_http: Some(false), ..HostSettings::default() };
    let error = ask(&faulty, with_host(&faulty, tls)).await.unwrap_err();
    assert!(error.to_string().contains("plain HTTP"), "{error}");
    let plain = HostSettings { plain_http: Some(true), ..HostSettings::default() };
    ask(&faulty, with_host(&faulty, plain)).await.unwrap();
    // Somebody who gives an authority means TLS.
    let authority = HostSettings { ca: vec![pem(&Authority::new().pem())], ..HostSettings::default() };
    assert!(ask(&faulty, with_host(&faulty, authority)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn https_never_leads_down_to_http() {
    let authority = Authority::new();
    let faulty = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", false, |_| {}))).await;
    let plain = Faulty::start(Quirks::default()).await;
    let there = plain.host();
    faulty.instead(
        9,
        |_| true,
        move |seen, reply| {
            *reply = Reply::status(307).with("location", format!("http://{there}{}", seen.path));
        },
    );
    let error = ask(&faulty, Settings { ca: vec![pem(&authority.pem())], ..settings() }).await.unwrap_err();
    assert!(error.to_string().contains("from https down to http"), "{error}");
    assert!(plain.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_missing_or_hold_something_else() {
    let authority = Authority::new();
    let faulty = Faulty::start_with(Quirks::default(), Some(authority.server("127.0.0.1", false, |_| {}))).await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("ca.pem");
    let at = |path: &Path| {
        with_host(&faulty, HostSettings { ca: vec![Pem::File(path.to_owned())], ..HostSettings::default() })
    };
    let error = ask(&faulty, at(&wrong)).await.unwrap_err();
    assert!(error.to_string().contains("ca.pem") && error.kind() == Kind::NotFound, "{error}");
    std::fs::write(&wrong, "not a certificate").unwrap();
    let error = ask(&faulty, at(&wrong)).await.unwrap_err();
    assert!(error.to_string().contains("ca.pem") && error.kind() == Kind::Usage, "{error}");
    let environment: Environment = [("SSL_CERT_FILE", "/nowhere/roots.pem")].into_iter().collect();
    let error = ask(&faulty, Settings { environment, ..settings() }).await.unwrap_err();
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_used_but_not_for_loopback_and_their_passwords_are_not_shown() {
    let proxy = Faulty::start(Quirks::default()).await;
    proxy.instead(9, |_| true, |_, reply| *reply = Reply::status(200).body(r#"{"tags":["by-proxy"]}"#));
    let environment: Environment = [
        ("HTTP_PROXY", format!("http://user:proxy-canary@{}", proxy.host())),
        ("NO_PROXY", "direct.example".to_owned()),
    ]
    .into_iter()
    .collect();
    let mut settings = Settings { environment, ..settings() };
    for host in ["far.example", "direct.example"] {
        settings
            .hosts
            .insert(host.parse().unwrap(), HostSettings { plain_http: Some(true), ..HostSettings::default() });
    }
    assert!(!format!("{settings:?}").contains("proxy-canary"));
    let registries = registries(settings, Credentials::none());
    let tags = remote(&registries, "far.example", "x", Side::Source).tags().await.unwrap();
    assert_eq!(tags, ["by-proxy".parse().unwrap()]);
    assert!(proxy.seen()[0].header("proxy-authorization").is_some());
    let seen = proxy.seen().len();
    assert!(remote(&registries, "direct.example", "x", Side::Source).tags().await.is_err());
    let direct = Faulty::start(Quirks::default()).await;
    remote(&registries, &direct.host(), "x", Side::Source).tags().await.unwrap();
    assert_eq!(proxy.seen().len(), seen);
    let environment: Environment = [("HTTPS_PROXY", "gopher://user:proxy-canary@x")].into_iter().collect();
    let registries =
        crate::transport::registries(Settings { environment, ..crate::transport::settings() }, Credentials::none());
    let error = remote(&registries, "far.example", "x", Side::Source).tags().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("proxy-canary"), "{error}");
}
