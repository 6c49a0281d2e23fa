//! From values by key to fields by type. A key or type that the table does not have is a fault of this
//! program; it is reported like any other problem and caught by the test that loads the defaults.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{error::Problem, layers::Values, money::Money, role::Role, url::SecretUrl, value::Value};

/// A type that a field of the configuration can have.
pub(super) trait FromValue: Sized {
    /// `None` when the value is of another kind, or does not fit the type.
    fn from_value(value: &Value) -> Option<Self>;
}

/// The value of `key` in the type of the field that it goes to.
pub(super) fn get<T: FromValue>(values: &Values, key: &'static str) -> Result<T, Problem> {
    values.get(key).and_then(T::from_value).ok_or(Problem::Table { key })
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                if let $pattern = value { $result } else { None }
            }
        }
    )*};
}

from_value! {
    SecretUrl: Value::Url(url) => url.clone();
    Option<SecretUrl>: Value::Url(url) => Some(url.clone());
    String: Value::Text(text) => Some(text.clone());
    Option<PathBuf>: Value::File(path) => Some(path.clone());
    SocketAddr: Value::Address(address) => Some(*address);
    u16: Value::Count(count) => Self::try_from(*count).ok();
    u32: Value::Count(count) => Self::try_from(*count).ok();
    usize: Value::Count(count) => Self::try_from(*count).ok();
    Option<u64>: Value::OptionalCount(count) => Some(*count);
    Duration: Value::Time(time) => Some(*time);
    Option<Duration>: Value::OptionalTime(time) => Some(*time);
    bool: Value::Switch(switch) => Some(*switch);
    Vec<Role>: Value::Roles(roles) => Some(roles.clone());
    Vec<u32>: Value::Versions(versions) => Some(versions.clone());
    Vec<String>: Value::List(items) => Some(items.clone());
    Money: Value::Money(money) => Some(money.clone());
}
