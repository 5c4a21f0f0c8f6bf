//! The keys, certificates and hashes that charts generate, judged by OpenSSL and by certificates that helm made.

use std::{fs, path::Path};

use airgap_bundler::helm::KeySource;
use tempfile::TempDir;

use super::{Ambient, Limits, Time, chart, rendered_with};
use crate::support::referees::{find, must, run};

/// Renders lines `name: |` with the result of an expression below, and returns the results.
fn made(expressions: &[(&str, &str)], ambient: &Ambient) -> Result<Vec<String>, String> {
    let mut template = String::from("kind: X\n");
    for (setup, shown) in expressions {
        template.push_str(&format!("{{{{- {setup} }}}}\n- {{{{ {shown} | b64enc }}}}\n"));
    }
    template = template.replace("kind: X\n", "all:\n");
    let files = [("Chart.yaml", super::CHART), ("templates/x.yaml", template.as_str())];
    let chart = chart(&files).map_err(|error| error.to_string())?;
    let rendered = rendered_with(&chart, &Limits::default(), ambient).map_err(|error| error.to_string())?;
    let lines = rendered.manifests[0].text.lines().filter_map(|line| line.strip_prefix("- "));
    Ok(lines
        .map(|line| {
            use base64::Engine;
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(line).unwrap()).unwrap()
        })
        .collect())
}

fn ambient(seed: u8, keys: KeySource) -> Ambient {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Ambient { now: Time::unix(now as i64), random: [seed; 32], keys }
}

fn failing(expression: &str) -> String {
    made(&[("$x := 1", expression)], &ambient(1, KeySource::Sample)).unwrap_err()
}

fn put(home: &Path, name: &str, text: &str) {
    fs::write(home.join(name), text).unwrap();
}

/// A chain as charts build it: an authority, a server's certificate by it, one by itself.
const CHAIN: &[(&str, &str)] = &[
    ("$ca := genCA \"my ca\" 365", "$ca.Cert"),
    ("$c := genSignedCert \"x*y\" (list \"10.0.0.1\" \"::1\") (list \"a.b\" \"*.c\") 10 $ca", "$c.Cert"),
    ("$s := genSelfSignedCert \"self.example\" nil (list \"self.example\") 30", "$s.Cert"),
    ("$_ := 1", "$ca.Key"),
    ("$_ = 1", "$c.Key"),
    ("$_ = 1", "$s.Key"),
];

