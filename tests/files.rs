//! Sending and receiving files: names, parts, what is never overwritten, digests.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
};

use rustix::process::Signal;

use crate::bench::{
    Dir, Remote, Server, Terminal, client, eventually, noise, on_linux, read_all, reset, run,
};

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_file_crosses_in_either_direction() {
    let dir = Dir::new();
    let bytes = noise(5_000_000);
    let sent = dir.file("sent", &bytes);
    // The listener receives.
    let target = dir.join("one");
    let listener = Remote::new(["-l", "-r", text(&target), "-p", "0"]).start();
    let port = listener.port().to_string();
    Remote::new(["-s", text(&sent), "127.0.0.1", &port]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert!(dir.read("one") == bytes);
    // The listener sends.
    let target = dir.join("two");
    let listener = Remote::new(["-l", "-s", text(&sent)]).start();
    let port = listener.port().to_string();
    Remote::new(["-r", text(&target), "127.0.0.1", &port]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert!(dir.read("two") == bytes);
    assert_eq!(dir.names(), ["one", "sent", "two"]);
}

#[test]
fn both_directions_at_once() {
    let dir = Dir::new();
    let (one, two) = (noise(3_000_000), noise(4_000_001));
    let (sent, back) = (dir.file("one", &one), dir.file("two", &two));
    let target = dir.join("one-received");
    let listener = Remote::new(["-l", "-r", text(&target), "-s", text(&back)]).start();
    let port = listener.port().to_string();
    let target = dir.join("two-received");
    Remote::new(["-s", text(&sent), "-r", text(&target), "127.0.0.1", &port]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert!(dir.read("one-received") == one && dir.read("two-received") == two);
}

#[test]
fn an_empty_file_is_a_file() {
    let dir = Dir::new();
    let sent = dir.file("sent", b"");
    let target = dir.join("received");
    let listener = Remote::new(["-l", "-r", text(&target), "-p", "0"]).start();
    let port = listener.port().to_string();
    Remote::new(["-s", text(&sent), "127.0.0.1", &port]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert_eq!(dir.read("received"), b"");
}

#[test]
fn names_of_their_own() {
    let dir = Dir::new();
    let date = run("date", &["+%F"]).unwrap();
    let date = date.trim();
    let server = Server::new();
    let port = server.port();
    for (flag, suffix) in [(&["-r"][..], ""), (&["-r", "None"], "_1"), (&["--receive"], "_2")] {
        let args = ["127.0.0.1", &port].into_iter().chain(flag.iter().copied());
        let remote = Remote::new(args).in_folder(dir.path()).start();
        server.accept().write_all(suffix.as_bytes()).unwrap();
        remote.wait().expect_quiet_success();
        assert_eq!(dir.read(&format!("unet_receive_{date}_127.0.0.1_{port}{suffix}")), suffix.as_bytes());
    }
    let remote = Remote::new(["-lv", "::1", "-r"]).in_folder(dir.path()).start();
    let port = remote.port();
    drop(std::net::TcpStream::connect(("::1", port)).unwrap());
    assert_eq!(remote.wait().code, 0);
    assert_eq!(dir.read(&format!("unet_receive_{date}___1_{port}")), b"");
}

#[test]
fn a_part_never_looks_complete() {
    let dir = Dir::new();
    let target = dir.join("f");
    let server = Server::new();
    let remote = Remote::new(["-r", text(&target), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.write_all(b"half of it").unwrap();
    eventually("it to be written", || (fs::read(dir.join("f.part")).ok()? == b"half of it").then_some(()));
    assert_eq!(dir.names(), ["f.part"]);
    reset(peer);
    let part = dir.join("f.part");
    let parts =
        ["connection reset by peer", "10 received", &format!("what was received is in {}", text(&part))];
    remote.wait().expect_failure(1, &parts);
    assert_eq!(dir.read("f.part"), b"half of it");
    // A signal leaves it too, and the next part has a name of its own.
    let remote = Remote::new(["-r", text(&target), "127.0.0.1", &server.port()]).start();
    server.accept().write_all(b"again").unwrap();
    // The peer has closed: that was a whole file.
    remote.wait().expect_quiet_success();
    assert_eq!(dir.names(), ["f", "f.part"]);
    let remote = Remote::new(["-r", text(&target), "--force", "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.write_all(b"cut short").unwrap();
    eventually("it to be written", || (fs::read(dir.join("f_1.part")).ok()? == b"cut short").then_some(()));
    remote.signal(Signal::INT);
    let ended = remote.wait();
    assert_eq!(ended.code, 130);
    assert!(ended.stderr.contains("f_1.part"), "{ended:?}");
    assert_eq!(dir.names(), ["f", "f.part", "f_1.part"]);
    assert_eq!(dir.read("f"), b"again");
}

#[test]
fn nothing_is_overwritten_unless_forced() {
    let dir = Dir::new();
    let target = dir.file("f", b"precious");
    let server = Server::new();
    let port = server.port();
    for args in [&["-r", text(&target), "127.0.0.1", &port][..], &["-l", "-r", text(&target), "-p", "0"]] {
        // Refused before a connection is made or a port is announced.
        Remote::new(args).run().expect_failure(1, &["the file exists; --force replaces it"]);
    }
    assert_eq!(dir.read("f"), b"precious");
    let remote = Remote::new(["--force", "-r", text(&target), "127.0.0.1", &port]).start();
    server.accept().write_all(b"new").unwrap();
    remote.wait().expect_quiet_success();
    assert_eq!(dir.read("f"), b"new");
}

#[test]
fn files_that_cannot_be_used() {
    let dir = Dir::new();
    let port = Server::new().port();
    let none = dir.join("none");
    let folder = text(dir.path());
    let deep = dir.join("no/such/folder");
    let table = [
        (vec!["-s", text(&none)], "send ", "no such file or directory"),
        (vec!["-s", folder], "send ", "is a directory"),
        (vec!["-r", folder], "receive into ", "is a directory"),
        (vec!["-r", text(&deep)], "receive into ", "no such file or directory"),
        (vec!["-o", text(&deep)], "dump into ", "no such file or directory"),
    ];
    for (flags, what, why) in table {
        for rest in [&["127.0.0.1", port.as_str()][..], &["-l", "-p", "0"]] {
            let args: Vec<&str> = flags.iter().copied().chain(rest.iter().copied()).collect();
            Remote::new(&args).run().expect_failure(1, &[what, why]);
        }
    }
}

#[test]
fn permission_is_needed() {
    if !crate::bench::has("setpriv") {
        return;
    }
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    if run(nobody[0], &[&nobody[1..], &["true"]].concat()).is_err() {
        return println!("skipped: we may not become nobody");
    }
    let dir = Dir::new();
    let secret = dir.file("secret", b"secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    // The program itself must be reachable for nobody.
    let program = dir.join("remote");
    fs::copy(env!("CARGO_BIN_EXE_remote"), &program).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let target = dir.join("target");
    for (args, what) in [
        (vec!["-s", text(&secret), "127.0.0.1", "1"], "send "),
        (vec!["-r", text(&target), "127.0.0.1", "1"], "receive into "),
        (vec!["-l", "1"], "listen on :: port 1"),
    ] {
        let mut words = nobody.to_vec();
        words.push(text(&program));
        words.extend(&args);
        let error = run(words[0], &words[1..]).unwrap_err();
        assert!(error.starts_with(&format!("remote: {what}")), "{error}");
        assert!(error.ends_with(": permission denied"), "{error}");
    }
}

#[test]
fn a_full_disk_keeps_the_received_part() {
    let dir = Dir::new();
    let disk = dir.join("disk");
    fs::create_dir(&disk).unwrap();
    if let Err(why) = run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", text(&disk)]) {
        return println!("skipped: a small disk cannot be mounted: {why}");
    }
    let server = Server::new();
    let target = disk.join("f");
    let remote = Remote::new(["-r", text(&target), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    // It ends before all of this is taken.
    let _ = peer.write_all(&noise(3_000_000));
    let ended = remote.wait();
    let names = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let kept = fs::read(disk.join("f.part")).unwrap();
    run("umount", &[text(&disk)]).unwrap();
    assert_eq!(names, ["f.part"]);
    assert!(noise(3_000_000).starts_with(&kept) && kept.len() > 900_000, "{} bytes", kept.len());
    ended.expect_failure(1, &["no space left on device", "f.part", "received bytes were not written"]);
}

#[test]
fn pipes_and_devices_are_written_directly() {
    let server = Server::new();
    let remote = Remote::new(["-r", "/dev/null", "127.0.0.1", &server.port()]).start();
    server.accept().write_all(b"gone").unwrap();
    remote.wait().expect_quiet_success();

    let remote = Remote::new(["-r", "/dev/full", "127.0.0.1", &server.port()]).start();
    server.accept().write_all(b"too much").unwrap();
    remote.wait().expect_failure(1, &["write to /dev/full: no space left on device"]);

    let dir = Dir::new();
    let fifo = dir.join("fifo");
    run("mkfifo", &[text(&fifo)]).unwrap();
    let path = fifo.clone();
    let reader = std::thread::spawn(move || fs::read(path).unwrap());
    let remote = Remote::new(["-r", text(&fifo), "127.0.0.1", &server.port()]).start();
    server.accept().write_all(b"through a fifo").unwrap();
    remote.wait().expect_quiet_success();
    assert_eq!(reader.join().unwrap(), b"through a fifo");

    // There is no writer, and ctrl-C works all the same.
    let remote = Remote::new(["-s", text(&fifo), "127.0.0.1", &server.port()]).start();
    let _peer = server.accept();
    remote.signal(Signal::INT);
    assert_eq!(remote.wait().code, 130);

    let path = fifo.clone();
    let writer = std::thread::spawn(move || fs::write(path, b"from a fifo").unwrap());
    let remote = Remote::new(["-s", text(&fifo), "127.0.0.1", &server.port()]).start();
    assert_eq!(read_all(&mut server.accept()), b"from a fifo");
    remote.wait().expect_quiet_success();
    writer.join().unwrap();
}

#[test]
fn dashes_are_stdin_and_stdout() {
    let server = Server::new();
    let remote = Remote::new(["-s", "-", "-r", "-", "127.0.0.1", &server.port()]).stdin("to").start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"to");
    peer.write_all(b"fro").unwrap();
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"fro");
}

#[test]
fn an_answer_to_a_file_goes_to_stdout() {
    let dir = Dir::new();
    let path = dir.file("f", b"hello");
    let server = Server::new();
    let remote = Remote::new(["-s", text(&path), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    assert_eq!(read_all(&mut peer), b"hello");
    peer.write_all(b"Received file with 5 bytes").unwrap();
    drop(peer);
    assert_eq!(remote.wait().expect_quiet_success().stdout, b"Received file with 5 bytes");
}

#[test]
fn files_that_change_while_they_are_sent() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(10_000_000));
    let server = Server::new();
    let remote = Remote::new(["-s", text(&path), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    peer.read_exact(&mut [0; 1000]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(5_000_000).unwrap();
    let rest = read_all(&mut peer).len();
    assert!((4_999_000..10_000_000).contains(&rest), "{rest}");
    drop(peer);
    remote.wait().expect_quiet_success();
}

#[test]
fn both_sides_print_the_same_digest() {
    let dir = Dir::new();
    let sent = dir.file("sent", b"hello");
    let target = dir.join("received");
    let listener = Remote::new(["-l", "--digest", "-r", text(&target), "-p", "0"]).start();
    let port = listener.port().to_string();
    let sender = Remote::new(["--digest", "-s", text(&sent), "127.0.0.1", &port]).run();
    // BLAKE3 of "hello".
    let digest = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
    assert!(sender.stderr.contains(&format!("{digest}  {}\nsent 5 bytes\n", text(&sent))), "{sender:?}");
    let received = listener.wait();
    assert!(
        received.stderr.contains(&format!("{digest}  {}\nreceived 5 bytes\n", text(&target))),
        "{received:?}"
    );
    // The lines are b3sum's.
    if crate::bench::has("b3sum") {
        assert_eq!(run("b3sum", &[text(&sent)]).unwrap(), format!("{digest}  {}\n", text(&sent)));
    }
}

#[test]
fn progress_is_shown_on_a_terminal_and_lines_elsewhere() {
    let dir = Dir::new();
    let path = dir.file("f", &noise(300_000));
    let server = Server::new();
    let port = server.port();
    // Slow enough to be worth showing.
    let args = ["--rate", "150k", "-s", text(&path), "127.0.0.1", &port];
    let terminal = Terminal::new();
    let remote = Remote::new(args).stderr_to(terminal.stdio()).start();
    let mut peer = server.accept();
    let reader = std::thread::spawn(move || read_all(&mut peer).len());
    let screen = terminal.shows("ETA");
    assert!(screen.contains('%') && screen.contains("KiB/s"), "{screen}");
    assert_eq!(remote.wait().code, 0);
    assert_eq!(reader.join().unwrap(), 300_000);

    for (flags, lines) in
        [(&["--progress"][..], true), (&[], false), (&["--progress", "--no-progress"], false)]
    {
        let remote = Remote::new(flags.iter().chain(&args)).start();
        let mut peer = server.accept();
        assert_eq!(read_all(&mut peer).len(), 300_000);
        drop(peer);
        let ended = remote.wait();
        assert_eq!(ended.stderr.contains("% ETA "), lines, "{flags:?}: {ended:?}");
    }
}

#[test]
fn json_has_all_fields() {
    let dir = Dir::new();
    let target = dir.join("f");
    let remote = Remote::new(["-lv", "--json", "--digest", "-r", text(&target), "-p", "0"]).start();
    let port = remote.port();
    client(port).write_all(b"hello").unwrap();
    let ended = remote.wait();
    assert_eq!(ended.stdout, b"");
    let object = ended.stderr.lines().find(|line| line.starts_with('{')).expect("there is an object");
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["transport"], "tcp");
    assert_eq!(object["local"]["port"], port);
    assert_eq!(object["peer"]["address"], "127.0.0.1");
    assert_eq!(object["received"]["bytes"], 5);
    assert_eq!(object["sent"]["bytes"], 0);
    assert_eq!(object["end"], "done");
    assert_eq!(object["error"], serde_json::Value::Null);
    assert_eq!(object["file"], text(&target));
    assert!(object["received"]["digest"].as_str().unwrap().starts_with("ea8f163d"));
    assert!(object["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(object["tcp"]["rtt_us"].is_number(), on_linux("TCP_INFO"));
    let failed = Remote::new(["--json", "127.0.0.1", "1"]).run();
    let object: serde_json::Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((object["end"].as_str(), failed.code), (Some("failed"), 1));
}

#[test]
fn a_file_at_its_size_limit_keeps_the_received_part() {
    let dir = Dir::new();
    let target = dir.join("f");
    let server = Server::new();
    // In blocks of 512 bytes.
    let shell = ["sh", "-c", "ulimit -f 100; exec \"$0\" \"$@\""];
    let remote = Remote::through(&shell, ["-r", text(&target), "127.0.0.1", &server.port()]).start();
    let mut peer = server.accept();
    // It ends before all of this is taken.
    let _ = peer.write_all(&noise(1_000_000));
    remote.wait().expect_failure(1, &["file too large", "f.part", "received bytes were not written"]);
    assert_eq!(dir.read("f.part"), noise(51_200));
}

#[test]
fn a_file_that_cannot_be_opened_any_more_is_no_empty_one() {
    let dir = Dir::new();
    let path = dir.file("file", b"a file");
    let listener = Remote::new(["-lkv", "127.0.0.1", "0", "-s", path.to_str().unwrap()]).start();
    listener.said("Listening on");
    std::fs::remove_file(&path).unwrap();
    let port = listener.port().to_string();
    let ended = Remote::new(["127.0.0.1", &port, "-r", "copy"]).in_folder(dir.path()).run();
    ended.expect_failure(1, &["connection reset by peer"]);
    assert!(dir.names().is_empty(), "{:?}", dir.names());
}

#[test]
fn stdout_has_a_name_and_is_no_file_of_its_own() {
    let dir = Dir::new();
    let out = dir.join("out");
    let server = Server::new();
    let args = ["127.0.0.1", &server.port(), "--force", "-r", "/dev/fd/1"];
    let remote = Remote::new(args).stdout_to(std::fs::File::create(&out).unwrap()).start();
    server.accept().write_all(b"hello").unwrap();
    assert_eq!(remote.wait().code, 0);
    assert_eq!(dir.read("out"), b"hello");
    assert_eq!(dir.names(), ["out"]);
}

#[test]
fn an_automatic_name_has_the_local_date() {
    let zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];
    if !zones.iter().all(|zone| std::path::Path::new("/usr/share/zoneinfo").join(zone).exists()) {
        println!("skipped: there are no time zones (tzdata)");
        return;
    }
    // There is always a day between them.
    let names = zones.map(|zone| {
        let dir = Dir::new();
        let server = Server::new();
        let zone = format!("TZ={zone}");
        let remote = Remote::through(&["env", &zone], ["127.0.0.1", &server.port(), "-r"]);
        let remote = remote.in_folder(dir.path()).start();
        server.accept().write_all(b"hello").unwrap();
        assert_eq!(remote.wait().code, 0);
        dir.names().remove(0)[.."unet_receive_2026-11-26".len()].to_owned()
    });
    assert!(names[0] > names[1], "{names:?}");
}
