//! `alias`: the state of another service.

use std::sync::Arc;

use crate::config::parse::findings::{Findings, Place};
use crate::config::parse::name;
use crate::config::parse::table::Section;

/// The service, and where it is named.
pub(super) fn service(table: &Section, findings: &mut Findings) -> Option<(Arc<str>, Place)> {
    let item = table.need("service", findings)?;
    Some((name(&item, findings)?.into(), item.place))
}