#[test]
fn openssl_accepts_what_charts_generate() {
    let Some(openssl) = find(&["openssl"]) else { return };
    let home = TempDir::new().unwrap();
    let home = home.path();
    let all = made(CHAIN, &ambient(1, KeySource::Fresh)).unwrap();
    for (name, text) in ["ca.pem", "cert.pem", "self.pem", "ca.key", "cert.key", "self.key"].iter().zip(&all) {
        put(home, name, text);
    }
    must(&openssl, home, &["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose", "sslserver", "cert.pem"]);
    must(&openssl, home, &["verify", "-CAfile", "ca.pem", "-verify_hostname", "a.b", "cert.pem"]);
    must(&openssl, home, &["verify", "-CAfile", "ca.pem", "-verify_ip", "::1", "cert.pem"]);
    must(&openssl, home, &["verify", "-check_ss_sig", "-CAfile", "self.pem", "self.pem"]);
    assert!(!run(&openssl, home, &["verify", "-CAfile", "self.pem", "cert.pem"]).status.success());
    for name in ["ca", "cert", "self"] {
        must(&openssl, home, &["rsa", "-check", "-noout", "-in", &format!("{name}.key")]);
        let of_key = must(&openssl, home, &["pkey", "-pubout", "-in", &format!("{name}.key")]);
        assert_eq!(must(&openssl, home, &["x509", "-pubkey", "-noout", "-in", &format!("{name}.pem")]), of_key);
    }
    let text = must(&openssl, home, &["x509", "-noout", "-text", "-in", "cert.pem"]);
    for part in ["2048 bit", "DNS:a.b, DNS:*.c, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1", "CA:FALSE"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let ten_days = 10 * 86_400;
    must(&openssl, home, &["x509", "-checkend", &(ten_days - 60).to_string(), "-noout", "-in", "cert.pem"]);
    assert!(
        !run(&openssl, home, &["x509", "-checkend", &ten_days.to_string(), "-noout", "-in", "cert.pem"])
            .status
            .success()
    );
}

#[test]
fn openssl_accepts_every_kind_of_key() {
    let Some(openssl) = find(&["openssl"]) else { return };
    let home = TempDir::new().unwrap();
    let home = home.path();
    let kinds = ["rsa", "dsa", "ecdsa", "ed25519"];
    let keys: Vec<String> = kinds.iter().map(|kind| format!("genPrivateKey \"{kind}\"")).collect();
    let keys: Vec<(&str, &str)> = keys.iter().map(|key| ("$_ := 1", key.as_str())).collect();
    for source in [KeySource::Fresh, KeySource::Sample] {
        for (kind, key) in kinds.iter().zip(made(&keys, &ambient(2, source)).unwrap()) {
            put(home, "key.pem", &key);
            if *kind != "dsa" {
                must(&openssl, home, &["pkey", "-check", "-noout", "-in", "key.pem"]);
            }
            let text = must(&openssl, home, &["pkey", "-text", "-noout", "-in", "key.pem"]);
            let size = match *kind {
                "rsa" => "4096 bit",
                "dsa" => "2048 bit",
                "ecdsa" => "prime256v1",
                _ => "ED25519",
            };
            assert!(text.contains(size), "{kind}: {text}");
        }
    }
}

#[test]
fn certificates_are_signed_with_keys_of_any_kind() {
    let Some(openssl) = find(&["openssl"]) else { return };
    let home = TempDir::new().unwrap();
    let home = home.path();
    for arguments in [
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "p384.key"][..],
        &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "p256.key"],
        &["genpkey", "-algorithm", "ed25519", "-out", "ed25519.key"],
        &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", "rsa.key"],
        &["genrsa", "-traditional", "-out", "rsa1.key", "2048"],
    ] {
        must(&openssl, home, arguments);
    }
    for name in ["p384", "p256", "ed25519", "rsa", "rsa1"] {
        let key = format!("{:?}", fs::read_to_string(home.join(format!("{name}.key"))).unwrap());
        let setup = [
            format!("$ca := genCAWithKey \"authority\" 5 {key}"),
            format!("$c := genSignedCertWithKey \"leaf\" (list) (list \"leaf\") 5 $ca {key}"),
            format!("$s := genSelfSignedCertWithKey \"alone\" (list \"::ffff:1.2.3.4\") nil 5 {key}"),
            "$b := buildCustomCert ($c.Cert | b64enc) ($c.Key | b64enc)".to_owned(),
        ];
        let shown = ["$ca.Cert", "$c.Cert", "$s.Cert", "$b.Key"];
        let all: Vec<(&str, &str)> = setup.iter().map(String::as_str).zip(shown).collect();
        let all = made(&all, &ambient(3, KeySource::Sample)).unwrap();
        for (file, text) in ["ca.pem", "cert.pem", "self.pem", "out.key"].iter().zip(&all) {
            put(home, file, text);
        }
        must(&openssl, home, &["verify", "-x509_strict", "-CAfile", "ca.pem", "cert.pem"]);
        must(&openssl, home, &["verify", "-check_ss_sig", "-CAfile", "self.pem", "-verify_ip", "1.2.3.4", "self.pem"]);
        let given = must(&openssl, home, &["pkey", "-pubout", "-in", &format!("{name}.key")]);
        assert_eq!(must(&openssl, home, &["pkey", "-pubout", "-in", "out.key"]), given);
    }
}

