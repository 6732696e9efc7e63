//! Writes what fuzzing begins with, from the hostile files of the tests and from samples: a folder for each target.
//!
//! `seeds FOLDER`.

use std::fs;
use std::path::{Path, PathBuf};

use trueup_connectors::checkpoint::records::RecordWriter;
use trueup_connectors::checkpoint::{Manifest, Part, Share, outline, row_run};
use trueup_connectors::journal::simulated_disk::SimulatedDisk;
use trueup_fuzz::samples::{CATALOG, MAPPINGS, SCHEMAS, entry, rows};

#[path = "../tests/arrow_made/mod.rs"]
mod arrow_made;

use arrow_made::{Made, Message};

/// The seeds of a target.
struct Seeds {
    folder: PathBuf,
    count: usize,
}

impl Seeds {
    fn of(folder: &Path, target: &str) -> Seeds {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("a folder can be made");
        Seeds { folder, count: 0 }
    }

    fn put(&mut self, choice: u8, bytes: &[u8]) {
        self.put_all(&[&[choice], bytes].concat());
    }

    fn put_all(&mut self, bytes: &[u8]) {
        self.count += 1;
        fs::write(self.folder.join(format!("seed-{:04}", self.count)), bytes).expect("a file can be written");
    }
}

/// The inputs of the cases in a folder of the tests.
fn cases(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of cases is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    let mut inputs = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).expect("a case file can be read");
        for case in text.split("\n== ").skip(1) {
            let (_, rest) = case.split_once('\n').expect("a case has a name and an input");
            inputs.push(rest.split_once("\n----").map_or(rest, |(input, _)| input).to_owned());
        }
    }
    inputs
}

fn events(folder: &Path) {
    let (mut events, mut http) = (Seeds::of(folder, "events"), Seeds::of(folder, "http"));
    for input in cases("hostile") {
        (0..3).for_each(|mode| events.put(mode, input.as_bytes()));
        events.put(4, input.as_bytes());
        http.put(0, format!("content-type: application/json\n\n{input}").as_bytes());
        http.put(0, format!("content-type: application/x-ndjson\n\n{input}\n{input}").as_bytes());
    }
    let event =
        r#"{"id":"1","source":"/a","type":"call","subject":"acme","time":"2026-06-01T00:00:00Z","data":{"tokens":1}}"#;
    events.put(1, format!("[{event},{event}]").as_bytes());
    events.put(2, format!("{event}\n[{event}]\n\n{event}").as_bytes());
    let named = "ce-id: 1\nce-source: /caf%C3%A9\nce-type: call\nce-subject: acme\nce-time: 2026-06-01T00:00:00Z\n\
                 ce-specversion: 1.0\nce-revision: 2\nce-retract: false";
    http.put(0, format!("content-type: application/json\n{named}\n\n{{\"tokens\":12}}").as_bytes());
    http.put(0, format!("{named}\n\n").as_bytes());
    let said = r#"{"source":"calls","partition":"3","hour":"2026-06-01T08:00:00Z","events":1200}"#;
    http.put(4, format!("\n\n[{said},{said}]").as_bytes());
    http.put(
        8,
        br#"

{"inputs":["12/3"],"reason":"missing","source":"http"}"#,
    );
    for kind in ["cloudevents+json", "cloudevents-batch+json"] {
        let head = format!("content-type: application/{kind}; charset=utf-8\n");
        http.put(0, format!("{head}\n[{event}]").as_bytes());
        let zstd = zstd::encode_all(event.as_bytes(), 3).expect("memory can be written");
        http.put(0, &[format!("{head}content-encoding: zstd\n\n").as_bytes(), &zstd].concat());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, event.as_bytes()).expect("memory can be written");
        let gzip = gzip.finish().expect("memory can be written");
        http.put(0, &[format!("{head}content-encoding: gzip\n\n").as_bytes(), &gzip].concat());
    }
}

