//! Certificates, which come to a gateway by TLS only: here they stand where that puts them.

use http::header::AUTHORIZATION;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;

const GET: &str = "/dispatch.v1.DispatchGateway/GetDispatch";
const STUCK: &str = "/dispatch.v1.DispatchOperator/ListStuck";

fn auth() -> Auth {
    let client = Client {
        name: "shop".to_owned(),
        tokens: vec![hash_of("right")],
        certificates: vec!["cn:Shop".parse().unwrap()],
        jwt: false,
        scopes: Scopes::from_iter([Scope::Read]),
        own_only: true,
        limit: None,
    };
    Auth::new(Settings { clients: vec![client], ..Settings::default() }, None)
}

fn certified(name: &str) -> Extensions {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let mut extensions = Extensions::new();
    extensions.insert(PeerCertificate::new(certificate.der().as_ref()));
    extensions
}

async fn admit(path: &str, token: Option<&str>, extensions: &Extensions) -> Result<String, tonic::Code> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    let caller = auth().admit(path, &headers, extensions).await.map_err(|status| status.code())?;
    Ok(caller.owner().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_certificate_makes_the_client_that_it_names() {
    let shop = certified("Shop");
    assert_eq!(admit(GET, None, &shop).await, Ok("shop".to_owned()));
    assert_eq!(admit(STUCK, None, &shop).await, Err(tonic::Code::PermissionDenied));
    assert_eq!(admit(GET, None, &certified("Other")).await, Err(tonic::Code::Unauthenticated));
    assert_eq!(admit(GET, None, &Extensions::new()).await, Err(tonic::Code::Unauthenticated));
}

#[tokio::test]
async fn a_wrong_token_is_not_made_good_by_a_certificate() {
    let shop = certified("Shop");
    assert_eq!(admit(GET, Some("wrong"), &shop).await, Err(tonic::Code::Unauthenticated));
    assert_eq!(admit(GET, Some("right"), &certified("Other")).await, Ok("shop".to_owned()));
}
