//! The layers, and the imports of each. The table is the architecture.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A folder or file of `src`, and those of ours that it may import.
const LAYERS: [(&str, &[&str]); 14] = [
    ("main", &["cli", "mode", "plan", "report", "sys"]),
    ("mode", &["endpoint", "event", "net", "plan", "proto", "pump", "report", "session", "sys"]),
    ("session", &["endpoint", "event", "net", "plan", "proto", "pump", "report", "sys", "tap", "tls"]),
    ("plan", &["cli", "net", "proto"]),
    ("pump", &["endpoint", "sys", "tap"]),
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

/// Words that belong to a platform.
const PLATFORM: [&str; 6] = ["std::os::", "\"/proc", "\"/dev", "cfg(", "libc::", "unsafe "];

/// A source file, and the module that it is: `["net", "address"]` is `net/address.rs`.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    text: String,
}

impl Source {
    /// Returns its layer: the first folder, or the file.
    fn layer(&self) -> &str {
        self.module.first().map_or("main", String::as_str)
    }

    /// Returns the paths that it imports or names, absolute and without `crate`. Those that it only hands on, by
    /// `pub use`, are left out.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in self.text.match_indices(start) {
                let before = &self.text[..at];
                let inside =
                    before.ends_with("::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if inside || before.trim_end().ends_with("pub use") {
                    continue;
                }
                let (base, rest) = self.base(&self.text[at..]);
                let mut found = Vec::new();
                tree(rest, &mut Vec::new(), &mut found);
                paths.extend(found.into_iter().map(|path| [base.clone(), path].concat()));
            }
        }
        paths
    }

    /// Returns the items that it hands on by `pub use self::…`: the name, and the path behind it.
    fn exports(&self) -> BTreeMap<String, Vec<String>> {
        let mut exports = BTreeMap::new();
        for (at, _) in self.text.match_indices("pub use self::") {
            let mut found = Vec::new();
            tree(&self.text[at + "pub use self::".len()..], &mut Vec::new(), &mut found);
            for path in found {
                let name = path.last().cloned().unwrap_or_default();
                exports.insert(name, [self.module.clone(), path].concat());
            }
        }
        exports
    }

    /// Parts `crate::`, `self::` and `super::` from a path. Returns the module that they stand for, and the rest.
    fn base<'a>(&self, mut text: &'a str) -> (Vec<String>, &'a str) {
        let mut base = self.module.clone();
        loop {
            if let Some(rest) = text.strip_prefix("crate::") {
                (base, text) = (Vec::new(), rest);
            } else if let Some(rest) = text.strip_prefix("self::") {
                text = rest;
            } else if let Some(rest) = text.strip_prefix("super::") {
                base.pop();
                text = rest;
            } else {
                return (base, text);
            }
        }
    }
}

/// Collects the paths of a tree of imports, `a::{b, c::d}`, at the start of a text. Returns the rest of the text.
fn tree<'a>(text: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest.len();
            rest = tree(rest, prefix, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.len() == before {
                return rest;
            }
        }
    }

    let name = word(text);
    let rest = &text[name.len()..];
    if name.is_empty() {
        found.push(prefix.clone());
        return rest;
    }
    if name != "self" {
        prefix.push(name.clone());
    }
    let rest = if let Some(rest) = rest.strip_prefix("::") {
        tree(rest, prefix, found)
    } else {
        found.push(prefix.clone());
        rest
    };
    if name != "self" {
        prefix.pop();
    }
    rest
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns all source files.
fn sources() -> Vec<Source> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let source = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Vec<_> =
            relative.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| last == "mod" || last == "main");
        Source { text: fs::read_to_string(&path).unwrap(), path, module }
    };
    let sources: Vec<_> = files.into_iter().map(source).collect();
    assert!(sources.len() > 30, "the sources were not found");
    sources
}

#[test]
fn every_layer_imports_only_what_it_may() {
    for source in sources() {
        let layer = source.layer();
        let row = LAYERS.iter().find(|(name, _)| *name == layer);
        let (_, allowed) = row.unwrap_or_else(|| panic!("{layer} has no row in the table"));
        for path in source.paths() {
            let Some(import) = path.first().filter(|import| *import != layer) else { continue };
            let is_layer = LAYERS.iter().any(|(name, _)| name == import);
            assert!(
                !is_layer || allowed.contains(&import.as_str()),
                "{} imports {import}; {layer} may import {}",
                source.path.display(),
                allowed.join(", ")
            );
        }
    }
}

#[test]
fn platforms_and_unsafe_code_stay_in_sys() {
    for source in sources() {
        let text = source.text.replace("cfg(test)", "");
        for word in PLATFORM {
            let found = source.layer() != "sys" && text.contains(word);
            assert!(!found, "{} has '{word}'", source.path.display());
        }
    }
}

#[test]
fn modes_import_no_mode() {
    for source in sources() {
        let [layer, mode, ..] = &source.module[..] else { continue };
        for path in source.paths() {
            let [first, other, ..] = &path[..] else { continue };
            let is_mode = other.chars().all(char::is_lowercase);
            let found = layer == "mode" && first == "mode" && is_mode && other != mode;
            assert!(!found, "{} imports {}", source.path.display(), path.join("::"));
        }
    }
}

/// The files that each file imports. A child may name its parents, whose parts it is.
fn arrows(sources: &[Source]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let exports: BTreeMap<_, _> =
        sources.iter().map(|source| (source.module.clone(), source.exports())).collect();
    // Follows what modules hand on, to the file that defines it.
    let target = |path: &[String]| {
        let mut path = path.to_vec();
        loop {
            let module =
                (0..=path.len()).rev().map(|n| path[..n].to_vec()).find(|it| exports.contains_key(it))?;
            let onward = path.get(module.len()).and_then(|item| exports[&module].get(item));
            match onward {
                Some(onward) => path = [&onward[..], &path[module.len() + 1..]].concat(),
                None => return Some(module),
            }
        }
    };
    let arrows = |source: &Source| {
        let targets = source.paths().into_iter().filter_map(|path| target(&path));
        targets.filter(|target| !source.module.starts_with(target)).collect()
    };
    sources.iter().map(|source| (source.module.clone(), arrows(source))).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut arrows = arrows(&sources());
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 300, "the imports were not found");
    // A file that imports none of those that are left is in no circle.
    while let Some(done) =
        arrows.iter().find(|(_, targets)| targets.is_empty()).map(|(module, _)| module.clone())
    {
        arrows.remove(&done);
        for targets in arrows.values_mut() {
            targets.remove(&done);
        }
    }
    assert!(arrows.is_empty(), "in a circle, or above one: {arrows:?}");
}

#[test]
fn imports_are_found() {
    let source = Source {
        path: PathBuf::new(),
        module: vec!["net".into(), "race".into()],
        text: "use crate::{event::{A, B}, net::C,\n    sys};\ncrate::pump::x(); pub use self::d::E;\n\
               use super::{Address, bind::{self, Bound}}; self::f();"
            .into(),
    };
    let paths: Vec<_> = source.paths().iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        [
            "event::A",
            "event::B",
            "net::C",
            "sys",
            "pump::x",
            "net::Address",
            "net::bind",
            "net::bind::Bound",
            "net::race::f"
        ]
    );
    assert_eq!(source.exports().into_iter().next().unwrap().1.join("::"), "net::race::d::E");
}
