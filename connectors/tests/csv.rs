//! CSV files: real usage adds up to the published sums, and a bad row spoils only itself.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use trueup_connectors::{CsvMapping, ReadError, read_csv};
use trueup_model::layout::{EventLayout, Layouts, NumberColumn};
use trueup_model::usage::EventBatch;

fn layouts() -> Arc<Layouts> {
    let number = |property: &str| NumberColumn { property: property.into(), scale: 0 };
    let layout = EventLayout {
        event_type: "llm.call".into(),
        numbers: vec![number("input_tokens"), number("output_tokens")],
        texts: Vec::new(),
        dimensions: vec!["model".into()],
    };
    Arc::new(Layouts {
        generation: 1,
        by_type: [("llm.call".to_owned(), Arc::new(layout))].into(),
        ..Layouts::default()
    })
}

/// How many rows a file of the example has, and the sums of its two columns.
fn totals(file: &str) -> (usize, i128, i128) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/llm_vendor/events");
    let mapping = fs::read_to_string(folder.join(format!("azure_{file}.toml"))).expect("the mapping is there");
    let mapping: CsvMapping = toml::from_str(&mapping).expect("the mapping is good");
    let name = format!("azure_llm_2023_{file}.csv");
    let events = File::open(folder.join(&name)).expect("the events are there");
    let batches = read_csv(events, &mapping, &layouts(), "default", &name, 2).expect("the columns are there");
    let (mut rows, mut input, mut output) = (0, 0, 0);
    for batch in batches {
        let batch = batch.expect("the file can be read");
        assert_eq!(batch.refused, []);
        rows += batch.rows.len();
        input += batch.wide.iter().step_by(2).sum::<i128>();
        output += batch.wide.iter().skip(1).step_by(2).sum::<i128>();
    }
    (rows, input, output)
}

#[test]
fn real_usage_adds_up_to_the_published_sums() {
    assert_eq!(totals("code"), (8_819, 18_059_974, 245_896));
    assert_eq!(totals("conv"), (19_366, 22_361_870, 4_088_665));
}

const MAPPING: &str = r#"
    event_type = { constant = "llm.call" }
    id = { column = "call" }
    source = "export"
    subject = { column = "customer" }
    time = { column = "time" }
    revision = "revision"
    retract = "gone"
    [data]
    input_tokens = "in"
    output_tokens = "out"
    model = "model"
"#;

const HEADER: &str = "call,customer,time,revision,gone,in,out,model";

fn read(lines: &str) -> EventBatch {
    let mapping: CsvMapping = toml::from_str(MAPPING).expect("the mapping is good");
    let input = Cursor::new(lines.as_bytes().to_vec());
    let mut batches = read_csv(input, &mapping, &layouts(), "default", "calls.csv", 1).expect("the columns are there");
    batches.next().map(|batch| batch.expect("memory can be read")).unwrap_or_default()
}

