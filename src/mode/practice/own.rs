//! Servers that a client starts for itself.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail};

/// Servers of our own, on loopback; they end with us.
pub struct Servers {
    child: Child,
    pub tcp: u16,
    pub udp: u16,
    /// `None` without a folder to serve.
    pub files: Option<u16>,
}

impl Servers {
    /// Starts them at ports of the kernel's; `root` is the folder to serve.
    pub fn start(root: Option<&Path>) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = std::process::Command::new(program);
        command.args(["practice", "-l", "-p", "0", "--udp-port", "0", "--while-open"]);
        if let Some(root) = root {
            let mut option = OsString::from("--root=");
            option.push(root);
            command.arg(option).args(["--files-port", "0"]);
        }
        // They end when this pipe does, however we end.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the servers")?;
        let stderr = child.stderr.take().context("hear the servers")?;
        let mut servers = Self { child, tcp: 0, udp: 0, files: None };
        // They say their ports, or what is wrong.
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
            if servers.udp > 0 && (root.is_none() || servers.files.is_some()) {
                return Ok(servers);
            }
        }
        bail!("the servers did not start")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // They may have gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
