//! Go values with fields and methods that templates meet: capabilities, versions, points in time, certificates.
//!
//! # Failure
//! An unknown field is `None`; the evaluator knows where it happened and says so.

use std::rc::Rc;

use super::{
    clock::Time,
    error::CallError,
    gofmt::float,
    value::{IntKind, Str, Value},
};
use crate::helm::{capabilities::Capabilities, semver::Version};

/// A Go value with fields and methods.
#[derive(Debug)]
pub enum Object {
    /// `*common.Capabilities`
    Capabilities(Rc<Capabilities>),
    /// `common.KubeVersion`
    KubeVersion(Rc<Capabilities>),
    /// `version.BuildInfo`
    HelmVersion(Rc<Capabilities>),
    /// `*semver.Version`
    Semver(Version),
    /// `time.Time`
    Time(Time),
    /// `complex128`: only a literal makes one
    Complex(f64, f64),
    /// `sprig.certificate`
    Certificate {
        /// The certificate as PEM.
        cert: Str,
        /// Its key as PEM.
        key: Str,
    },
}

fn arity(name: &str, args: &[Value], want: usize) -> Result<(), CallError> {
    if args.len() == want {
        Ok(())
    } else {
        Err(CallError::Arity(format!("wrong number of args for {name}: want {want} got {}", args.len())))
    }
}

impl Object {
    /// Returns Go's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Object::Capabilities(_) => "*common.Capabilities",
            Object::KubeVersion(_) => "common.KubeVersion",
            Object::HelmVersion(_) => "version.BuildInfo",
            Object::Semver(_) => "*semver.Version",
            Object::Time(_) => "time.Time",
            Object::Complex(..) => "complex128",
            Object::Certificate { .. } => "sprig.certificate",
        }
    }

    /// Returns Go's name of the kind.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Object::Capabilities(_) | Object::Semver(_) => "ptr",
            Object::Complex(..) => "complex128",
            _ => "struct",
        }
    }

    /// Decides conditions: structures and pointers are true.
    pub fn truth(&self) -> bool {
        !matches!(self, Object::Complex(0.0, 0.0))
    }

    /// Tells whether Go's `==` holds: pointers are equal only to themselves, structures field by field.
    pub fn equals(self: &Rc<Self>, other: &Rc<Self>) -> bool {
        match (&**self, &**other) {
            (Object::Time(a), Object::Time(b)) => a == b,
            (Object::Complex(a, b), Object::Complex(c, d)) => a == c && b == d,
            // There is one cluster and one build in a rendering.
            (Object::KubeVersion(_), Object::KubeVersion(_)) | (Object::HelmVersion(_), Object::HelmVersion(_)) => true,
            (Object::Certificate { cert: a, key: b }, Object::Certificate { cert: c, key: d }) => a == c && b == d,
            _ => Rc::ptr_eq(self, other),
        }
    }

    /// Returns what the type's `String` method prints, if it has one.
    pub fn stringer(&self) -> Option<String> {
        match self {
            Object::Semver(version) => Some(version.to_string()),
            Object::Time(time) => Some(time.to_go_string()),
            Object::Complex(real, imaginary) => {
                let (real, imaginary) = (float(*real, b'g', None), float(*imaginary, b'g', None));
                let sign = if imaginary.starts_with(['-', '+']) { "" } else { "+" };
                Some(format!("({real}{sign}{imaginary}i)"))
            }
            _ => None,
        }
    }

    /// Returns the exported and unexported fields in Go's order, for `%v`.
    pub fn parts(&self) -> Vec<(&'static str, Value)> {
        match self {
            Object::Capabilities(caps) => vec![
                ("KubeVersion", Value::object(Object::KubeVersion(caps.clone()))),
                ("APIVersions", caps.version_set()),
                ("HelmVersion", Value::object(Object::HelmVersion(caps.clone()))),
            ],
            Object::KubeVersion(caps) => vec![
                ("Version", Value::str(caps.kube.git.as_str())),
                ("normalizedVersion", Value::str(caps.kube.normalized.as_str())),
                ("Major", Value::str(caps.kube.major.as_str())),
                ("Minor", Value::str(caps.kube.minor.as_str())),
            ],
            Object::HelmVersion(caps) => vec![
                ("Version", Value::str(caps.helm_version.as_str())),
                ("GitCommit", Value::str("")),
                ("GitTreeState", Value::str("clean")),
                ("GoVersion", Value::str(caps.go_version.as_str())),
                ("KubeClientVersion", Value::str(caps.kube_client_version.as_str())),
            ],
            Object::Certificate { cert, key } => {
                vec![("Cert", Value::Str(cert.clone())), ("Key", Value::Str(key.clone()))]
            }
            Object::Semver(version) => vec![
                ("major", Value::Int(IntKind::Uint64, version.major as i64)),
                ("minor", Value::Int(IntKind::Uint64, version.minor as i64)),
                ("patch", Value::Int(IntKind::Uint64, version.patch as i64)),
                ("pre", Value::str(version.prerelease.as_str())),
                ("metadata", Value::str(version.metadata.as_str())),
                ("original", Value::str(version.to_string())),
            ],
            Object::Time(_) | Object::Complex(..) => Vec::new(),
        }
    }

    /// Evaluates a field or calls a method; `None` when the type has neither.
    pub fn access(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let plain = |value: Value| Some(arity(name, args, 0).map(|()| value));
        match self {
            Object::Capabilities(_) | Object::HelmVersion(_) | Object::Certificate { .. } => {
                let field = self.parts().into_iter().find(|(field, _)| *field == name)?.1;
                plain(field)
            }
            Object::KubeVersion(caps) => match name {
                "Version" | "GitVersion" => plain(Value::str(caps.kube.git.as_str())),
                "String" => plain(Value::str(caps.kube.normalized.as_str())),
                "Major" => plain(Value::str(caps.kube.major.as_str())),
                "Minor" => plain(Value::str(caps.kube.minor.as_str())),
                _ => None,
            },
            Object::Semver(version) => version.access(name, args),
            Object::Time(time) => time.access(name, args),
            Object::Complex(..) => None,
        }
    }
}
