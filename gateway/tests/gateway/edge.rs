//! What tools ask: reflection and health.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};
use waybill_messaging::health::Status;
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::rig::{PATIENCE, Rig, listen};

on_both_databases!(
    both_versions_of_reflection_name_the_service,
    health_is_told_by_part_and_withdrawn_before_the_end,
);

const SERVICE: &str = "dispatch.v1.DispatchGateway";

async fn channel(rig: &Rig) -> Channel {
    Channel::from_shared(format!("http://{}", rig.address)).unwrap().connect().await.unwrap()
}

async fn both_versions_of_reflection_name_the_service(database: TestDatabase) {
    let rig = Rig::new(database).await;
    {
        use v1::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel(&rig).await);
        let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        assert!(list.service.iter().any(|service| service.name == SERVICE), "{list:?}");
    }
    {
        use v1alpha::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(SERVICE.to_owned())),
        };
        let mut client = ServerReflectionClient::new(channel(&rig).await);
        let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer else { panic!("{answer:?}") };
        assert!(!files.file_descriptor_proto.is_empty());
    }
    rig.end().await;
}

async fn health_is_told_by_part_and_withdrawn_before_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut client = HealthClient::new(channel(&rig).await);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut streams = Vec::new();
    for service in ["", SERVICE] {
        let mut stream = client.watch(ask(service)).await.unwrap().into_inner();
        // Not serving until the database has answered.
        while stream.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
        streams.push(stream);
    }
    assert_eq!(client.check(ask("broker")).await.unwrap_err().code(), Code::NotFound);
    rig.health.set("broker", Status::Down("away".to_owned()));
    let known = async || HealthClient::new(channel(&rig).await).check(ask("broker")).await.is_ok();
    until("the broker's part", known).await;
    let mut broker = client.watch(ask("broker")).await.unwrap().into_inner();
    assert_eq!(broker.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    rig.health.set("broker", Status::Up);
    assert_eq!(broker.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    rig.stop.cancel();
    streams.push(broker);
    for mut stream in streams {
        assert_eq!(stream.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert!(stream.message().await.unwrap().is_none(), "a watcher of health does not hold up the end");
    }
    drop(client);
    rig.end().await;
}

#[tokio::test]
async fn the_process_is_ready_when_it_is_told_so() {
    let database = TestDatabase::sqlite().await;
    let rig = Rig::new(database).await;
    let (ready, told) = tokio::sync::watch::channel(false);
    let (listener, address) = listen().await;
    let stop = CancellationToken::new();
    let gateway = rig.another_gateway().await.ready_when(told);
    let served = tokio::spawn(gateway.serve(listener, stop.clone(), Duration::from_secs(10)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let overall = HealthCheckRequest { service: String::new() };
    let mut stream = client.watch(overall).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let service = HealthCheckRequest { service: SERVICE.to_owned() };
    let mut gateway = client.watch(service).await.unwrap().into_inner();
    while gateway.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    ready.send(true).unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stop.cancel();
    drop((stream, gateway, client));
    timeout(PATIENCE, served).await.unwrap().unwrap();
    rig.end().await;
}
