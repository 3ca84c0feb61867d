//! Much data, many clients, and stalled readers: nothing deadlocks, grows, leaks or spins.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::bench::{Dir, LIMIT, Remote, Running, Server, client, eventually, noise, pipe, read_all, run};

#[test]
fn both_sides_send_64_mib_before_the_peer_reads() {
    let bytes = noise(64 << 20);
    for listening in [false, true] {
        let server = Server::new();
        let args: &[&str] = if listening { &["-l"] } else { &["127.0.0.1", &server.port()] };
        let remote = Remote::new(args).stdin(bytes.clone()).start();
        let mut peer = if listening { client(remote.port()) } else { server.accept() };
        peer.write_all(&bytes).expect("all is taken though nothing of ours is");
        assert!(read_all(&mut peer) == bytes, "listening: {listening}");
        drop(peer);
        let ended = remote.wait();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout == bytes, "listening: {listening}");
    }
}

#[test]
fn two_of_us_send_64_mib_before_either_reads() {
    let Pair { remotes, stdin, stdout } = Pair::new(&["-l"], &["127.0.0.1"]);
    let pouring = stdin.map(|stdin| pour(stdin, MUCH));
    for way in &pouring {
        assert!(stalled(&way.count) < MUCH, "a buffer takes it all");
    }
    let drained = stdout.map(|stdout| thread::spawn(move || drain(stdout, u64::MAX)));
    assert_eq!(drained.map(|drained| drained.join().unwrap()), [MUCH; 2]);
    pouring.into_iter().for_each(Pouring::finish);
    expect_success(remotes);
}

#[test]
fn a_reader_that_stalls_does_not_stop_the_other_direction() {
    let Pair { mut remotes, stdin: [stdin, other_stdin], stdout: [stdout, other_stdout] } =
        Pair::new(&["-l"], &["127.0.0.1"]);
    let stuck = pour(stdin, MUCH);
    assert!(stalled(&stuck.count) < MUCH, "a buffer takes it all");
    let flowing = pour(other_stdin, MUCH);
    assert_eq!(drain(stdout, u64::MAX), MUCH);
    flowing.finish();
    assert!(remotes.iter_mut().all(Running::is_running));
    assert_eq!(drain(other_stdout, u64::MAX), MUCH);
    stuck.finish();
    expect_success(remotes);
}

