//! Drives real clients from Python against the server, where there is a Python that has them.
//!
//! `TRUEUP_PYTHON` names the interpreter; it needs pyarrow and adbc_driver_flightsql.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use trueup_sinks::server::{self, Options};

use crate::fake::{Fake, ledger, usage};

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_read_bind_and_follow() {
    let Ok(python) = std::env::var("TRUEUP_PYTHON") else {
        println!("skipped: TRUEUP_PYTHON names no Python with pyarrow and adbc_driver_flightsql");
        return;
    };
    let fake = Fake::new();
    fake.publish((0..24).map(|hour| usage("acme", hour, 10, 1)));
    fake.publish([ledger("counted", 24, 1)]);
    let server = server::start(fake.clone(), Options::default()).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/clients.py");
    let mut command = Command::new(python);
    command.arg(script).arg(server.address().to_string());
    let publisher = tokio::spawn(async move {
        // The script follows the ledger, which therefore must go on changing.
        for events in 25.. {
            tokio::time::sleep(Duration::from_millis(20)).await;
            fake.publish([ledger("counted", events - 1, -1), ledger("counted", events, 1)]);
        }
    });
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("the interpreter starts");
    publisher.abort();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
