//! The test bench: the program, scripted sockets, hosts, terminals. Every wait has a limit.

mod hosts;
mod terminal;

pub use self::{
    hosts::Hosts,
    terminal::{Terminal, unread_terminal},
};

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Time after which any wait fails the test.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A command line of the program, ready to start.
pub struct Remote {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Remote {
    pub fn new<I, S>(args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::through(&[], args)
    }

    /// Starts it by another program: `ip netns exec NAME`, `sh -c …`.
    pub fn through<I, S>(prefix: &[&str], args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut words: Vec<OsString> = prefix.iter().map(Into::into).collect();
        words.push(env!("CARGO_BIN_EXE_remote").into());
        words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: None }
    }

    /// Makes stdin a pipe with these bytes and an end.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(bytes.into());
        self
    }

    /// Makes stdin a pipe that stays open.
    pub fn stdin_open(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    pub fn stdin_from(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    pub fn stdout_to(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    pub fn stderr_to(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Limits the descriptors of the program.
    pub fn with_descriptors(self, most: u32) -> Self {
        let inner = self.command;
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {most}; exec \"$@\"")).arg("sh");
        command.arg(inner.get_program()).args(inner.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, ..self }
    }

    pub fn start(mut self) -> Running {
        let called = format!("{:?}", self.command.get_args().collect::<Vec<_>>());
        let mut child = self.command.spawn().expect("the program starts");
        let stdout = child.stdout.take().map(Collector::new);
        let stderr = child.stderr.take().map(Collector::new);
        let mut stdin = child.stdin.take();
        if let Some(input) = self.input {
            let mut pipe = stdin.take().expect("stdin is a pipe");
            // A program that ends early does not fail the test here.
            thread::spawn(move || drop(pipe.write_all(&input)));
        }
        Running { called, child, stdin, stdout, stderr }
    }

    /// Starts it, and waits for its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }
}

/// A running program, which is killed at the end of the test.
pub struct Running {
    called: String,
    child: Child,
    pub stdin: Option<ChildStdin>,
    stdout: Option<Collector>,
    stderr: Option<Collector>,
}

/// The exit status and the output of a program.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; for a signal 128 and its number, as in a shell.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the port that it prints (`-v`, or a random port).
    pub fn port(&self) -> u16 {
        let text = self.said("Listening on ");
        let line = text.lines().find(|line| line.starts_with("Listening on ")).expect("the line is there");
        line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("the line ends in the port")
    }

    /// Waits until stderr has `text`. Returns all of it so far.
    pub fn said(&self, text: &str) -> String {
        let stderr = self.stderr.as_ref().expect("stderr is collected");
        let all = stderr.wait(|bytes, _| String::from_utf8_lossy(bytes).contains(text));
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Waits until stdout has this many bytes.
    pub fn printed(&self, bytes: usize) -> Vec<u8> {
        self.stdout.as_ref().expect("stdout is collected").wait(|all, _| all.len() >= bytes)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it is there to be signalled");
    }

    /// Writes to its stdin, which stays open.
    pub fn type_in(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("stdin is open").write_all(bytes).expect("stdin takes it");
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Returns its peak memory in KiB (proc_pid_status(5), VmHWM).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of proc(5)");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    }

    /// Counts its descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs").count()
    }

    /// Returns its CPU time in clock ticks (proc_pid_stat(5), utime and stime).
    pub fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("it has a name").split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Counts its context switches (proc_pid_status(5)).
    pub fn switches(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let lines = status.lines().filter(|line| line.contains("ctxt_switches:"));
        lines.filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok()).sum()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let status = eventually(&format!("{} to end", self.called), || {
            self.child.try_wait().expect("it can be waited for")
        });
        let code = status.code().unwrap_or_else(|| 128 + status.signal().expect("code or signal"));
        let all =
            |collector: Option<Collector>| collector.map(|c| c.wait(|_, ended| ended)).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&all(self.stderr.take())).into_owned();
        Ended { code, stdout: all(self.stdout.take()), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Asserts that it ended with this status, and printed exactly these lines.
    #[track_caller]
    pub fn expect(self, code: i32, stderr: &str) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (code, stderr), "{self:?}");
        self
    }

    /// Asserts that it succeeded, and printed nothing.
    #[track_caller]
    pub fn expect_quiet_success(self) -> Self {
        self.expect(0, "")
    }

    /// Asserts that it failed with one line that has all of these in it.
    #[track_caller]
    pub fn expect_failure(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("remote: "), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no '{part}' in {self:?}");
        }
        self
    }
}

/// Everything read so far from a pipe.
struct Collector(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Collector {
    fn new(mut from: impl Read + Send + 'static) -> Self {
        let shared: Arc<(Mutex<Collected>, Condvar)> = Arc::default();
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buf = vec![0; 1 << 16];
            loop {
                let n = from.read(&mut buf).unwrap_or(0);
                let mut collected = shared.0.lock().unwrap();
                collected.bytes.extend_from_slice(&buf[..n]);
                collected.ended = n == 0;
                shared.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Self(ours)
    }

    #[track_caller]
    fn wait(&self, enough: impl Fn(&[u8], bool) -> bool) -> Vec<u8> {
        let (lock, changed) = &*self.0;
        let collected = lock.lock().unwrap();
        let (collected, limit) = changed
            .wait_timeout_while(collected, LIMIT, |collected| {
                !enough(&collected.bytes, collected.ended) && !collected.ended
            })
            .unwrap();
        let so_far = String::from_utf8_lossy(&collected.bytes[..collected.bytes.len().min(2000)]);
        assert!(!limit.timed_out(), "waited too long; so far: {so_far}");
        assert!(enough(&collected.bytes, collected.ended), "it ended too soon: {so_far}");
        collected.bytes.clone()
    }
}

/// Polls until there is a value: the only place of the tests that sleeps.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A scripted TCP server on loopback.
pub struct Server(pub TcpListener);

impl Server {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub fn at(address: &str) -> Self {
        Self(TcpListener::bind(address).expect("the address is free"))
    }

    pub fn port(&self) -> String {
        self.0.local_addr().expect("it is bound").port().to_string()
    }

    /// Accepts the next client.
    pub fn accept(&self) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let (stream, _) = eventually("a client", || self.0.accept().ok());
        stream.set_nonblocking(false).unwrap();
        limited(stream)
    }
}

/// Connects to the program.
pub fn client(port: u16) -> TcpStream {
    limited(TcpStream::connect(("127.0.0.1", port)).expect("it listens"))
}

/// Gives the reads and writes of a stream a timeout.
pub fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Binds a UDP socket on loopback whose reads have a timeout.
pub fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Reads up to the peer's end of file.
pub fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it can be read to its end");
    bytes
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Returns pseudo-random bytes, the same each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A folder that is removed at the end of the test.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Creates a file with this content.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).expect("there is room");
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Lists the names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Makes a pipe. Returns its ends.
pub fn pipe() -> (File, File) {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("there are descriptors");
    (read.into(), write.into())
}

/// Whether the program was built for Linux; else prints the part of the test that is skipped.
pub fn on_linux(what: &str) -> bool {
    if cfg!(portable) {
        println!("skipped: {what}, which only Linux has");
    }
    !cfg!(portable)
}

/// Whether a program is installed; prints it if not.
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs a command to its end. Returns its stdout, or after a failure its stderr.
pub fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