#[test]
fn a_sender_of_1_gib_stays_small_though_the_peer_stalls() {
    let server = Server::new();
    let (from, into) = pipe();
    let remote = Remote::new(["127.0.0.1", &server.port()]).stdin_from(from).start();
    let peer = server.accept();
    let pouring = pour(into, GIB);
    assert!(stalled(&pouring.count) < MUCH, "a buffer takes it all");
    assert_small(&remote);
    assert_eq!(drain(&peer, u64::MAX), GIB);
    pouring.finish();
    assert_small(&remote);
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn a_receiver_of_1_gib_stays_small_though_its_reader_stalls() {
    let (mut from, into) = patient_pipe();
    let remote = Remote::new(["-l"]).stdout_to(into).start();
    let peer = client(remote.port());
    let pouring = pour(peer.try_clone().unwrap(), GIB);
    assert!(stalled(&pouring.count) < MUCH, "a buffer takes it all");
    assert_small(&remote);
    assert_eq!(drain(&mut from, GIB), GIB);
    pouring.finish();
    assert_small(&remote);
    drop(peer);
    assert_eq!(drain(from, u64::MAX), 0);
    expect_success([remote]);
}

/// `-s` in one direction, a pipe in the other, which is not read until the file has arrived.
#[test]
fn a_file_of_1_gib_arrives_while_the_other_direction_is_full() {
    let (dir, sent, received) = files(GIB);
    let Pair { mut remotes, stdin: [_stdin, stdin], stdout: [stdout, _stdout] } =
        Pair::new(&["-l", "-s", &sent], &["-s", "-", "-r", &received, "127.0.0.1"]);
    let pouring = pour(stdin, GIB);
    let part = dir.join("received.part");
    for eighth in 1..=8 {
        let so_far = || part.metadata().map_or(0, |part| part.len());
        eventually("the file to grow", || (so_far() >= GIB / 8 * eighth).then_some(()));
    }
    assert!(stalled(&pouring.count) < MUCH, "a buffer takes it all");
    assert!(remotes.iter_mut().all(Running::is_running));
    remotes.iter().for_each(assert_small);
    assert_eq!(drain(stdout, u64::MAX), GIB);
    pouring.finish();
    expect_success(remotes);
    run("cmp", &[&sent, &received]).expect("they are equal");
    assert_eq!(dir.names(), ["received", "sent"]);
}

#[test]
fn a_file_arrives_while_as_much_goes_the_other_way() {
    let (dir, sent, received) = files(4 * MUCH);
    let Pair { remotes, stdin: [stdin, _stdin], stdout: [_stdout, stdout] } =
        Pair::new(&["-l", "-s", "-", "-r", &received], &["-s", &sent, "127.0.0.1"]);
    let pouring = pour(stdin, 4 * MUCH);
    assert_eq!(drain(stdout, u64::MAX), 4 * MUCH);
    pouring.finish();
    expect_success(remotes);
    run("cmp", &[&sent, &received]).expect("they are equal");
    assert_eq!(dir.names(), ["received", "sent"]);
}

#[test]
fn clients_one_after_the_other_leave_nothing_behind() {
    for stdin_is_open in [false, true] {
        let remote = Remote::new(["-lk"]);
        let remote = if stdin_is_open { remote.stdin_open() } else { remote }.start();
        let (port, alone) = (remote.port(), descriptors_alone(&remote));
        let mut all = b".".to_vec();
        for i in 0..200 {
            let line = format!("{i}\n");
            client(port).write_all(line.as_bytes()).unwrap();
            all.extend_from_slice(line.as_bytes());
            assert_eq!(remote.printed(all.len()), all);
        }
        eventually("the last one to be let go", || (remote.descriptors() == alone).then_some(()));
        assert_idle(&remote);
        assert_eq!(remote.said("").lines().count(), 1);
    }
}

#[test]
fn clients_all_at_once_leave_nothing_behind() {
    let mut remote = Remote::new(["-lk"]).stdin_open().start();
    let (port, alone) = (remote.port(), descriptors_alone(&remote));
    let mut clients: Vec<TcpStream> = (0..100).map(|_| client(port)).collect();
    number(&mut clients);
    assert_numbers(&remote, 100);
    eventually("only those to be there", || (remote.descriptors() == alone + 100).then_some(()));
    assert_idle(&remote);
    remote.type_in(b"to all of you");
    for client in &mut clients {
        let mut heard = [0; 13];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"to all of you");
    }
    drop(clients);
    eventually("all to be let go", || (remote.descriptors() == alone).then_some(()));
    assert_idle(&remote);
    assert_eq!(remote.said("").lines().count(), 1);
}

#[test]
fn without_descriptors_it_waits_and_then_serves_waiting_clients() {
    let remote = Remote::new(["-lk"]).with_descriptors(32).start();
    let (port, alone) = (remote.port(), descriptors_alone(&remote));
    let mut clients: Vec<TcpStream> = (0..100).map(|_| client(port)).collect();
    eventually("the last descriptor to be taken", || (remote.descriptors() >= 32).then_some(()));
    assert_idle(&remote);
    number(&mut clients);
    drop(clients);
    assert_numbers(&remote, 100);
    eventually("all to be let go", || (remote.descriptors() == alone).then_some(()));
    assert_idle(&remote);
    assert_eq!(remote.said("").lines().count(), 1);
}

#[test]
fn at_the_limit_it_waits_and_then_serves_waiting_clients() {
    let remote = Remote::new(["-lk", "-m", "1"]).start();
    let port = remote.port();
    let mut first = client(port);
    first.write_all(b"first").unwrap();
    assert_eq!(remote.printed(5), b"first");
    client(port).write_all(b"second").unwrap();
    assert_idle(&remote);
    assert_eq!(remote.printed(5), b"first");
    drop(first);
    assert_eq!(remote.printed(11), b"firstsecond");
}

