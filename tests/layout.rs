//! The layers: who may import whom. The table is the architecture.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder or file of `src`, and those of ours that it may import.
const LAYERS: [(&str, &[&str]); 14] = [
    ("main", &["cli", "mode", "plan", "report", "sys"]),
    ("mode", &["endpoint", "event", "net", "plan", "proto", "pump", "report", "session", "sys", "tap"]),
    ("session", &["endpoint", "event", "net", "plan", "proto", "pump", "report", "sys", "tap", "tls"]),
    ("plan", &["cli", "net", "proto"]),
    ("pump", &["endpoint", "proto", "sys", "tap"]),
    ("endpoint", &["event", "proto", "sys", "tls"]),
    ("tap", &["proto"]),
    ("net", &["sys"]),
    ("tls", &["sys"]),
    ("event", &["sys"]),
    ("cli", &[]),
    ("report", &["sys"]),
    ("proto", &[]),
    ("sys", &[]),
];

/// All source files, and the layer of each.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let layer = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files
        .into_iter()
        .map(|path| {
            let layer = layer(&path);
            (path, layer)
        })
        .collect()
}

/// The layers that a text names: in `crate::x`, and in `use crate::{x, y::z}`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let Some(group) = part.strip_prefix('{') else {
            found.push(word(part));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphabetic() => {
                    found.push(word(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_layer_imports_only_what_it_may() {
    let sources = sources();
    assert!(sources.len() > 30, "the sources were not found");
    for (path, layer) in &sources {
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| name == layer)
            .unwrap_or_else(|| panic!("{layer} has no row in the table"));
        for import in imports(&fs::read_to_string(path).unwrap()) {
            let ok = import == *layer || allowed.contains(&import.as_str());
            assert!(ok, "{} imports {import}; {layer} may import {}", path.display(), allowed.join(", "));
        }
    }
}

#[test]
fn imports_are_found() {
    let text = "use crate::{event::{A, B}, net::C,\n    sys};\ncrate::pump::x(); use crate::cli;";
    assert_eq!(imports(text), ["event", "net", "sys", "pump", "cli"]);
}

#[test]
fn platforms_and_unsafe_code_stay_in_sys() {
    for (path, layer) in sources() {
        if layer == "sys" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for word in [
            "cfg(unix",
            "cfg(windows",
            "cfg(target_",
            "cfg(not(",
            "cfg(any(",
            "cfg(all(",
            "unsafe ",
            "libc::",
        ] {
            assert!(!text.contains(word), "{} has '{word}'", path.display());
        }
    }
}

#[test]
fn modes_do_not_import_each_other() {
    let modes = ["connect", "listen", "practice", "relay", "scan"];
    for (path, layer) in sources() {
        if layer != "mode" || path.ends_with("mode/mod.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for mode in modes {
            let own = path.components().any(|part| part.as_os_str() == mode);
            let named = [format!("mode::{mode}"), format!("super::{mode}")];
            let found = !own && named.iter().any(|name| text.contains(name));
            assert!(!found, "{} imports {mode}", path.display());
        }
    }
}
