//! Practice servers that a client starts for itself: this program again, on loopback.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The servers. They end when this is dropped, and when the process ends.
pub struct LocalServers {
    child: Child,
    pub tcp: u16,
    pub udp: u16,
    /// `None` without a folder to serve.
    pub files: Option<u16>,
}

impl LocalServers {
    /// Starts servers on random ports, and waits until they listen. `root` is the folder to serve.
    pub fn start(root: Option<&Path>) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program);
        command.args(["practice", "-l", "-p", "0", "--udp-port", "0", "--while-open"]);
        if let Some(root) = root {
            let mut option = OsString::from("--root=");
            option.push(root);
            command.arg(option).args(["--files-port", "0"]);
        }

        // --while-open ends them at the end of stdin: the kernel closes this pipe even if we are killed.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the servers")?;
        let stderr = child.stderr.take().context("hear the servers")?;
        let mut servers = Self { child, tcp: 0, udp: 0, files: None };

        for line in BufReader::new(stderr).lines() {
            let line = line.context("hear the servers")?;
            let words: Vec<&str> = line.split(' ').collect();
            match (&words[..], words.get(3).and_then(|port| port.parse().ok())) {
                (["Listening", "on", "127.0.0.1", _, "(tcp)"], Some(port)) => servers.tcp = port,
                (["Listening", "on", "127.0.0.1", _, "(udp)"], Some(port)) => servers.udp = port,
                (["Listening", "on", "127.0.0.1", _, "(files)"], Some(port)) => servers.files = Some(port),
                (["Listening", ..], _) => {}
                _ => bail!("the servers: {}", line.trim_start_matches("remote: ")),
            }
            // The port of UDP is printed after that of TCP, the port of files last.
            if servers.udp > 0 && (root.is_none() || servers.files.is_some()) {
                // The pipe of stderr is closed here: later messages of the servers fail with EPIPE, which they ignore.
                return Ok(servers);
            }
        }
        bail!("the servers did not start")
    }
}

impl Drop for LocalServers {
    fn drop(&mut self) {
        // An error means that they have ended already.
        let _ = self.child.kill();
        // wait(2): otherwise a zombie would stay until we end.
        let _ = self.child.wait();
    }
}