/// Asserts that the program sleeps while it waits.
#[test]
fn nothing_spins_while_it_waits() {
    let server = Server::new();
    let port = server.port();
    let to = ["127.0.0.1", port.as_str()];

    let silent = Remote::new(to).stdin_open().start();
    let kept = server.accept();

    let asking = Remote::new(to).stdin("question").start();
    let mut asked = server.accept();
    assert_eq!(read_all(&mut asked), b"question");

    let half_open = Remote::new([&to[..], &["--half-open"]].concat()).stdin_open().start();
    let mut left = server.accept();
    left.write_all(b"bye").unwrap();
    left.shutdown(Shutdown::Write).unwrap();
    half_open.printed(3);

    let (from, into) = pipe();
    let stuck_peer = Remote::new(to).stdin_from(from).start();
    let deaf = server.accept();
    let pouring = pour(into, MUCH);
    stalled(&pouring.count);

    let (from, into) = pipe();
    let stuck_stdout = Remote::new(to).stdin_open().stdout_to(into).start();
    let flood = server.accept();
    let flooded = pour(flood, MUCH);
    stalled(&flooded.count);

    let listening = Remote::new(["-l"]).start();
    listening.port();

    let serving = Remote::new(["-lk"]).stdin("all there is").start();
    let mut late = client(serving.port());
    assert_eq!(read_all(&mut late), b"all there is");

    // The reader of stdout has left already.
    let unread = Remote::new(["-lk"]).stdin_open().stdout_to(pipe().1).start();
    let mut unanswered = client(unread.port());
    unanswered.write_all(b"a datagram, alone").unwrap();

    let remotes = [&silent, &asking, &half_open, &stuck_peer, &stuck_stdout, &listening, &serving, &unread];
    let before = remotes.map(Running::ticks);
    a_second_passes();
    let after = remotes.map(Running::ticks);
    let spent: Vec<u64> = before.into_iter().zip(after).map(|(before, after)| after - before).collect();
    assert!(spent.iter().all(|ticks| *ticks < A_FEW_TICKS), "{spent:?}");
    drop((kept, deaf, from));
}

#[test]
fn a_client_that_does_not_read_stdin_blocks_no_other() {
    let (from, into) = pipe();
    let remote = Remote::new(["-lkv"]).stdin_from(from).start();
    let port = remote.port();
    let (mut slow, mut quick) = (client(port), client(port));
    eventually("both to be there", || {
        (remote.said("Connection received on").matches("Connection received on").count() == 2).then_some(())
    });
    let pouring = pour(into, MUCH);
    assert_eq!(drain(&quick, u64::MAX), MUCH);
    pouring.finish();
    remote.said("fell too far behind and was disconnected");
    quick.write_all(b"I have it all").unwrap();
    assert_eq!(remote.printed(13), b"I have it all");
    assert_small(&remote);
    // The bytes sent in time are still there, if not the end.
    let mut heard = vec![0; 1000];
    slow.read_exact(&mut heard).unwrap();
    assert!(pattern().starts_with(&heard));
}

#[test]
fn a_client_that_does_not_read_a_file_blocks_no_other_and_gets_it_later() {
    let dir = Dir::new();
    let bytes = noise(MUCH as usize);
    let file = dir.file("f", &bytes);
    let remote = Remote::new(["-lk", "-s", file.to_str().unwrap()]).start();
    let port = remote.port();
    let (mut slow, mut quick) = (client(port), client(port));
    assert!(read_all(&mut quick) == bytes);
    assert!(read_all(&mut slow) == bytes);
    assert_small(&remote);
    assert_eq!(remote.said("").lines().count(), 1);
}

