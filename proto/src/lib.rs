//! The wire contract of Waybill: messages and services generated from the `.proto` files, and the
//! descriptor set that reflection serves. No logic lives here, so that any other program may depend
//! on the contract alone.

/// Package `dispatch.v1`: the gateway's services and the messages of the saga.
#[expect(missing_docs, clippy::pedantic, reason = "generated; documented in the .proto files")]
pub mod dispatch {
    pub mod v1 {
        tonic::include_proto!("dispatch.v1");
    }
}

/// Package `google.rpc`: the status of one item in a stream.
#[expect(missing_docs, reason = "generated; documented in the .proto files")]
pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

pub mod baseline;

pub use dispatch::v1;

/// Every file of the contract and what it imports, as a serialized `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