/// Walks DER and writes down tags, object identifiers and short contents: what does not change from key to key.
fn skeleton(bytes: &[u8], depth: usize, out: &mut String) {
    let mut rest = bytes;
    while let [tag, first, ..] = *rest {
        let (length, header) = match first {
            0x81 => (usize::from(rest[2]), 3),
            0x82 => (usize::from(rest[2]) << 8 | usize::from(rest[3]), 4),
            short => (usize::from(short), 2),
        };
        let content = &rest[header..header + length];
        out.push_str(&format!("{:depth$}{tag:02x}", ""));
        match tag {
            0x30 | 0x31 | 0xa0 | 0xa3 => {
                out.push('\n');
                skeleton(content, depth + 1, out);
            }
            // Serial numbers, times, keys and identifiers of keys differ; everything else is equal.
            0x02 if length > 4 => out.push_str(" number\n"),
            0x03 if length > 4 => out.push_str(&format!(" {length}\n")),
            0x17 => out.push_str(" time\n"),
            0x04 if length == 22 && content[0] == 4 || length == 24 && content[2] == 0x80 => out.push_str(" id\n"),
            _ => out.push_str(&format!(" {content:02x?}\n")),
        }
        rest = &rest[header + length..];
    }
}

fn skeleton_of(pem: &str) -> String {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut out = String::new();
    skeleton(&base64::engine::general_purpose::STANDARD.decode(body).unwrap(), 0, &mut out);
    out
}

#[test]
fn certificates_hold_what_those_of_helm_hold() {
    // `genCA "my ca" 365` and CHAIN's second certificate, made by helm 4.1.4.
    let theirs = include_str!("../data/helm/certificates.pem");
    let theirs: Vec<&str> = theirs.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let ours = made(&CHAIN[..2], &ambient(4, KeySource::Sample)).unwrap();
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(skeleton_of(ours), skeleton_of(theirs));
    }
}

#[test]
fn the_same_seed_makes_the_same_text() {
    let all = [
        ("$ca := genCA \"a\" 1", "print $ca.Cert $ca.Key"),
        ("$_ := 1", "genPrivateKey \"ecdsa\""),
        ("$_ = 1", "genPrivateKey \"ed25519\""),
        ("$_ = 1", "htpasswd \"u\" \"p\""),
        ("$_ = 1", "encryptAES \"k\" \"text\""),
        ("$_ = 1", "randBytes 9"),
    ];
    let now = Ambient { now: Time::unix(1_700_000_000), random: [5; 32], keys: KeySource::Fresh };
    let (first, again) = (made(&all, &now).unwrap(), made(&all, &now).unwrap());
    assert_eq!(first, again);
    let other = made(&all, &Ambient { random: [6; 32], ..now }).unwrap();
    assert!(first.iter().zip(other).all(|(a, b)| *a != b));
}

#[test]
fn hashes_and_ciphers_are_real() {
    let ambient = ambient(7, KeySource::Fresh);
    let all = made(
        &[
            ("$e := encryptAES \"secret\" \"plain text of two blocks\"", "decryptAES \"secret\" $e"),
            ("$_ := 1", "$e"),
            ("$_ = 1", "htpasswd \"user\" \"correct horse\""),
        ],
        &ambient,
    )
    .unwrap();
    assert_eq!(all[0], "plain text of two blocks");
    if let Some(openssl) = find(&["openssl"]) {
        use base64::Engine;
        let home = TempDir::new().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(&all[1]).unwrap();
        fs::write(home.path().join("x"), &bytes[16..]).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = format!("{}{}", hex(b"secret"), "00".repeat(26));
        let arguments = ["enc", "-d", "-aes-256-cbc", "-K", &key, "-iv", &hex(&bytes[..16]), "-in", "x"];
        assert_eq!(must(&openssl, home.path(), &arguments), all[0]);
    }
    if let Some(htpasswd) = find(&["htpasswd"]) {
        let home = TempDir::new().unwrap();
        put(home.path(), "users", &format!("{}\n", all[2]));
        must(&htpasswd, home.path(), &["-vb", "users", "user", "correct horse"]);
        assert!(!run(&htpasswd, home.path(), &["-vb", "users", "user", "wrong"]).status.success());
    }
}

