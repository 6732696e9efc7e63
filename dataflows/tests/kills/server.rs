//! The real server, as a process that can be killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that runs.
pub struct Server {
    child: Child,
    /// Held open, so that the server may say something at its end.
    output: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(folder: &Path) -> Server {
        let mut command = Command::new(binary());
        let command = command.current_dir(folder).arg("serve").stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("the server starts");
        let output = BufReader::new(child.stdout.take().expect("its output is ours"));
        Server { child, output }
    }

    /// Where it takes events in, once it says so.
    pub fn address(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it says where it listens");
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once('/')).map(|(address, _)| address);
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("it says `{line}`"))
    }

    /// Kills it; says whether it had told where it listens, and nobody had heard it.
    pub fn kill(mut self) -> bool {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("what it said is kept");
        !line.is_empty()
    }

    /// Ends it as a person would.
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("a signal can be sent");
        assert!(self.child.wait().expect("it ends").success(), "it ends well");
    }
}

/// The server of this tree, or the one that `run` has put aside, which stays what it is while the tree is worked on.
fn binary() -> OsString {
    std::env::var_os("TRUEUP_SERVER").unwrap_or_else(|| env!("CARGO_BIN_EXE_trueup").into())
}
