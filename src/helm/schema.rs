//! Values against `values.schema.json`.

use std::rc::Rc;

use super::{dependency::Live, error::Error, template::value::Dict};

pub(super) fn validate(_live: &Live<'_>, _values: &Rc<Dict>) -> Result<(), Error> {
    Ok(())
}