#[test]
fn wrong_arguments_end_in_the_words_of_sprig() {
    let rsa = "genPrivateKey \"rsa\"";
    for (expression, words) in [
        ("(genCA 1 2).Cert", "expected string; found 1"),
        ("(genCA \"a\").Cert", "wrong number of args for genCA: want 2 got 1"),
        ("(genCAWithKey \"a\" 1 \"x\").Cert", "error calling genCAWithKey: parsing private key: no PEM data in input"),
        ("(genSelfSignedCert \"a\" (list 1) nil 1).Cert", "error parsing ip: 1 is not a string"),
        ("(genSelfSignedCert \"a\" (list \"1.2.3\") nil 1).Cert", "error parsing ip: 1.2.3"),
        ("(genSelfSignedCert \"a\" nil (list 2) 1).Cert", "error processing alternate dns name: 2 is not a string"),
        ("(genSelfSignedCert \"a\" nil (list \"é\") 1).Cert", "x509: \"é\" cannot be encoded as an IA5String"),
        ("(genSelfSignedCert \"a\" \"b\" nil 1).Cert", "\"b\" for arg of type []interface {}"),
        ("(genSignedCert \"a\" nil nil 1 \"x\").Cert", "\"x\" for arg of type sprig.certificate"),
        ("(genSignedCert \"a\" nil nil 1 (dict)).Cert", "expected sprig.certificate; got map[string]interface {}"),
        ("(buildCustomCert \"%\" \"\").Cert", "unable to decode base64 certificate"),
        ("(buildCustomCert \"\" \"%\").Cert", "unable to decode base64 private key"),
        ("(buildCustomCert \"\" \"\").Cert", "unable to decode certificate"),
        (
            "(buildCustomCert ((genCA \"a\" 1).Cert | b64enc) (b64enc \"x\")).Cert",
            "error parsing private key: no PEM data in input",
        ),
        (
            "(buildCustomCert (genPrivateKey \"ecdsa\" | b64enc) \"\").Cert",
            "error parsing certificate: decodedCert.Bytes: x509: malformed certificate",
        ),
        (
            "(genCAWithKey \"a\" 1 (genPrivateKey \"dsa\")).Cert",
            "error creating certificate: x509: certificate private key does not implement crypto.Signer",
        ),
        (
            "(genSignedCertWithKey \"a\" nil nil 1 (genCA \"b\" 1) (genPrivateKey \"dsa\")).Cert",
            "error creating certificate: x509: unsupported public key type: *dsa.PublicKey",
        ),
        (
            "(genSignedCert \"a\" nil nil 1 (buildCustomCert ((genCA \"b\" 1).Cert | b64enc) (genPrivateKey \"ecdsa\" | b64enc))).Cert",
            "x509: provided PrivateKey doesn't match parent's PublicKey",
        ),
        ("genPrivateKey \"rsa\" | replace \"RSA\" \"EC\" | genCAWithKey \"a\" 1", "use ParsePKCS1PrivateKey instead"),
        ("genPrivateKey \"rsa\" | replace \"RSA\" \"ODD\" | genCAWithKey \"a\" 1", "invalid private key type ODD"),
        (
            "genPrivateKey \"rsa\" | replace \"RSA PRIVATE\" \"PUBLIC\" | genCAWithKey \"a\" 1",
            "no private key data in PEM block of type PUBLIC KEY",
        ),
        ("decryptAES \"k\" \"%%%\"", "illegal base64 data at input byte 0"),
        ("decryptAES \"k\" \"YWJj\"", "slice bounds out of range"),
        ("randBytes -1", "makeslice: len out of range"),
    ] {
        let error = failing(expression);
        assert!(error.contains(words), "{expression}: {error}");
    }
    let shown = made(
        &[("$_ := 1", "genPrivateKey \"x\""), ("$_ = 1", "htpasswd \"a:b\" \"c\"")],
        &ambient(1, KeySource::Sample),
    );
    assert_eq!(shown.unwrap(), ["Unknown type x", "invalid username: a:b"]);
    assert!(
        made(&[("$_ := 1", rsa)], &ambient(1, KeySource::Sample)).unwrap()[0].starts_with("-----BEGIN RSA PRIVATE KEY")
    );
}
