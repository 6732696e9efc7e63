//! Hostile and careless statements: each is refused or stopped, and the server goes on.

use std::time::Duration;

use tonic::Code;
use trueup_sinks::limits::Limits;

use crate::fake::{Fake, usage};
use crate::support::{select, serve_within};

fn tight() -> Limits {
    Limits { rows_max: 1000, memory_bytes_max: 4 << 20, busy_max: Duration::from_millis(1500), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_are_refused_and_the_server_lives() {
    let fake = Fake::new();
    fake.publish((0..1000).map(|hour| usage("acme", hour, 1, 1)));
    let (_server, mut client) = serve_within(&fake, tight()).await;
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    let chain = |length: usize| format!("SELECT 1 FROM ledger WHERE {}", vec!["events = 1"; length].join(" OR "));
    let (long_or, longer_or, longest_or) = (chain(150), chain(3000), format!("SELECT {}", vec!["1"; 32_000].join("+")));
    let nots = format!("SELECT {}true", "NOT ".repeat(15_000));
    let unions = vec!["SELECT 1"; 5_000].join(" UNION ALL ");
    let joins = (0..500).map(|n| format!("ledger l{n}")).collect::<Vec<_>>().join(", ");
    let joins = format!("SELECT 1 FROM {joins}");
    let too_long = format!("SELECT '{}'", "x".repeat(70_000));
    let cross = "SELECT count(*) FROM usage_hourly a, usage_hourly b, usage_hourly c, usage_hourly d";
    let wide = "SELECT a.* FROM usage_hourly a, usage_hourly b";
    let hungry = "SELECT a.subject, b.window_start, c.window_start FROM usage_hourly a, usage_hourly b, usage_hourly c ORDER BY 3, 2";
    let nested = |before: &str, inside: &str, after: &str, times: usize| {
        format!("SELECT {}{inside}{}", before.repeat(times), after.repeat(times))
    };
    let struct_of = |inside: &str| format!("{}{inside}{}", "struct(".repeat(10), ")".repeat(10));
    let part = |n: usize| format!("a{n} AS (SELECT {} AS x FROM a{})", struct_of("x"), n - 1);
    let structs: Vec<String> = (1..20).map(part).collect();
    let structs = format!("WITH a0 AS (SELECT 1 AS x), {} SELECT 1 FROM a19 WHERE x IS NULL", structs.join(", "));
    let twice = |n: usize| format!("a{n} AS (SELECT p.x FROM a{0} p CROSS JOIN a{0} q)", n - 1);
    let doubled: Vec<String> = (1..25).map(twice).collect();
    let doubled = format!("WITH a0 AS (SELECT 1 AS x), {} SELECT count(*) FROM a24", doubled.join(", "));
    for text in [
        nested("CAST(", "1", " AS INT)", 60),
        nested("CAST(", "1 1", " AS INT)", 25),
        nested("position(", "1 1", " in 'a')", 25),
        nested("CASE WHEN true THEN ", "1 1", " END", 30),
        nested("EXISTS (SELECT 1 WHERE ", "true", ")", 20),
        format!("SELECT CAST(NULL AS INT{})", "[]".repeat(300)),
        format!("SELECT TRY_CAST(NULL AS {}INT{})", "ARRAY<".repeat(300), ">".repeat(300)),
        format!("SELECT arrow_cast(NULL, '{}Int32{}')", "List(".repeat(300), ")".repeat(300)),
        format!("EXPLAIN SELECT CAST(NULL AS INT{})", "[]".repeat(300)),
        nested("struct(", "1", ")", 35),
        structs,
        doubled,
    ] {
        let begun = std::time::Instant::now();
        let refused = select(&mut client, &text).await.expect_err(&text);
        println!("{:?} {}", begun.elapsed(), &text[..text.len().min(90)]);
        assert_eq!(refused.code(), Code::ResourceExhausted, "{text}: {}", refused.message());
    }
    for (text, code) in [
        (deep.as_str(), Code::ResourceExhausted),
        (&deep.replace("((((", "(").replace("))))", ")"), Code::ResourceExhausted),
        (&nested("CAST(", "1 1", " AS INT)", 11), Code::InvalidArgument),
        (&nested("position(", "1 1", " in 'a')", 11), Code::InvalidArgument),
        (&longer_or, Code::ResourceExhausted),
        (&longest_or, Code::ResourceExhausted),
        (&longest_or.replace('+', "-"), Code::ResourceExhausted),
        (&nots, Code::ResourceExhausted),
        (&unions, Code::ResourceExhausted),
        (&joins, Code::ResourceExhausted),
        (&chain(1300), Code::ResourceExhausted),
        (&vec!["SELECT 1"; 900].join(" UNION ALL "), Code::ResourceExhausted),
        (&too_long, Code::ResourceExhausted),
        (cross, Code::ResourceExhausted),
        (wide, Code::ResourceExhausted),
        (hungry, Code::ResourceExhausted),
        ("SELECT repeat('x', 1000000000)", Code::InvalidArgument),
        ("SELECT rpad('x', 1000000000, 'y')", Code::InvalidArgument),
        ("SELECT * FROM generate_series(1, 1000000000000)", Code::InvalidArgument),
        ("SELECT * FROM range(1, 1000000000000)", Code::InvalidArgument),
        ("SELECT string_agg(subject, ',') FROM usage_hourly", Code::InvalidArgument),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r", Code::InvalidArgument),
        ("SELECT * FROM '/etc/passwd'", Code::InvalidArgument),
        ("SELECT 1; SELECT 2", Code::InvalidArgument),
        ("SELECT 1 / 0", Code::InvalidArgument),
        ("", Code::InvalidArgument),
        ("SELEC", Code::InvalidArgument),
    ] {
        let begun = std::time::Instant::now();
        let shown = &text[..text.len().min(90)];
        let refused = select(&mut client, text).await.expect_err(shown);
        println!("{:?} {shown}", begun.elapsed());
        assert_eq!(refused.code(), code, "{shown}: {}", refused.message());
        assert!(!refused.message().is_empty(), "{shown}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{shown}");
    }
    assert!(select(&mut client, &long_or).await.is_ok());
    assert_eq!(select(&mut client, &nested("CAST(", "1", " AS INT)", 12)).await.unwrap(), ["1"]);
    assert_eq!(select(&mut client, &nested("(", "1", ")", 40)).await.unwrap(), ["1"]);
    assert_eq!(select(&mut client, "SELECT 1").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_result_may_have_as_many_rows_as_allowed_and_not_one_more() {
    let fake = Fake::new();
    fake.publish((0..1001).map(|hour| usage("acme", hour, 1, 1)));
    let (_server, mut client) = serve_within(&fake, tight()).await;
    let within = select(&mut client, "SELECT events FROM usage_hourly LIMIT 1000").await.unwrap();
    assert_eq!(within.len(), 1000);
    let refused = select(&mut client, "SELECT events FROM usage_hourly").await.unwrap_err();
    assert!(refused.message().contains("1000 rows"), "{refused:?}");
}
