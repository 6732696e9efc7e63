//! Arrow messages that are put over Flight.
//!
//! An input is a byte for the layouts, and messages: the length of a header in two bytes, that of a
//! body in three, header, body. Law: of each batch, what is taken and what is set aside are as many
//! as its rows; after an error nothing is taken.

#![no_main]

use std::sync::LazyLock;

use arrow_ipc::root_as_message;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use trueup_connectors::arrow_put::ArrowPut;
use trueup_fuzz::choice;
use trueup_fuzz::intake::Counting;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime starts"));

/// The next message: what is not there of it is left out.
fn message(rest: &mut &[u8]) -> Option<(Bytes, Bytes)> {
    let (lengths, behind) = rest.split_at_checked(5)?;
    let length = |bytes: &[u8]| bytes.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (header, behind) = behind.split_at(length(&lengths[..2]).min(behind.len()));
    let (body, behind) = behind.split_at(length(&lengths[2..]).min(behind.len()));
    *rest = behind;
    Some((Bytes::copy_from_slice(header), Bytes::copy_from_slice(body)))
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut rest)) = choice(input) else { return };
    let intake = Counting::by(choice);
    let mut stream = ArrowPut::new(intake.clone(), "default");
    while let Some((header, body)) = message(&mut rest) {
        let rows = root_as_message(&header).ok().and_then(|message| Some(message.header_as_record_batch()?.length()));
        let put = RUNTIME.block_on(stream.take(header, body));
        let handed_in = intake.handed_in();
        let Ok((next, answer)) = put.map_err(|error| assert!(error.to_string().len() <= 8192)) else {
            assert_eq!(handed_in, 0);
            return;
        };
        stream = next;
        let Some(answer) = answer else {
            assert_eq!(handed_in, 0);
            continue;
        };
        let told = answer["taken"].as_u64().zip(answer["set_aside"].as_u64());
        let told = told.map(|(taken, aside)| (taken + aside) as usize).expect("both are told");
        assert_eq!((told, Some(told as i64)), (handed_in, rows));
    }
});
