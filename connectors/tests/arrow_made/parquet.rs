//! Parquet files, and what of them is forged.
//!
//! ```text
//! page unpacked N      the first page claims to have so many bytes without compression; `page packed N`
//! footer length N      what the file says of itself claims so many bytes
//! footer insert P HEX  bytes within what it says of itself, P from its beginning
//! ```

use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

/// A file in this form: `parquet`, or with a compression or another speciality behind it.
pub fn file(batch: &RecordBatch, form: &str) -> Vec<u8> {
    let form = form.split(' ').next().unwrap_or(form);
    let properties = WriterProperties::builder();
    let properties = match form.strip_prefix("parquet").expect("it is Parquet") {
        "" => properties,
        "_snappy" => properties.set_compression(Compression::SNAPPY),
        "_zstd" => properties.set_compression(Compression::ZSTD(ZstdLevel::default())),
        "_lz4" => properties.set_compression(Compression::LZ4_RAW),
        "_gzip" => properties.set_compression(Compression::GZIP(GzipLevel::default())),
        "_v2" => properties.set_writer_version(WriterVersion::PARQUET_2_0).set_dictionary_enabled(true),
        "_small" => properties.set_max_row_group_row_count(Some(2)).set_data_page_row_count_limit(1),
        "_differences" => properties
            .set_column_dictionary_enabled(ColumnPath::from("id"), false)
            .set_column_encoding(ColumnPath::from("id"), Encoding::DELTA_BYTE_ARRAY),
        form => panic!("{form} is no form of Parquet"),
    };
    let properties = Some(properties.build());
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(batch.schema_ref()), properties).expect("it is writable");
    writer.write(batch).expect("the columns can be written");
    writer.into_inner().expect("memory can be written")
}

/// Forges the bytes of a file.
pub fn forge(bytes: &mut Vec<u8>, words: &[&str]) {
    match *words {
        ["page", field, value] => {
            // Behind the name of the file: the fields 1, 2 and 3, each a byte and a number.
            let field = if field == "unpacked" { 2 } else { 3 };
            let mut place = 4;
            for _ in 1..field {
                place = end_of_number(bytes, place + 1);
            }
            let end = end_of_number(bytes, place + 1);
            bytes.splice(place + 1..end, number(value.parse().expect("a number")));
        }
        ["footer", "length", length] => {
            let place = bytes.len() - 8;
            let length: i64 = length.parse().expect("a number");
            bytes[place..place + 4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        ["footer", "insert", place, hex] => {
            let tail = bytes.len() - 8;
            let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("four bytes"));
            let place = tail - length as usize + place.parse::<usize>().expect("a place");
            let more: Vec<u8> = hex
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("a byte"))
                .collect();
            let tail = tail + more.len();
            let length = length + more.len() as u32;
            bytes.splice(place..place, more);
            bytes[tail..tail + 4].copy_from_slice(&length.to_le_bytes());
        }
        _ => panic!("nobody knows how to forge `{}`", words.join(" ")),
    }
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().position(|byte| byte & 0x80 == 0).expect("a number ends") + 1
}

/// A number as Thrift writes it.
fn number(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}