fn columns(folder: &Path) {
    let mut put = Seeds::of(folder, "arrow_put");
    let (mut arrow, mut parquet) = (Seeds::of(folder, "arrow_file"), Seeds::of(folder, "parquet_file"));
    for input in cases("hostile_arrow") {
        match Made::of(&input) {
            Made::Put(messages) => put.put(0, &messages.iter().flat_map(framed).collect::<Vec<_>>()),
            Made::Whole(bytes) => arrow.put(0, &bytes),
            Made::File { bytes, after, is_parquet } => {
                let seeds = if is_parquet { &mut parquet } else { &mut arrow };
                seeds.put((after as u8) << 2, &bytes);
            }
        }
    }
}

/// A message behind its lengths.
fn framed(message: &Message) -> Vec<u8> {
    let Message { header, body } = message;
    let (of_header, of_body) = ((header.len() as u16).to_le_bytes(), (body.len() as u32).to_le_bytes());
    [&of_header, &of_body[..3], header, body].concat()
}

fn csv(folder: &Path) {
    let mut seeds = Seeds::of(folder, "csv");
    let files = [
        "call,customer,time,revision,gone,tokens,model\r\nc1,acme,2026-06-01T00:00:00Z,,,1,\"m, large\"\r\n\r\n\
         c2,\"acme,2026-06-01T00:00:00Z,,true,1.5,m\r\nc3,acme,2026-06-01T10:00:00.25+02:00,2,false,-1e3,\"\"\"\"\r\n",
        "\u{feff}type;time;tokens;hours;cached;user\ndisk;2026-06-01 08:30:00.1234567;1;0.5;true;ed\n\
         call;2026-06-01 08:30:00;12;;;\nlogin;x;1;2;3;\"4\"",
        "\ttime\nacme\t2026-06-01T00:00:00Z\n\"\"\t1\n",
    ];
    for (number, (file, mapping)) in files.iter().zip(MAPPINGS).enumerate() {
        seeds.put((number as u8) << 2, file.as_bytes());
        seeds.put(1, format!("{mapping}\n----\n{file}").as_bytes());
    }
}

fn catalog(folder: &Path) {
    let mut seeds = Seeds::of(folder, "catalog");
    cases("bad_catalogs").iter().for_each(|input| seeds.put_all(input.as_bytes()));
    seeds.put_all(CATALOG.as_bytes());
    seeds.put_all(format!("{CATALOG}\n----\n{}", SCHEMAS[0]).as_bytes());
    // The same in several files.
    let (what, who) = CATALOG.split_once("[[customer]]").expect("it has one");
    seeds.put_all(format!("[[customer]]{who}\n----\n{}\n----\n{what}\n----\n", SCHEMAS[0]).as_bytes());
}

fn schema(folder: &Path) {
    let mut seeds = Seeds::of(folder, "schema");
    let data =
        "{\"tokens\":\"12.5\",\"model\":\"m\"}\n{\"tokens\":-1,\"model\":null,\"x\":[1,{\"a\":true}]}\n[1]\nnull";
    for schema in SCHEMAS {
        seeds.put_all(format!("{schema}\n----\n{data}").as_bytes());
    }
}

fn alike(folder: &Path) {
    let mut seeds = Seeds::of(folder, "alike");
    let lines = [
        "1\t/a\tcall\tacme\t2026-06-01T00:00:00Z\t-\t-\t12.5\tm-large",
        "2\t/a\tlogin\tacme\t2026-06-01T00:00:00.123456+02:00\t3\tfalse\t-\t-\ted",
        "3\t/b\tdisk\tglobex\t2026-06-01 00:00:00Z\t0\ttrue\t\t\t\t7\t0.5\tyes",
        "-\t\tcall\tacme\tyesterday\t-1\tno\t1e3\t\u{e9}",
        "4\t/a\tcall\tacme\t2026-06-01T00:00:00Z\t4294967295\t-\t1000000000000001\t-\t-\t1\t2\tx\t3\tan id\teu",
    ];
    for choice in 0..16 {
        lines.iter().for_each(|line| seeds.put(choice, line.as_bytes()));
        seeds.put(choice, lines.join("\n").as_bytes());
    }
    for input in cases("hostile") {
        // As they are they are one cell each, which is a text like others.
        seeds.put(0, format!("{input}\t/a\tcall\tacme\t2026-06-01T00:00:00Z\t-\t-\t{input}").as_bytes());
    }
}

