//! What a server is configured with: a small TOML file, read as written, then turned into what
//! it means.
//!
//! ```toml
//! catalog = "catalog"            # the folder of the catalog; all else may be left out
//! events = ["events"]            # files or folders to read at the start
//! mappings = ["columns.toml"]    # how to read CSV: one for each file, or one for all
//! watch = ["incoming"]           # folders whose files are read as they appear
//! address = "127.0.0.1:8815"     # where to serve the views
//! http = "127.0.0.1:8816"        # where to take events in; none: nowhere
//! token = "..."                  # what callers must know; better in TRUEUP_TOKEN
//! workers = 2                    # how many threads compute
//! journal = "journal"            # the folder that keeps what came in; none: in memory
//! copies = "/mnt/copies"         # where ended segments of the journal are copied; none: nowhere
//! checkpoint_seconds = 60        # how often what was computed is kept beside the journal
//! retention_epochs = 1024        # for how long back changes can be followed: so many epochs,
//! retention_events = 100000      # and no more inputs than this
//! quarantine_inputs = 5000000    # how many inputs may stand in quarantine
//! clock_trusted_until = "2027-01-01T00:00:00Z"    # until when the machine's clock is surely right
//! ```
//!
//! Kafka sources follow as tables, which are in `config/kafka.rs`.

pub mod kafka;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use trueup::engine::WORKERS_MAX;
use trueup::engine::door::Acceptance;
use trueup::engine::retention::Retention;
use trueup_model::fact::Epoch;
use trueup_model::grain::Micros;

use kafka::KafkaConfig;

/// What a server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of the catalog.
    pub catalog: PathBuf,
    /// Files and folders of events to read at the start.
    pub events: Vec<PathBuf>,
    /// How to read those that are CSV.
    pub mappings: Vec<PathBuf>,
    /// Folders whose files of events are read as they appear.
    pub watch: Vec<PathBuf>,
    /// Where to serve the views.
    pub address: SocketAddr,
    /// Where to take events in over HTTP; none: nowhere.
    pub http: Option<SocketAddr>,
    /// Kafka sources to read.
    pub kafka: Vec<KafkaConfig>,
    /// What callers must know.
    pub token: Option<String>,
    /// The folder of the journal; none: what came in is kept in memory.
    pub journal: Option<PathBuf>,
    /// Where ended segments of the journal are copied: a folder, or an address such as s3://bucket/folder.
    pub copies: Option<String>,
    /// How often what was computed is kept, so that a restart is short.
    pub checkpoint_every: Duration,
    /// How many threads compute.
    pub workers: usize,
    /// For how long back changes are told.
    pub retention: Retention,
    /// Which events are taken.
    pub acceptance: Acceptance,
    /// Until when the machine's clock is right, however far that is from where the journal ends.
    pub clock_trusted_until: Micros,
}

/// The address that is meant by a host and a port; of several the first of version 4.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| {
        format!("`{text}` is no address ({error}): write a host and a port, such as 127.0.0.1:8815 or localhost:8815")
    })?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("`{text}` stands for no address: write another host"))
}

/// An address as written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address(SocketAddr);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        address(&text).map(Address)
    }
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    catalog: PathBuf,
    #[serde(default)]
    events: Vec<PathBuf>,
    #[serde(default)]
    mappings: Vec<PathBuf>,
    #[serde(default)]
    watch: Vec<PathBuf>,
    address: Option<Address>,
    http: Option<Address>,
    #[serde(default)]
    kafka: Vec<kafka::Written>,
    token: Option<String>,
    journal: Option<PathBuf>,
    copies: Option<String>,
    workers: Option<usize>,
    checkpoint_seconds: Option<u64>,
    retention_epochs: Option<Epoch>,
    retention_events: Option<u64>,
    quarantine_inputs: Option<u64>,
    clock_trusted_until: Option<String>,
}

