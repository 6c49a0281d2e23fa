//! Prints the promises of the contract as it is now:
//! `cargo run -p waybill-proto --example baseline > proto/baseline.txt`, after lines were added.

fn main() -> Result<(), prost::DecodeError> {
    for line in waybill_proto::baseline::promises(waybill_proto::DESCRIPTORS)? {
        println!("{}", line.trim_end());
    }
    Ok(())
}
