//! Keys, certificates, password hashes, AES.
//!
//! # Invariants
//! - Randomness is that of the rendering ([`Interp::random`]), so the same seed gives the same text.
//! - What is slow counts as the work that it is, also where [`KeySource::Sample`] makes it cheap: whether a chart stays
//!   within the bounds does not depend on who renders it.

use std::net::IpAddr;

use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

use super::{
    Args, Func, Outcome, Param,
    encoding::{base64, unbase64},
    func,
};
use crate::helm::{
    keys::{Certificate, Key, KeyKind, KeySource, Subject, hmac_sha256, scrypt_64},
    template::{
        error::CallError,
        exec::Interp,
        object::Object,
        value::{Str, Value},
    },
};

use Param::{Certificate as Pair, Int, List, Str as Text, Uint32};

/// Work of a bcrypt hash of cost 10 and of a derivation by scrypt, in steps of about 100 ns.
const BCRYPT_STEPS: u64 = 200_000;
const SCRYPT_STEPS: u64 = 1_000_000;

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
    func("encryptAES", &[Text, Text], encrypt),
    func("decryptAES", &[Text, Text], decrypt),
    func("genPrivateKey", &[Text], |interp, args| {
        let kind = match &*args.text(0) {
            "" | "rsa" => KeyKind::Rsa4096,
            "dsa" => KeyKind::Dsa,
            "ecdsa" => KeyKind::Ecdsa,
            "ed25519" => KeyKind::Ed25519,
            other => return Ok(Value::from(format!("Unknown type {other}"))),
        };
        Ok(Value::from(generate(interp, kind)?.to_pem()))
    }),
    func("genCA", &[Text, Int], |interp, args| {
        let subject = authority(args);
        issue(interp, &subject, None, None)
    }),
    func("genCAWithKey", &[Text, Int, Text], |interp, args| {
        let subject = authority(args);
        issue(interp, &subject, Some(args.bytes(2)), None)
    }),
    func("genSelfSignedCert", &[Text, List, List, Int], |interp, args| {
        let subject = leaf(args)?;
        issue(interp, &subject, None, None)
    }),
    func("genSelfSignedCertWithKey", &[Text, List, List, Int, Text], |interp, args| {
        let subject = leaf(args)?;
        issue(interp, &subject, Some(args.bytes(4)), None)
    }),
    func("genSignedCert", &[Text, List, List, Int, Pair], |interp, args| {
        let subject = leaf(args)?;
        let signer = signer(interp, args.value(4))?;
        issue(interp, &subject, None, Some(signer))
    }),
    func("genSignedCertWithKey", &[Text, List, List, Int, Pair, Text], |interp, args| {
        let subject = leaf(args)?;
        let signer = signer(interp, args.value(4))?;
        issue(interp, &subject, Some(args.bytes(5)), Some(signer))
    }),
    func("buildCustomCert", &[Text, Text], |_, args| {
        let decoded = |at: usize, what: &str| {
            unbase64(args.bytes(at)).map_err(|_| CallError::function(format!("unable to decode base64 {what}")))
        };
        let (cert, key) = (decoded(0, "certificate")?, decoded(1, "private key")?);
        read_certificate(&cert, "decodedCert")?;
        Key::from_pem(&key).map_err(|error| CallError::function(format!("error parsing private key: {error}")))?;
        Ok(Value::object(Object::Certificate { cert: Str::from(cert), key: Str::from(key) }))
    }),
];

/// Go's `bcrypt.GenerateFromPassword` with its default cost, which sprig uses.
fn bcrypt(interp: &mut Interp<'_>, password: &[u8]) -> Result<String, CallError> {
    const COST: u32 = 10;
    interp.spend(BCRYPT_STEPS)?;
    if password.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    if interp.ambient.keys == KeySource::Sample {
        return Ok(shaped(interp));
    }
    let mut salt = [0; 16];
    interp.random(&mut salt);
    match bcrypt::hash_with_salt(password, COST, salt) {
        Ok(parts) => Ok(parts.format_for_version(bcrypt::Version::TwoA)),
        Err(error) => Ok(format!("failed to encrypt string with bcrypt: {error}")),
    }
}

