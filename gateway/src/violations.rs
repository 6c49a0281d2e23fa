//! Everything that is wrong with one request, collected, so that its sender hears it all at once.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// What is wrong, field by field.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Records that `field` is not as `description` demands.
    pub(crate) fn add(&mut self, field: &str, description: impl Into<String>) {
        self.0.push(FieldViolation::new(field, description));
    }

    /// Records `description` unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, field: &str, description: impl Into<String>) {
        if !holds {
            self.add(field, description);
        }
    }

    /// An identifier of the contract: `least` to `most` visible ASCII characters.
    pub(crate) fn check_id(&mut self, field: &str, value: &str, least: usize, most: usize) {
        let holds =
            (least..=most).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
        self.check(holds, field, format!("must be {least} to {most} visible ASCII characters"));
    }

    /// `value`, if nothing is wrong, else `INVALID_ARGUMENT` with `google.rpc.BadRequest`.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Status> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_status()) }
    }

    /// One violation is enough.
    pub(crate) fn one(field: &str, description: &str) -> Status {
        let mut violations = Self::default();
        violations.add(field, description);
        violations.into_status()
    }

    /// `INVALID_ARGUMENT`.
    pub(crate) fn into_status(self) -> Status {
        let named: Vec<_> = self.0.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
        let message = format!("invalid request: {}", named.join("; "));
        Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(self.0))
    }
}
