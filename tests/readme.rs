//! The README is true: its examples run, its table of options is the program's own.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::bench::{Dir, LIMIT, Remote, eventually, has, noise, run};

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The shell blocks, with the heading each stands under.
fn examples(readme: &str) -> Vec<String> {
    readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_run() {
    if !["bash", "tar", "python3", "seq", "ncat", "openssl", "zstd"].iter().all(|program| has(program)) {
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_remote")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let readme = text("README.md");
    // The ports of the examples may be in use here; a network of their own has them all.
    let alone = run("unshare", &["-n", "ip", "link", "set", "lo", "up"]).is_ok();
    let mut count = 0;
    for example in examples(&readme) {
        if example.starts_with("cargo test") {
            continue;
        }
        // The build is what runs this test: only the rest of that line is still to be tried.
        let example = example.replace("cargo build --release && PATH=$PWD/target/release:$PATH &&", "");
        assert!(!example.contains("cargo"), "{example}");
        let dir = Dir::new();
        dir.file("sent", &noise(1_000_000));
        fs::create_dir(dir.join("folder")).unwrap();
        dir.file("folder/one", b"one");
        let mut shell = match alone {
            true => Command::new("unshare"),
            false => Command::new("bash"),
        };
        if alone {
            shell.args(["-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh", "bash"]);
        }
        shell.args(["-e", "-o", "pipefail", "-c", &example]).env("PATH", &path).current_dir(dir.path());
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = shell.spawn().unwrap();
        let status = eventually(&example, || child.try_wait().unwrap());
        // Background processes of an example end with it.
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        assert!(status.success(), "{status}: {example}");
        count += 1;
    }
    assert!(count >= 7, "only {count} examples were found within {LIMIT:?} each");
}

#[test]
fn the_table_of_options_is_the_programs_own() {
    let help = String::from_utf8(Remote::new(["--help"]).run().stdout).unwrap();
    let mut rows = Vec::<(String, String)>::new();
    let options = help.split("Options:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in options.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        match trimmed.split_once("  ") {
            Some((flag, what)) if trimmed.starts_with('-') && indent < 10 => {
                rows.push((flag.to_owned(), what.trim().to_owned()));
            }
            None if trimmed.starts_with('-') && indent < 10 => rows.push((trimmed.to_owned(), String::new())),
            _ => {
                let what = &mut rows.last_mut().unwrap().1;
                if !what.is_empty() {
                    what.push(' ');
                }
                what.push_str(trimmed);
            }
        }
    }
    assert!(rows.len() > 40, "{rows:?}");
    let mut table = String::from("| option | what it does |\n|---|---|\n");
    for (flag, what) in rows {
        table += &format!("| `{}` | {} |\n", flag.replace('|', "\\|"), what.replace('|', "\\|"));
    }
    let readme = text("README.md");
    let marks = ("<!-- options: checked against --help -->\n", "<!-- end of options -->");
    let written = readme.split(marks.0).nth(1).unwrap().split(marks.1).next().unwrap();
    assert!(written == table, "the README should have this table:\n{table}");
}

#[test]
fn ci_runs_the_readmes_test_command() {
    let readme = text("README.md");
    let command = examples(&readme).into_iter().find(|example| example.starts_with("cargo test")).unwrap();
    assert_eq!(text(".ci/run").lines().last(), command.lines().next());
}