/// A text in bcrypt's form that is the hash of nothing.
fn shaped(interp: &mut Interp<'_>) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; 53];
    interp.random(&mut bytes);
    // The 22nd digit of the salt holds two bits only, the last of the hash four.
    bytes[21] &= 0x30;
    bytes[52] &= 0x3c;
    let text: String = bytes.iter().map(|byte| ALPHABET[*byte as usize & 63] as char).collect();
    format!("$2a$10${text}")
}

/// The characters that a letter of a Master Password template stands for.
fn choices(letter: u8) -> &'static [u8] {
    match letter {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// The Master Password algorithm (masterpasswordapp.com, "The algorithm"), with the lengths in bytes as sprig takes them.
fn derive_password(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    const SCOPE: &[u8] = b"com.lyndir.masterpassword";
    let templates: &[&str] = match &*args.text(1) {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        other => return Ok(Value::from(format!("cannot find password template {other}"))),
    };
    interp.spend(SCRYPT_STEPS)?;
    let counter = (args.int(0) as u32).to_be_bytes();
    let named = |at: usize| [SCOPE, &(args.bytes(at).len() as u32).to_be_bytes(), args.bytes(at)].concat();
    let Some(key) = scrypt_64(args.bytes(2), &named(3)) else {
        return Ok(Value::from("failed to derive password: scrypt: parameters are too large"));
    };
    let seed = hmac_sha256(&key, &[named(4), counter.to_vec()].concat());
    let template = templates[usize::from(seed[0]) % templates.len()];
    let text = template.bytes().zip(&seed[1..]).map(|(letter, byte)| {
        let choices = choices(letter);
        choices[usize::from(*byte) % choices.len()]
    });
    Ok(Value::str(text.collect::<Vec<u8>>()))
}

/// sprig takes the first 32 bytes of the password as the key, filled up with zeros.
fn aes_key(password: &[u8]) -> aes::Aes256 {
    let mut key = [0; 32];
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password[..length]);
    aes::Aes256::new(&key.into())
}

fn encrypt(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let text = args.bytes(1);
    if text.is_empty() {
        return Ok(Value::from(""));
    }
    interp.afford(text.len() * 2)?;
    let cipher = aes_key(args.bytes(0));
    let mut last = [0; 16];
    interp.random(&mut last);
    let mut out = last.to_vec();
    let padding = 16 - text.len() % 16;
    let padded = [text, &vec![padding as u8; padding]].concat();
    for chunk in padded.chunks_exact(16) {
        for (byte, plain) in last.iter_mut().zip(chunk) {
            *byte ^= plain;
        }
        let mut block = last.into();
        cipher.encrypt_block(&mut block);
        last = block.into();
        out.extend_from_slice(&last);
    }
    Ok(Value::from(base64(&out)))
}

fn decrypt(interp: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let text = args.bytes(1);
    if text.is_empty() {
        return Ok(Value::from(""));
    }
    interp.afford(text.len())?;
    let cipher = aes_key(args.bytes(0));
    let bytes = unbase64(text).map_err(|at| CallError::function(format!("illegal base64 data at input byte {at}")))?;
    let Some((iv, rest)) = bytes.split_first_chunk::<16>() else {
        let have = bytes.len();
        return Err(CallError::function(format!(
            "runtime error: slice bounds out of range [:16] with capacity {have}"
        )));
    };
    if rest.len() % 16 != 0 {
        return Err(CallError::function("crypto/cipher: input not full blocks"));
    }
    let mut last = *iv;
    let mut out = Vec::with_capacity(rest.len());
    for chunk in rest.as_chunks::<16>().0 {
        let mut block = (*chunk).into();
        cipher.decrypt_block(&mut block);
        let plain: [u8; 16] = block.into();
        out.extend(plain.iter().zip(last).map(|(byte, before)| byte ^ before));
        last = *chunk;
    }
    let Some(padding) = out.last().map(|byte| usize::from(*byte)) else {
        return Err(CallError::function("runtime error: index out of range [-1]"));
    };
    if padding > out.len() {
        let below = padding - out.len();
        return Err(CallError::function(format!("runtime error: slice bounds out of range [:-{below}]")));
    }
    out.truncate(out.len() - padding);
    Ok(Value::str(out))
}