impl Config {
    /// Reads a configuration; an error is a sentence for whoever wrote the file.
    pub fn read(path: &Path) -> Result<Config, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the configuration `{shown}` cannot be read: {error}; name it with --config"))?;
        let mut written: Written = toml::from_str(&text)
            .map_err(|error| format!("the configuration `{shown}` cannot be used: {}", error.to_string().trim_end()))?;
        if let Some(workers) = written.workers.filter(|workers| !(1..=WORKERS_MAX).contains(workers)) {
            return Err(format!("the configuration `{shown}` asks for {workers} workers: give 1 to {WORKERS_MAX}"));
        }
        if written.copies.is_some() && written.journal.is_none() {
            return Err(format!("the configuration `{shown}` asks for copies of no journal: name a `journal` too"));
        }
        if written.checkpoint_seconds == Some(0) {
            return Err(format!("the configuration `{shown}` asks for a checkpoint every 0 seconds: give 1 or more"));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        if written.token.as_deref() == Some("") {
            return Err(format!("the token in `{shown}` is empty: give one, or leave `token` out to ask for none"));
        }
        // An empty variable is none at all, and must not switch off what the file asks for.
        let token = std::env::var("TRUEUP_TOKEN").ok().filter(|token| !token.is_empty());
        let token = token.or_else(|| written.token.clone());
        let kafka = kafka::meant(std::mem::take(&mut written.kafka), |name| std::env::var(name).ok())
            .map_err(|why| format!("the configuration `{shown}` cannot be used: {why}"))?;
        if !kafka.is_empty() && !cfg!(feature = "kafka") {
            return Err(format!(
                "`{shown}` names Kafka sources, and this trueup was built without: add `--features kafka`"
            ));
        }
        let trusted = written.clock_trusted_until.as_deref().map(str::parse::<Timestamp>).transpose();
        let trusted = trusted.map_err(|_| {
            format!("`clock_trusted_until` in `{shown}` is no instant: write it as \"2027-01-01T00:00:00Z\"")
        })?;
        let clock_trusted_until = trusted.map_or(0, Timestamp::as_microsecond);
        Ok(Config { kafka, clock_trusted_until, ..written.meant(folder, token) })
    }
}

impl Written {
    fn meant(self, folder: &Path, token: Option<String>) -> Config {
        let (kept, taken) = (Retention::default(), Acceptance::default());
        let inside = |paths: Vec<PathBuf>| paths.into_iter().map(|path| folder.join(path)).collect();
        Config {
            catalog: folder.join(self.catalog),
            events: inside(self.events),
            mappings: inside(self.mappings),
            watch: inside(self.watch),
            address: self.address.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8815)), |address| address.0),
            http: self.http.map(|address| address.0),
            kafka: Vec::new(),
            token: token.filter(|token| !token.is_empty()),
            journal: self.journal.map(|journal| folder.join(journal)),
            // A folder is seen from that of the file, an address is what it is.
            copies: self.copies.map(|place| match place.contains("://") {
                true => place,
                false => folder.join(place).display().to_string(),
            }),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds.unwrap_or(60)),
            workers: self.workers.unwrap_or(1),
            retention: Retention {
                epochs: self.retention_epochs.unwrap_or(kept.epochs),
                events: self.retention_events.unwrap_or(kept.events),
            },
            clock_trusted_until: 0,
            acceptance: Acceptance {
                quarantined_max: self.quarantine_inputs.unwrap_or(taken.quarantined_max),
                ..taken
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_folder_of_the_file() {
        let written: Written = toml::from_str("catalog = 'catalog'\nevents = ['june', '/data/july']").unwrap();
        let config = written.meant(Path::new("/etc/trueup"), Some(String::new()));
        assert_eq!(config.catalog, Path::new("/etc/trueup/catalog"));
        assert_eq!(config.events, [PathBuf::from("/etc/trueup/june"), PathBuf::from("/data/july")]);
        assert_eq!((config.token, config.workers), (None, 1));
    }

    #[test]
    fn an_address_may_have_a_name() {
        let written: Written = toml::from_str("catalog = 'c'\naddress = 'localhost:1'\nhttp = '[::1]:2'").unwrap();
        let config = written.meant(Path::new(""), None);
        assert_eq!(config.address, "127.0.0.1:1".parse().unwrap());
        assert_eq!(config.http, "[::1]:2".parse().ok());
        let wrong = toml::from_str::<Written>("catalog = 'c'\nhttp = '127.0.0.1'").unwrap_err().to_string();
        assert!(wrong.contains("`127.0.0.1` is no address"), "{wrong}");
    }

    #[test]
    fn a_key_that_nothing_reads_is_refused() {
        assert!(toml::from_str::<Written>("catalog = 'c'\nadress = '127.0.0.1:1'").is_err());
    }
}
