//! The real program behind TLS, and in front of a broker and a database that ask for it: whoever should be believed is,
//! and nobody else.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod clients;
mod ports;
mod secrets;
mod servers;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use waybill_test_support::{
    Program, Ran,
    certificates::{Authority, Files},
};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// Nobody is there, which a gateway does not mind.
const NO_BROKER: &str = "amqp://127.0.0.1:1/%2f";

/// A folder with certificates of one authority: `ca.pem`, and `server` for the name localhost.
struct Stage {
    folder: TempDir,
    authority: Authority,
    ca: PathBuf,
    server: Files,
}

impl Stage {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let ca = authority.write(folder.path());
        let server = authority.issue("server", &["localhost"]).write(folder.path(), "server");
        Self { folder, authority, ca, server }
    }

    /// A client of that name whom the authority knows.
    fn client(&self, name: &str) -> Files {
        self.authority.issue(name, &[]).write(self.folder.path(), name)
    }

    fn database(&self) -> String {
        format!("sqlite://{}/waybill.db", self.folder.path().display())
    }

    /// A gateway with a database of its own and without any TLS yet.
    fn gateway(&self) -> Program {
        Program::new(WAYBILL, &self.database(), NO_BROKER, "tls.").roles("gateway")
    }

    /// The same with TLS on its gRPC port, and commands that ask there.
    fn gateway_with_tls(&self) -> Program {
        let gateway = self.gateway();
        let endpoint = format!("https://localhost:{}", gateway.grpc().port());
        gateway
            .set("WAYBILL_ENDPOINT", &endpoint)
            .set("WAYBILL_GRPC_TLS_CERTIFICATE", text(&self.server.certificate))
            .set("WAYBILL_GRPC_TLS_KEY", text(&self.server.key))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The authority of somebody else, in a folder of its own.
fn stranger() -> Stage {
    Stage::new()
}

/// Asks the server of `program` something, with these certificates.
async fn ask(program: &Program, ca: Option<&Path>, client: Option<&Files>) -> Ran {
    let mut arguments = vec!["list", "--timeout", "20s"];
    if let Some(ca) = ca {
        arguments.extend(["--tls-ca", text(ca)]);
    }
    if let Some(client) = client {
        arguments.extend(["--tls-certificate", text(&client.certificate), "--tls-key", text(&client.key)]);
    }
    program.run(&arguments).await
}