fn generate(interp: &mut Interp<'_>, kind: KeyKind) -> Result<Key, CallError> {
    interp.spend(kind.steps())?;
    let source = interp.ambient.keys;
    Ok(Key::generate(kind, source, &mut |bytes: &mut [u8]| interp.random(bytes)))
}

fn authority(args: Args<'_>) -> Subject<'_> {
    Subject { name: args.bytes(0), ips: Vec::new(), hosts: Vec::new(), days: args.int(1), authority: true }
}

fn leaf(args: Args<'_>) -> Result<Subject<'_>, CallError> {
    let texts = |at: usize, what: &str| {
        let Value::List(items) = args.value(at) else { return Ok(Vec::new()) };
        let text = |item: &Value| match item {
            Value::Str(text) => Ok(text.clone()),
            other => {
                let shown = super::strval(other)?;
                Err(CallError::function(format!("{what}: {} is not a string", shown.text())))
            }
        };
        items.items.iter().map(text).collect::<Result<Vec<Str>, CallError>>()
    };
    let mut ips = Vec::new();
    for text in texts(1, "error parsing ip")? {
        let ip: Result<IpAddr, _> = text.text().parse();
        ips.push(ip.map_err(|_| CallError::function(format!("error parsing ip: {}", text.text())))?);
    }
    let hosts = texts(2, "error processing alternate dns name")?.iter().map(|host| host.bytes().to_vec()).collect();
    Ok(Subject { name: args.bytes(0), ips, hosts, days: args.int(3), authority: false })
}

/// Counts a signature with a given key: the longer the key, the slower.
fn work(pem: &[u8]) -> u64 {
    KeyKind::Ecdsa.steps() + (pem.len() as u64).saturating_mul(pem.len() as u64) / 40
}

fn read_certificate(text: &[u8], what: &str) -> Result<Certificate, CallError> {
    Certificate::from_pem(text).map_err(|error| {
        CallError::function(match error {
            None => "unable to decode certificate".to_owned(),
            Some(error) => format!("error parsing certificate: {what}.Bytes: {error}"),
        })
    })
}

fn signer(interp: &mut Interp<'_>, value: &Value) -> Result<(Certificate, Key), CallError> {
    let Value::Object(object) = value else { return Err(CallError::function("unable to decode certificate")) };
    let Object::Certificate { cert, key } = &**object else {
        return Err(CallError::function("unable to decode certificate"));
    };
    let certificate = read_certificate(cert.bytes(), "decodedSignerCert")?;
    interp.spend(work(key.bytes()))?;
    let key = Key::from_pem(key.bytes())
        .map_err(|error| CallError::function(format!("error parsing private key: {error}")))?;
    Ok((certificate, key))
}

/// Makes a certificate with a key that is given or made, signed by an authority or by itself.
fn issue(
    interp: &mut Interp<'_>,
    subject: &Subject<'_>,
    key: Option<&[u8]>,
    signer: Option<(Certificate, Key)>,
) -> Outcome {
    let key = match key {
        Some(pem) => {
            interp.spend(work(pem))?;
            Key::from_pem(pem).map_err(|error| CallError::function(format!("parsing private key: {error}")))?
        }
        None => generate(interp, KeyKind::Rsa2048)?,
    };
    let now = interp.ambient.now;
    let by = signer.as_ref().map(|(certificate, key)| (certificate, key));
    let cert = Certificate::create(subject, &key, by, now, &mut |bytes: &mut [u8]| interp.random(bytes))
        .map_err(|error| CallError::function(format!("error creating certificate: {error}")))?;
    interp.afford(cert.len())?;
    Ok(Value::object(Object::Certificate { cert: Str::from(cert), key: Str::from(key.to_pem()) }))
}
