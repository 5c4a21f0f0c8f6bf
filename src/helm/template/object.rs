//! Go values with fields and methods that templates meet: capabilities, versions, points in time, certificates.
//!
//! # Failure
//! An unknown field is `None`; the evaluator knows where it happened and says so.

use std::rc::Rc;

use super::{
    clock::Time,
    error::CallError,
    value::{Str, Value},
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
            Object::Certificate { .. } => "sprig.certificate",
        }
    }

    /// Returns Go's name of the kind.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Object::Capabilities(_) | Object::Semver(_) => "ptr",
            _ => "struct",
        }
    }

    /// Decides conditions: structures and pointers are true.
    pub fn truth(&self) -> bool {
        true
    }

    /// Returns what the type's `String` method prints, if it has one.
    pub fn stringer(&self) -> Option<String> {
        match self {
            Object::Semver(version) => Some(version.to_string()),
            Object::Time(time) => Some(time.to_go_string()),
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
            Object::Semver(_) | Object::Time(_) => Vec::new(),
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
        }
    }
}
