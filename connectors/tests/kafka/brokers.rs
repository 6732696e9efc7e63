//! Apache Kafka, started by `broker` beside this file, for as long as it is held.
//!
//! Where it cannot be started, tests that need it are skipped and say so, unless `TRUEUP_KAFKA` is
//! `needed`: then they fail.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The script that runs a broker.
fn script() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [here.join("tests/kafka/broker"), here.join("connectors/tests/kafka/broker")]
        .into_iter()
        .find(|path| path.exists())
        .expect("the script is in the repository")
}

fn place() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka")
}

/// Where Kafka's jars are; or why there are none.
fn libs() -> &'static Result<PathBuf, String> {
    static LIBS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LIBS.get_or_init(|| {
        let libs = place().join("libs");
        for tool in ["java", "mvn"] {
            let is_there = Command::new(tool).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            is_there.map_err(|error| format!("`{tool}` cannot be run: {error}"))?;
        }
        let fetched = Command::new(script()).arg("fetch").arg(&libs).stdout(Stdio::null()).output();
        let fetched = fetched.map_err(|error| format!("the script cannot be run: {error}"))?;
        if !fetched.status.success() {
            return Err(format!("Maven could not fetch it: {}", String::from_utf8_lossy(&fetched.stderr)));
        }
        Ok(libs)
    })
}

/// Whether Kafka can be had; says plainly on stderr, past the harness, that a test is skipped.
pub fn is_there(test: &str) -> bool {
    match libs() {
        Ok(_) => true,
        Err(why) if env::var("TRUEUP_KAFKA").as_deref() == Ok("needed") => {
            panic!("Apache Kafka is needed and cannot be started: {why}")
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: it needs Apache Kafka, and {why}");
            false
        }
    }
}

/// Brokers of one cluster.
pub struct Brokers {
    folder: PathBuf,
    /// Of each: for clients, for controllers, for clients over TLS, and for those with a password.
    ports: Vec<[u16; 4]>,
    running: Mutex<Vec<Option<Broker>>>,
}

struct Broker {
    script: Child,
    pid: String,
    /// The broker ends when this does, also if we are killed.
    _held: Option<ChildStdin>,
}

impl Brokers {
    /// Starts so many; returns when all take connections.
    pub fn start(name: &str, count: usize) -> Brokers {
        let folder = place().join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        // Bound all at once, so that they differ.
        let free: Vec<TcpListener> = (0..4 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let ports = free.chunks(4).map(|free| [0, 1, 2, 3].map(|place| port(&free[place]))).collect();
        drop(free);
        let running = Mutex::new((0..count).map(|_| None).collect());
        let brokers = Brokers { folder, ports, running };
        (0..count).for_each(|number| brokers.begin(number));
        (0..count).for_each(|number| brokers.wait(number));
        brokers
    }

    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.ports.iter().map(|[port, ..]| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    /// Where a broker that is alone speaks TLS, and the certificate that it shows.
    pub fn secure(&self) -> (String, PathBuf) {
        (format!("127.0.0.1:{}", self.ports[0][2]), self.folder.join("1/ca.pem"))
    }

    /// Where a broker that is alone asks for a password, by SCRAM-SHA-512 and without TLS.
    pub fn with_password(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0][3])
    }

    /// Starts a broker that was killed; returns when it takes connections.
    pub fn restart(&self, number: usize) {
        self.begin(number);
        self.wait(number);
    }

    /// Kills a broker as a crash would.
    pub fn kill(&self, number: usize) {
        let Some(mut broker) = self.running.lock().unwrap()[number].take() else { return };
        let killed = Command::new("kill").args(["-9", &broker.pid]).status().expect("`kill` runs");
        assert!(killed.success(), "broker {number} was not there to be killed");
        broker.script.wait().expect("its script ends with it");
    }

    fn begin(&self, number: usize) {
        let libs = libs().as_ref().expect("it was asked whether it is there");
        let voters = (1..).zip(&self.ports).map(|(id, [_, controller, ..])| format!("{id}@127.0.0.1:{controller}"));
        let [port, controller, secure, password] = self.ports[number];
        let secure = if self.ports.len() == 1 { vec![secure.to_string(), password.to_string()] } else { Vec::new() };
        let mut script = Command::new(script())
            .arg("run")
            .arg(libs)
            .arg(self.folder.join((number + 1).to_string()))
            .args([(number + 1).to_string(), port.to_string(), controller.to_string()])
            .arg(voters.collect::<Vec<_>>().join(","))
            .args(secure)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the script runs");
        let mut said = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut said).expect("it says its process");
        let pid = said.trim().strip_prefix("pid ").unwrap_or_else(|| panic!("no broker: {}", self.log(number)));
        let broker = Broker { pid: pid.to_owned(), _held: script.stdin.take(), script };
        self.running.lock().unwrap()[number] = Some(broker);
    }

    fn wait(&self, number: usize) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.ports[number][0])).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(90), "broker {number} does not come: {}", self.log(number));
            sleep(Duration::from_millis(100));
        }
    }

    fn log(&self, number: usize) -> String {
        let folder = self.folder.join((number + 1).to_string());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("format.log") + &read("broker.log")
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        (0..self.ports.len()).for_each(|number| self.kill(number));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// One broker for all tests that harm only their own topics; it ends with the process.
pub fn shared() -> &'static Brokers {
    static SHARED: OnceLock<Brokers> = OnceLock::new();
    SHARED.get_or_init(|| Brokers::start("shared", 1))
}