#[test]
fn a_bad_row_is_refused_and_the_next_one_read() {
    let rows = [
        r#"c1,acme,2026-06-01T00:00:00Z,,,1,2,"m, large""#,
        r#"c2,acme,yesterday,,,1,2,m"#,
        r#"c3,acme,2026-06-01T00:00:00Z,,,1,2"#,
        r#"c4,"acme,2026-06-01T00:00:00Z,,,1,2,m"#,
        r#"c5,,2026-06-01T00:00:00Z,,,1,2,m"#,
        r#"c6,acme,2026-06-01T00:00:00Z,one,,1,2,m"#,
        r#"c7,acme,2026-06-01T00:00:00Z,,yes,1,2,m"#,
        r#"c8,acme,2026-06-01T00:00:00Z,,,1.5,2,m"#,
        r#"c9,acme,2026-06-01T00:00:00Z,,,,2,m"#,
        r#",acme,2026-06-01T00:00:00Z,,,1,2,m"#,
        "",
        r#"c12,acme,,3,true,,,"#,
        r#"c13,acme,2026-06-01T00:00:00Z,2,false,1,2,"#,
    ];
    let batch = read(&format!("{HEADER}\r\n{}\r\n", rows.join("\r\n")));
    let ids: Vec<_> = (0..batch.rows.len()).filter_map(|row| Some(batch.ids.get(row)?.1)).collect();
    assert_eq!(ids, ["c1", "c12", "c13"]);
    let revisions: Vec<_> = batch.rows.iter().map(|row| (row.revision, !row.asserts())).collect();
    assert_eq!(revisions, [(0, false), (3, true), (2, false)]);
    assert_eq!(batch.properties[0].dimensions[0].as_deref(), Some("m, large"));
    assert_eq!(batch.properties[1].dimensions[0], None);
    let refused: Vec<_> =
        batch.refused.iter().map(|refused| format!("{}: {}", refused.position, refused.detail)).collect();
    assert_eq!(
        refused,
        [
            "line 3: `time` is `yesterday`, which is no instant; write it like 2026-06-01T08:30:00Z or 2026-06-01T10:30:00.25+02:00",
            "line 4: the row has 7 cells and the header 8; put cells that contain the delimiter in quotes",
            "line 5: a quote is opened and not closed; close it on its line, and double quotes within a cell",
            "line 6: `subject` is empty; give 1 to 128 bytes",
            "line 7: `revision` is `one`; write a whole number from 0 to 4294967295",
            "line 8: `retract` is `yes`; write true or false",
            "line 9: `data.input_tokens` is `1.5`: the number has more than 0 decimal places; round it first, we never do",
            "line 10: `data.input_tokens` is missing, and a meter reads it; send it with every event of this type",
            "line 11: `id` is empty; give 1 to 128 bytes",
        ]
    );
    assert_eq!(batch.refused[0].event_id.as_deref(), Some("c2"));
}

#[test]
fn columns_that_are_not_there_are_named() {
    let mapping: CsvMapping = toml::from_str(MAPPING).expect("the mapping is good");
    let error = |input: &'static [u8]| {
        read_csv(input, &mapping, &layouts(), "default", "calls.csv", 1).err().map(|error: ReadError| error.to_string())
    };
    let message = error(b"call;customer\n");
    assert_eq!(message.as_deref(), Some("`calls.csv` has no column `in`, it has call;customer; correct the mapping"));
    let message = error(b"\"call,customer\n");
    assert_eq!(
        message.as_deref(),
        Some(
            "the first line of `calls.csv` does not name columns: a quote is opened and not closed; close it on its line, and double quotes within a cell"
        )
    );
    assert!(error(b"").is_some());
}

#[test]
fn mistakes_in_a_mapping_are_named() {
    let error = toml::from_str::<CsvMapping>("event_type = { const = 'call' }").expect_err("there is no `const`");
    assert!(error.to_string().contains("unknown variant `const`, expected `column` or `constant`"), "{error}");
}

proptest! {
    #[test]
    fn any_line_is_one_row_or_one_refusal(
        lines in prop::collection::vec(prop_oneof![
            "[a-c\",\\r ;é]{0,24}",
            Just("c1,acme,2026-06-01T00:00:00Z,,,1,2,m".to_owned()),
            Just("\"c\"\"1\",acme,2026-06-01T00:00:00Z,,,\"1\",2,\"m,\"".to_owned()),
        ], 0..20)
    ) {
        let batch = read(&format!("{HEADER}\n{}", lines.join("\n")));
        let not_blank = lines.iter().filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert_eq!(batch.rows.len() + batch.refused.len(), not_blank);
    }
}

#[test]
fn a_column_that_is_there_twice_is_not_guessed_at() {
    let mapping: CsvMapping = toml::from_str(MAPPING).expect("the mapping is good");
    let header = "call,customer,time,revision,gone,model,in,out,in\n";
    let read = read_csv(Cursor::new(header), &mapping, &layouts(), "default", "x.csv", 1);
    let Err(ReadError::NoHeader { detail, .. }) = read else { panic!("it is read") };
    assert!(detail.contains("twice"), "{detail}");
}
