//! Versions: `semver` and `semverCompare`.

use super::{Func, Param, func};
use crate::helm::{
    semver::{Constraint, Version},
    template::{error::CallError, object::Object, value::Value},
};

use Param::Str as Text;

pub(super) const FUNCS: &[Func] = &[
    func("semver", &[Text], |_, args| {
        let version = Version::parse(&args.text(0)).map_err(|error| CallError::function(error.to_string()))?;
        Ok(Value::object(Object::Semver(version)))
    }),
    func("semverCompare", &[Text, Text], |_, args| {
        let failed = |error: crate::helm::semver::SemverError| CallError::function(error.to_string());
        let range = Constraint::parse(&args.text(0)).map_err(failed)?;
        let version = Version::parse(&args.text(1)).map_err(failed)?;
        Ok(Value::Bool(range.check(&version)))
    }),
];