#[test]
fn stdin_is_sent_to_all_while_stdout_is_not_read() {
    let [(from, into), (_unread, out)] = [pipe(), pipe()];
    let remote = Remote::new(["-lk"]).stdin_from(from).stdout_to(out).start();
    let port = remote.port();
    let talker = client(port);
    let talked = pour(talker.try_clone().unwrap(), MUCH);
    assert!(stalled(&talked.count) < MUCH, "a buffer takes it all");
    let told = pour(into, MUCH);
    assert_eq!(drain(&talker, MUCH), MUCH);
    told.finish();
    assert_small(&remote);
}

#[test]
fn a_flooding_client_starves_no_other() {
    let (mut from, into) = patient_pipe();
    let remote = Remote::new(["-lk"]).stdout_to(into).start();
    let port = remote.port();
    let floods = [client(port), client(port)];
    for flood in &floods {
        let mut flood = flood.try_clone().unwrap();
        // It ends when the connection does.
        thread::spawn(move || io::copy(&mut io::repeat(0), &mut flood));
    }
    from.read_exact(&mut vec![0; 1 << 20]).unwrap();
    let mut buf = vec![0; 1 << 16];
    for i in 0..8 {
        let word = format!("word {i} between");
        client(port).write_all(word.as_bytes()).unwrap();
        let (mut heard, mut passed) = (Vec::new(), 0);
        while heard.len() < word.len() {
            let n = from.read(&mut buf).unwrap();
            heard.extend(buf[..n].iter().copied().filter(|byte| *byte != 0));
            passed += n as u64;
            assert!(passed < MUCH, "word {i} was not received");
        }
        assert_eq!(String::from_utf8(heard).unwrap(), word);
    }
    assert_small(&remote);
}

/// Two of us, joined by a connection, with pipes.
struct Pair {
    remotes: [Running; 2],
    stdin: [File; 2],
    stdout: [Patient; 2],
}

impl Pair {
    /// The second one connects to the port of the first.
    fn new(listening: &[&str], connecting: &[&str]) -> Self {
        let [(from, into), (other_from, other_into)] = [pipe(), pipe()];
        let [(out, to_out), (other_out, to_other_out)] = [patient_pipe(), patient_pipe()];
        let one = Remote::new(listening).stdin_from(from).stdout_to(to_out).start();
        let port = one.port().to_string();
        let other = Remote::new([connecting, &[&port]].concat());
        let other = other.stdin_from(other_from).stdout_to(to_other_out).start();
        Self { remotes: [one, other], stdin: [into, other_into], stdout: [out, other_out] }
    }
}

/// A pipe whose reads have a limit, as those of the bench's sockets have.
struct Patient(File);

impl Read for Patient {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut poll = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec { tv_sec: LIMIT.as_secs().try_into().expect("it is short"), tv_nsec: 0 };
        match rustix::event::poll(&mut poll, Some(&limit))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.0.read(buf),
        }
    }
}

/// A pipe, for reading in a test.
fn patient_pipe() -> (Patient, File) {
    let (from, into) = pipe();
    (Patient(from), into)
}

/// Bytes that a thread writes, and how many so far.
struct Pouring {
    count: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

impl Pouring {
    #[track_caller]
    fn finish(self) {
        eventually("all to be taken", || self.thread.is_finished().then_some(()));
        self.thread.join().unwrap().expect("all is taken");
    }
}

/// Begins to write the pattern over and over, `length` bytes in all.
fn pour(mut into: impl Write + Send + 'static, length: u64) -> Pouring {
    let count = Arc::new(AtomicU64::new(0));
    let ours = Arc::clone(&count);
    let thread = thread::spawn(move || {
        let (pattern, mut done) = (pattern(), 0);
        while done < length {
            let rest = &pattern[(done % PERIOD) as usize..];
            let most = rest.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
            done += into.write(&rest[..most])? as u64;
            count.store(done, Ordering::Relaxed);
        }
        Ok(())
    });
    Pouring { count: ours, thread }
}

/// Reads the pattern to its end, or `most` bytes of it. Returns how many there were.
#[track_caller]
fn drain(mut from: impl Read, most: u64) -> u64 {
    let (pattern, mut done, mut buf) = (pattern(), 0, vec![0; 1 << 18]);
    while done < most {
        let wanted = (PERIOD - done % PERIOD).min(most - done).min(buf.len() as u64);
        let n = from.read(&mut buf[..wanted as usize]).expect("it can be read");
        if n == 0 {
            break;
        }
        assert!(pattern[(done % PERIOD) as usize..].starts_with(&buf[..n]), "it differs after {done} bytes");
        done += n as u64;
    }
    done
}

fn pattern() -> Vec<u8> {
    noise(PERIOD as usize)
}

/// Waits until a count stands still because every buffer is full. Returns the count.
#[track_caller]
fn stalled(count: &AtomicU64) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    eventually("everything to be full", || {
        let now = count.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (last > 0 && since.elapsed() > STANDSTILL).then_some(last)
    })
}