fn kafka(folder: &Path) {
    let mut seeds = Seeds::of(folder, "kafka");
    for input in cases("hostile") {
        seeds.put(0, format!("\n\n{input}").as_bytes());
        seeds.put(0, format!("content-type: application/x-ndjson\n\n{input}\n{input}").as_bytes());
    }
    let named = "ce_id: 1\nce_source: /caf\u{e9}\nce_type: call\nce_subject: acme\nce_time: 2026-06-01T00:00:00Z\n\
                 ce_specversion: 1.0\nce_revision: 2\nce_retract: false";
    seeds.put(0, format!("{named}\n\n{{\"tokens\":12,\n\"model\":\"m\"}}").as_bytes());
    seeds.put(0, format!("{named}\ncontent-type: application/json\n\n").as_bytes());
    seeds.put(1, format!("{named}\nce_id\nother: x").as_bytes());
}

fn journal(folder: &Path) {
    let mut seeds = Seeds::of(folder, "journal");
    for choice in [0, 1, 2, 3, 4, 5] {
        for what in 0..9 {
            for (file, place) in [(0, 100), (1, 32), (9, 11)] {
                seeds.put(choice, &[file, what, place, 0, 3, 1, 9, 8, 7]);
            }
        }
    }
}

fn checkpoint(folder: &Path) {
    let mut seeds = Seeds::of(folder, "checkpoint");
    let part = |file: &str| Part { file: file.to_owned(), records: 3 };
    let share = Share { arrangements: vec![part("a"), part("b")], runs: vec![part("c")] };
    let (fingerprint, seal) = ("1".to_owned(), "ab".to_owned());
    let shares = vec![share];
    let manifest = Manifest { fingerprint, epoch: 9, seal, rows: 7, quarantined: 2, outline_bytes: 9, shares };
    seeds.put(0, serde_json::to_string(&manifest).expect("it can be written").as_bytes());

    let disk = SimulatedDisk::new(1);
    let entries: Vec<_> = (1..=5).map(|epoch| (*entry(epoch)).clone()).collect();
    for (number, entries) in entries.chunks(1).chain([&entries[..]]).enumerate() {
        let name = format!("outline-{number}");
        let mut file = outline::OutlineFile::open(&disk, &name, 0).expect("the disk is good");
        file.append(entries).expect("the disk is good");
        seeds.put(1, &disk.contents(&name).expect("it was written"));
    }
    for count in [0, 1, 30] {
        let record = |number: u32| (number, "x".repeat(9), -1_i128 << number, Some(3_i64), vec![(true, "text")]);
        let mut writer = RecordWriter::create(&disk, "file").expect("it is new");
        (0..count).for_each(|number| writer.put(&record(number)).expect("the disk is good"));
        writer.finish().expect("the disk is good");
        seeds.put(2, &footer_first(&disk));
    }
    for count in [0, 1, 100] {
        let mut writer = row_run::RunWriter::create(&disk, "file", count).expect("the disk is good");
        rows(count).iter().for_each(|kept| writer.put_kept(kept).expect("the disk is good"));
        writer.finish().expect("the disk is good");
        seeds.put(3, &footer_first(&disk));
    }
}

/// The pages of the file without their sums, the last one first, and takes it from the disk.
fn footer_first(disk: &SimulatedDisk) -> Vec<u8> {
    let file = disk.contents("file").expect("it was written");
    disk.lose("file");
    let pages: Vec<&[u8]> = file.chunks(4_096).map(|page| &page[..4_092]).collect();
    let (footer, others) = pages.split_last().expect("it has a last page");
    [&footer[..48], &others.concat()].concat()
}

fn main() {
    let folder = std::env::args().nth(1).expect("seeds FOLDER");
    let folder = Path::new(&folder);
    for write in [events, columns, csv, catalog, schema, alike, kafka, journal, checkpoint] {
        write(folder);
    }
}
