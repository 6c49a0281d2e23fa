//! The token that the commands send. It is never a flag, which everybody on the machine could read.

use std::{env, fmt, fs, path::Path};

use tonic::metadata::{Ascii, MetadataValue};

use super::Failure;

const VARIABLE: &str = "WAYBILL_TOKEN";

/// What stands in `authorization`; it is neither printed nor indexed by HTTP/2.
#[derive(Clone)]
pub(super) struct Credentials(MetadataValue<Ascii>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    /// From the file, or the environment; `None` where there is neither.
    pub(super) fn find(file: Option<&Path>) -> Result<Option<Self>, Failure> {
        if let Some(path) = file {
            let shown = path.display();
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("--token-file {shown}: {error}")))?;
            return Self::new(&text, &format!("--token-file {shown}")).map(Some);
        }
        match env::var(VARIABLE) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::new(&text, VARIABLE).map(Some),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{VARIABLE} holds no token"))),
        }
    }

    /// `source`: what an error names instead of the token.
    fn new(text: &str, source: &str) -> Result<Self, Failure> {
        let token = text.trim();
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let value = MetadataValue::try_from(format!("Bearer {token}")).ok().filter(|_| is_token);
        let mut value = value.ok_or_else(|| Failure::usage(format!("{source} holds no token")))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(super) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_whole_and_shown_nowhere() {
        let credentials = Credentials::new(" hunter2\n", "x").unwrap();
        assert_eq!(credentials.header().to_str().unwrap(), "Bearer hunter2");
        assert!(!format!("{credentials:?} {:?}", credentials.header()).contains("hunter2"));
        for text in ["", " \n", "hunter2 hunter3", "hunter2\nhunter3", "hünter2"] {
            let error = Credentials::new(text, "the file").unwrap_err().to_string();
            assert_eq!(error, "waybill: the file holds no token");
        }
    }
}