#[track_caller]
fn assert_small(remote: &Running) {
    let peak = remote.peak_memory();
    assert!(peak < 16 << 10, "{peak} KiB");
}

/// Asserts that it sleeps: it uses next to no CPU time in a second.
#[track_caller]
fn assert_idle(remote: &Running) {
    let before = remote.ticks();
    a_second_passes();
    let spent = remote.ticks() - before;
    assert!(spent < A_FEW_TICKS, "{spent} ticks in a second");
}

/// Waits for a program that waits for no input.
fn a_second_passes() {
    let ended = Remote::new(["-l", "-w", "1"]).run();
    assert_eq!(ended.code, 1, "{ended:?}");
}

/// Asserts that all succeed, and print no more than a random port.
#[track_caller]
fn expect_success<const N: usize>(remotes: [Running; N]) {
    for remote in remotes {
        let ended = remote.wait();
        let announced: String =
            ended.stderr.lines().take(1).filter(|line| line.starts_with("Listening on ")).collect();
        assert_eq!((ended.code, ended.stderr.trim_end()), (0, announced.as_str()));
    }
}

/// Returns the descriptors of a `-k` without clients. It has them all after its first client.
fn descriptors_alone(remote: &Running) -> usize {
    let mut first = client(remote.port());
    first.write_all(b".").unwrap();
    assert_eq!(remote.printed(1), b".");
    remote.descriptors() - 1
}

/// Sends a line from each client.
fn number(clients: &mut [TcpStream]) {
    for (i, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("{i:03}\n").as_bytes()).unwrap();
    }
}

/// Asserts that the line of every client has arrived once and in one piece.
#[track_caller]
fn assert_numbers(remote: &Running, clients: usize) {
    let said = String::from_utf8(remote.printed(1 + clients * 4)).unwrap();
    let mut lines: Vec<&str> = said[1..].lines().collect();
    lines.sort_unstable();
    assert!(lines.iter().copied().eq((0..clients).map(|i| format!("{i:03}"))), "{lines:?}");
}

/// A folder, and in it a file that is sparse but not empty, and a name for another; a little longer
/// than `length`, so that no buffer divides it.
fn files(length: u64) -> (Dir, String, String) {
    let dir = Dir::new();
    let path = |name| dir.join(name).to_str().expect("it is text").to_owned();
    let (sent, received) = (path("sent"), path("received"));
    let file = File::create(&sent).unwrap();
    for at in [0, length / 2, length - 99_995] {
        file.write_all_at(&noise(100_000), at).unwrap();
    }
    (dir, sent, received)
}

const GIB: u64 = 1 << 30;

/// More than the kernel keeps in all the buffers of a connection.
const MUCH: u64 = 64 << 20;

/// The length of the pattern: no buffer is a multiple of it.
const PERIOD: u64 = 1_000_003;

/// Time without progress after which all buffers count as full.
const STANDSTILL: Duration = Duration::from_millis(300);

/// A tenth of a second, at 100 ticks a second.
const A_FEW_TICKS: u64 = 10;
