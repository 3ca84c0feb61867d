//! The rights that the process gives up after set-up.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::symlink,
};

use crate::bench::{Dir, Remote, Running, Server, client, eventually, has, noise, on_linux, read_all, run};

/// Whether this kernel can confine a process; says so if not.
fn is_possible() -> bool {
    if !on_linux("Landlock") {
        return false;
    }
    let remote = Remote::new(["-lvv", "127.0.0.1", "0"]).start();
    let wholly = remote.said("sandbox: ").contains("sandbox: only the files that were named (Landlock)");
    if !wholly {
        println!("skipped: this kernel's Landlock is missing, or older");
    }
    wholly
}

fn served(listener: &Running) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A client that cannot be served sees a reset.
    let _ = client(listener.port()).read_to_end(&mut bytes);
    bytes
}

#[test]
fn a_file_that_was_not_named_is_out_of_reach() {
    if !is_possible() {
        return;
    }
    let dir = Dir::new();
    for folder in ["served", "secret"] {
        fs::create_dir(dir.join(folder)).unwrap();
        dir.file(&format!("{folder}/file"), folder.as_bytes());
    }
    for (flags, reaches) in [(&["-k"][..], false), (&["-k", "--no-sandbox"], true)] {
        // A link that leads out of the folder, put there once it is set up.
        let link = dir.join("served/link");
        let _ = fs::remove_file(&link);
        symlink("file", &link).unwrap();
        let args = ["-lvv", "127.0.0.1", "0", "-s", link.to_str().unwrap()];
        let listener = Remote::new(args.iter().chain(flags)).start();
        listener.said("sandbox: ");
        assert_eq!(served(&listener), b"served");
        fs::remove_file(&link).unwrap();
        symlink("../secret/file", &link).unwrap();
        assert_eq!(served(&listener), if reaches { &b"secret"[..] } else { b"" });
        if !reaches {
            listener.said("permission denied");
        }
        // Another file of that name is another thing: so is a new version put there.
        fs::remove_file(&link).unwrap();
        dir.file("served/link", b"new");
        assert_eq!(served(&listener), b"new");
    }
}

#[test]
fn all_rights_are_given_up_before_the_first_byte() {
    if !is_possible() || !has("strace") {
        return;
    }
    let dir = Dir::new();
    let trace = dir.join("trace");
    let calls = "trace=landlock_restrict_self,accept4,recvfrom,recvmsg,read,splice,openat,connect,bind";
    let prefix = ["strace", "-f", "-qq", "-e", calls, "-o", trace.to_str().unwrap()];
    let line = |text: &str, what: &str| {
        text.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {text}"))
    };
    let listener = Remote::through(&prefix, ["-lv", "127.0.0.1", "0"]).start();
    let mut stream = client(listener.port());
    stream.write_all(b"hello").unwrap();
    drop(stream);
    assert_eq!(listener.wait().stdout, b"hello");
    let text = fs::read_to_string(&trace).unwrap();
    assert!(line(&text, "landlock_restrict_self") < line(&text, "accept4"), "{text}");

    let server = Server::new();
    let remote = Remote::through(&prefix, ["127.0.0.1", &server.port()]).stdin("").start();
    let mut stream = server.accept();
    stream.write_all(b"hello").unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    drop(stream);
    assert_eq!(remote.wait().stdout, b"hello");
    let text = fs::read_to_string(&trace).unwrap();
    let given_up = line(&text, "landlock_restrict_self");
    assert!(line(&text, "connect(") < given_up && given_up < line(&text, "splice("), "{text}");
}

#[test]
fn named_files_can_be_opened() {
    let dir = Dir::new();
    let bytes = noise(200_000);
    let file = dir.file("file", &bytes);
    let file = file.to_str().unwrap();
    let flags: [&[&str]; 6] = [&[], &["-k"], &["--force"], &["--tls"], &["--zstd"], &["-o", "dump"]];
    for flags in flags {
        let forced = flags.contains(&"--force");
        if forced {
            dir.file("received", b"old");
        }
        let args = [&["-lvv", "127.0.0.1", "0", "-r", "received"], flags].concat();
        let listener = Remote::new(&args).in_folder(dir.path()).start();
        let said = listener.said("sandbox: ");
        let port = listener.port().to_string();
        let mut args = vec!["127.0.0.1", &port, "-s", file];
        if flags == ["--tls"] {
            args.extend(["--tls", "--tls-insecure", "-Q"]);
        }
        if flags == ["--zstd"] {
            args.push("--zstd");
        }
        Remote::new(&args).run().expect_quiet_success();
        listener.said("received 200000 bytes into received");
        assert!(dir.read("received") == bytes, "{flags:?} {said}");
        fs::remove_file(dir.join("received")).unwrap();
    }
    // Names that come by themselves, what is listened at in a file, and what is written directly.
    let work = Dir::new();
    let path = work.join("socket");
    let address = format!("unix:{}", path.display());
    let listener = Remote::new(["-lv", &address, "-r"]).in_folder(work.path()).start();
    listener.said("Listening on");
    Remote::new([&*address, "-s", file]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert!(!path.exists());
    assert_eq!(work.names().len(), 1, "{:?}", work.names());
    run("mkfifo", &[work.join("fifo").to_str().unwrap()]).unwrap();
    let fifo = work.join("fifo");
    let reader = std::thread::spawn(move || fs::read(fifo).unwrap());
    let listener = Remote::new(["-lv", "127.0.0.1", "0", "-r", "fifo"]).in_folder(work.path()).start();
    listener.said("Listening on");
    Remote::new(["127.0.0.1", &listener.port().to_string(), "-s", file]).run().expect_quiet_success();
    assert_eq!(listener.wait().code, 0);
    assert!(reader.join().unwrap() == bytes);
}

#[test]
fn the_rights_in_force_are_printed() {
    let listener = Remote::new(["-lvv", "--no-sandbox", "127.0.0.1", "0"]).start();
    listener.said("sandbox: none (--no-sandbox)");
    let listener = Remote::new(["-lvv", "-c", "cat", "127.0.0.1", "0"]).start();
    listener.said("sandbox: none (a program could not do its work)");
    let dir = Dir::new();
    let root = dir.path().to_str().unwrap();
    let table: [&[&str]; 2] = [
        &["relay", "-lvv", "127.0.0.1", "0"],
        &["practice", "-lvv", "-p", "0", "--udp-port", "0", "--files-port", "0", "--root", root],
    ];
    for args in table {
        Remote::new(args).start().said("sandbox: ");
        Remote::new(args.iter().chain(&["--no-sandbox"])).start().said("sandbox: none (--no-sandbox)");
    }
}

#[test]
fn pipes_without_a_name_are_within_reach() {
    if !is_possible() || !has("bash") {
        return;
    }
    let dir = Dir::new();
    let server = Server::new();
    let script = "\"$@\" -s <(printf hello) -r >(cat > received)";
    let prefix = ["bash", "-c", script, "bash"];
    let remote = Remote::through(&prefix, ["-vv", "127.0.0.1", &server.port()]).in_folder(dir.path()).start();
    let mut stream = server.accept();
    assert_eq!(read_all(&mut stream), b"hello");
    stream.write_all(b"world").unwrap();
    drop(stream);
    let ended = remote.wait();
    assert!(ended.code == 0 && ended.stderr.contains("only the files that were named"), "{}", ended.stderr);
    eventually("all of it", || {
        (dir.names() == ["received"] && dir.read("received") == b"world").then_some(())
    });
}
