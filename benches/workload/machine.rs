//! On what it is measured, and what this process has used of it, as the kernel tells.

use std::fs::read_to_string;
use std::process::Command;
use std::time::Duration;

/// The machine and the code that is measured.
pub struct Machine {
    /// Cores, processor and memory.
    pub name: String,
    /// The commit, with `-dirty` where files differ from it.
    pub commit: String,
}

impl Machine {
    /// The machine that this runs on.
    pub fn this() -> Machine {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
        let memory = kilobytes("/proc/meminfo", "MemTotal") >> 20;
        Machine { name: format!("{cores} cores, {processor}, {memory} GiB"), commit: commit() }
    }
}

fn commit() -> String {
    let describe = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let described = describe.ok().filter(|output| output.status.success());
    described.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The processor time of this process, all threads, to a hundredth of a second.
pub fn processor_time() -> Duration {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may contain anything; what follows it are numbers.
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = numbers.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Megabytes of memory of this process.
pub struct Memory {
    /// All that is resident: `VmRSS`.
    pub resident: f64,
    /// Of that, what is no file: `RssAnon`.
    pub anonymous: f64,
    /// The most that ever was resident: `VmHWM`.
    pub peak: f64,
}

impl Memory {
    /// What it is now.
    pub fn now() -> Memory {
        Memory { resident: status("VmRSS"), anonymous: status("RssAnon"), peak: status("VmHWM") }
    }
}

#[expect(clippy::float_arithmetic, reason = "measurements are no money")]
fn status(name: &str) -> f64 {
    kilobytes("/proc/self/status", name) as f64 * 1.024e-3
}

/// The kernel's `kB` are 1,024 bytes.
fn kilobytes(file: &str, name: &str) -> u64 {
    let value = field(file, name).unwrap_or_default();
    value.trim_end_matches(" kB").parse().unwrap_or(0)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}
