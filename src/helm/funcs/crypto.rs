//! Keys, certificates, password hashes.
//!
//! What helm makes here is random, so no two renderings agree on it. This renderer makes values of the same shape:
//! PEM blocks with well-formed DER inside, hashes with the right prefix and length. They come from the ambient random
//! bytes, are good for nothing but being shown, and say so in the certificate's subject.

use super::{
    Args, Func, Outcome, Param,
    encoding::{base64, unbase64},
    func,
};
use crate::helm::template::{
    clock::Time,
    error::CallError,
    exec::Interp,
    object::Object,
    value::{Str, Value},
};

use Param::{Certificate, Int, List, Str as Text, Uint32};

pub(super) const FUNCS: &[Func] = &[
    func("bcrypt", &[Text], |interp, args| bcrypt(interp, args.bytes(0)).map(Value::from)),
    func("htpasswd", &[Text, Text], |interp, args| {
        let user = args.text(0);
        if user.contains(':') {
            return Ok(Value::from(format!("invalid username: {user}")));
        }
        Ok(Value::from(format!("{user}:{}", bcrypt(interp, args.bytes(1))?)))
    }),
    func("derivePassword", &[Uint32, Text, Text, Text, Text], derive_password),
    func("randBytes", &[Int], |interp, args| {
        let Ok(count) = usize::try_from(args.int(0)) else {
            return Err(CallError::function("runtime error: makeslice: len out of range"));
        };
        interp.afford(count)?;
        let mut bytes = vec![0; count];
        interp.random(&mut bytes);
        Ok(Value::from(base64(&bytes)))
    }),
    func("uuidv4", &[], |interp, _| {
        let mut bytes = [0; 16];
        interp.random(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok(Value::from(parts.join("-")))
    }),
    func("genPrivateKey", &[Text], |interp, args| {
        interp.spend(1000)?;
        Ok(match &*args.text(0) {
            "" | "rsa" => Value::from(rsa_key(interp, 512)),
            "dsa" => Value::from(numbers_key(interp, "DSA PRIVATE KEY", &[0, 256, 32, 256, 256, 32])),
            "ecdsa" => Value::from(ec_key(interp)),
            "ed25519" => {
                let mut seed = [0; 32];
                interp.random(&mut seed);
                let oid = der(0x30, &der(0x06, &[0x2b, 0x65, 0x70]));
                let key = der(0x04, &der(0x04, &seed));
                Value::from(pem("PRIVATE KEY", &der(0x30, &[der(2, &[0]), oid, key].concat())))
            }
            other => Value::from(format!("Unknown type {other}")),
        })
    }),
    func("genCA", &[Text, Int], |interp, args| certificate(interp, &args.text(0), args, None, true, None)),
    func("genCAWithKey", &[Text, Int, Text], |interp, args| {
        let key = parsed_key(args.bytes(2))?;
        certificate(interp, &args.text(0), args, None, true, Some(key))
    }),
    func("genSelfSignedCert", &[Text, List, List, Int], |interp, args| {
        certificate(interp, &args.text(0), args, Some(1), false, None)
    }),
    func("genSelfSignedCertWithKey", &[Text, List, List, Int, Text], |interp, args| {
        let key = parsed_key(args.bytes(4))?;
        certificate(interp, &args.text(0), args, Some(1), false, Some(key))
    }),
    func("genSignedCert", &[Text, List, List, Int, Certificate], |interp, args| {
        signer(args.value(4))?;
        certificate(interp, &args.text(0), args, Some(1), false, None)
    }),
    func("genSignedCertWithKey", &[Text, List, List, Int, Certificate, Text], |interp, args| {
        signer(args.value(4))?;
        let key = parsed_key(args.bytes(5))?;
        certificate(interp, &args.text(0), args, Some(1), false, Some(key))
    }),
    func("buildCustomCert", &[Text, Text], |_, args| {
        let decoded = |at: usize, what: &str| {
            unbase64(args.bytes(at)).map_err(|_| CallError::function(format!("unable to decode base64 {what}")))
        };
        let (cert, key) = (decoded(0, "certificate")?, decoded(1, "private key")?);
        let (_, body) = unpem(&cert).ok_or_else(|| CallError::function("unable to decode certificate"))?;
        if body.first() != Some(&0x30) {
            return Err(CallError::function(
                "error parsing certificate: decodedCert.Bytes: x509: malformed certificate",
            ));
        }
        parsed_key(&key).map_err(|error| CallError::function(format!("error parsing private key: {error}")))?;
        Ok(Value::object(Object::Certificate { cert: Str::from(cert), key: Str::from(key) }))
    }),
];

/// A hash in bcrypt's form with random salt and digest, which is what a random salt gives anyway.
fn bcrypt(interp: &mut Interp<'_>, password: &[u8]) -> Result<String, CallError> {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    interp.spend(1000)?;
    if password.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    let mut bytes = [0; 53];
    interp.random(&mut bytes);
    // The 22nd digit of the salt holds two bits only, the last of the hash four.
    bytes[21] &= 0x30;
    bytes[52] &= 0x3c;
    let text: String = bytes.iter().map(|byte| ALPHABET[*byte as usize & 63] as char).collect();
    Ok(format!("$2a$10${text}"))
}

fn derive_password(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    const X: &str = "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()";
    let (length, alphabet) = match &*args.text(1) {
        "maximum" => (20, X),
        "long" => (14, &X[..62]),
        "medium" => (8, &X[..62]),
        "short" => (4, &X[..62]),
        "basic" => (8, &X[..62]),
        "pin" => (4, "0123456789"),
        other => return Ok(Value::from(format!("cannot find password template {other}"))),
    };
    interp.spend(1000)?;
    let mut hasher = crate::oci::Algorithm::Sha256.hasher();
    hasher.update(&args.int(0).to_be_bytes());
    for i in 1..5 {
        hasher.update(&(args.bytes(i).len() as u64).to_be_bytes());
        hasher.update(args.bytes(i));
    }
    let digest = hasher.finish();
    let hex = digest.hex();
    let text: String = (0..length)
        .map(|i| {
            let byte = usize::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap_or(0);
            alphabet.as_bytes()[byte % alphabet.len()] as char
        })
        .collect();
    Ok(Value::from(text))
}

/// Wraps content in a DER tag with its length (X.690, 8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

fn pem(kind: &str, body: &[u8]) -> String {
    let text = base64(body);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {kind}-----\n"));
    out
}

fn unpem(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = String::from_utf8_lossy(text);
    let start = text.find("-----BEGIN ")?;
    let rest = &text[start + 11..];
    let (kind, rest) = rest.split_once("-----")?;
    let end = rest.find(&format!("-----END {kind}-----"))?;
    let mut body: String = rest[..end].to_owned();
    // Headers end with an empty line.
    if body.contains(": ") {
        body = body.split_once("\n\n").map(|(_, body)| body.to_owned())?;
    }
    body.retain(|c| !c.is_ascii_whitespace());
    Some((kind.to_owned(), unbase64(body.as_bytes()).ok()?))
}

fn parsed_key(text: &[u8]) -> Result<String, CallError> {
    let Some((kind, _)) = unpem(text) else { return Err(CallError::function("no PEM data in input")) };
    if kind != "PRIVATE KEY" && !kind.ends_with(" PRIVATE KEY") {
        return Err(CallError::function(format!("no private key data in PEM block of type {kind}")));
    }
    match kind.as_str() {
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" => {
            Ok(String::from_utf8_lossy(text).into_owned())
        }
        other => {
            Err(CallError::function(format!("invalid private key type {}", other.trim_end_matches(" PRIVATE KEY"))))
        }
    }
}

fn signer(value: &Value) -> Result<(), CallError> {
    if let Value::Object(object) = value
        && let Object::Certificate { cert, key } = &**object
    {
        unpem(cert.bytes()).ok_or_else(|| CallError::function("unable to decode certificate"))?;
        parsed_key(key.bytes()).map_err(|error| CallError::function(format!("error parsing private key: {error}")))?;
        return Ok(());
    }
    Err(CallError::function("unable to decode certificate"))
}

fn number(interp: &mut Interp<'_>, bytes: usize) -> Vec<u8> {
    let mut digits = vec![0; bytes];
    interp.random(&mut digits);
    if let [first, .., last] = digits.as_mut_slice() {
        *first = *first & 0x7f | 0x40;
        *last |= 1;
    }
    der(2, &digits)
}

fn numbers_key(interp: &mut Interp<'_>, kind: &str, sizes: &[usize]) -> String {
    let mut body = Vec::new();
    for size in sizes {
        body.extend(if *size == 0 { der(2, &[0]) } else { number(interp, *size) });
    }
    pem(kind, &der(0x30, &body))
}

fn rsa_key(interp: &mut Interp<'_>, modulus: usize) -> String {
    let half = modulus / 2;
    let mut body = der(2, &[0]);
    body.extend(number(interp, modulus));
    body.extend(der(2, &[1, 0, 1]));
    for size in [modulus, half, half, half, half, half] {
        body.extend(number(interp, size));
    }
    pem("RSA PRIVATE KEY", &der(0x30, &body))
}

/// prime256v1, RFC 5480, 2.1.1.1.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn ec_key(interp: &mut Interp<'_>) -> String {
    let (mut secret, mut point) = ([0; 32], [0; 66]);
    interp.random(&mut secret);
    interp.random(&mut point);
    (point[0], point[1]) = (0, 4);
    let body = [der(2, &[1]), der(4, &secret), der(0xa0, &P256), der(0xa1, &der(3, &point))].concat();
    pem("EC PRIVATE KEY", &der(0x30, &body))
}

/// sha256WithRSAEncryption and rsaEncryption, RFC 8017, A.2.
const SHA256_RSA: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
const RSA: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

fn extension(id: u8, critical: bool, content: &[u8]) -> Vec<u8> {
    let mut body = der(0x06, &[0x55, 0x1d, id]);
    if critical {
        body.extend(der(1, &[0xff]));
    }
    body.extend(der(4, content));
    der(0x30, &body)
}

fn alternatives(args: Args<'_>, at: usize) -> Result<Vec<u8>, CallError> {
    let mut names = Vec::new();
    for (list, what) in [(at, "ip"), (at + 1, "dns")] {
        let Value::List(items) = args.value(list) else { continue };
        for item in &items.items {
            let Value::Str(text) = item else {
                let shown = super::strval(item)?;
                let what = if what == "ip" { "error parsing ip" } else { "error processing alternate dns name" };
                return Err(CallError::function(format!("{what}: {} is not a string", shown.text())));
            };
            if what == "dns" {
                names.extend(der(0x82, text.bytes()));
                continue;
            }
            match text.text().parse::<std::net::IpAddr>() {
                Ok(std::net::IpAddr::V4(ip)) => names.extend(der(0x87, &ip.octets())),
                Ok(std::net::IpAddr::V6(ip)) => names.extend(der(0x87, &ip.octets())),
                Err(_) => return Err(CallError::function(format!("error parsing ip: {}", text.text()))),
            }
        }
    }
    Ok(names)
}

fn certificate(
    interp: &mut Interp<'_>,
    name: &str,
    args: Args<'_>,
    names_at: Option<usize>,
    authority: bool,
    key: Option<String>,
) -> Outcome {
    interp.spend(1000)?;
    let names = match names_at {
        Some(at) => alternatives(args, at)?,
        None => Vec::new(),
    };
    let days = args.int(if names_at.is_some() { 3 } else { 1 });
    let now = interp.ambient.now;
    let time = |time: Time| der(0x18, time.at_offset(0).format("20060102150405Z").as_bytes());
    let common_name = der(0x30, &[der(0x06, &[0x55, 0x04, 0x03]), der(0x0c, name.as_bytes())].concat());
    let subject = der(0x30, &der(0x31, &common_name));
    let until = now.plus(days.saturating_mul(86_400).saturating_mul(1_000_000_000));
    let mut extensions = extension(0x0f, true, &der(3, if authority { &[2, 0xa4] } else { &[5, 0xa0] }));
    // Server and client authentication, RFC 5280, 4.2.1.12.
    let usages: Vec<u8> =
        [1u8, 2].iter().flat_map(|usage| der(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, *usage])).collect();
    extensions.extend(extension(0x25, false, &der(0x30, &usages)));
    let basic = if authority { der(1, &[0xff]) } else { Vec::new() };
    extensions.extend(extension(0x13, true, &der(0x30, &basic)));
    if !names.is_empty() {
        extensions.extend(extension(0x11, false, &der(0x30, &names)));
    }
    let public = der(0x30, &[number(interp, 256), der(2, &[1, 0, 1])].concat());
    let mut bits = vec![0];
    bits.extend(public);
    let body = [
        der(0xa0, &der(2, &[2])),
        number(interp, 16),
        der(0x30, &SHA256_RSA),
        subject.clone(),
        der(0x30, &[time(now), time(until)].concat()),
        subject,
        der(0x30, &[der(0x30, &RSA), der(3, &bits)].concat()),
        der(0xa3, &der(0x30, &extensions)),
    ]
    .concat();
    let mut signature = vec![0; 257];
    interp.random(&mut signature[1..]);
    let whole = der(0x30, &[der(0x30, &body), der(0x30, &SHA256_RSA), der(3, &signature)].concat());
    let key = match key {
        Some(key) => key,
        None => rsa_key(interp, 256),
    };
    Ok(Value::object(Object::Certificate { cert: Str::from(pem("CERTIFICATE", &whole)), key: Str::from(key) }))
}
