//! `--allow`, `--deny` and `--max-per-ip`: who may come to a listener.

use std::path::Path;

use anyhow::{Context, Result};

use super::{to_usage, usage};
use crate::{cli::Args, net::access::Rule};

/// Who may come.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` is everybody.
    pub allow: Option<Vec<Rule>>,
    pub deny: Vec<Rule>,
    /// Clients of one address at once.
    pub max_per_ip: Option<usize>,
}

impl Access {
    /// Reads the rules, those in files included.
    pub fn new(args: &Args) -> Result<Self> {
        let allow = match args.allow.is_empty() {
            true => None,
            false => Some(rules(&args.allow, "--allow", args.no_lookup)?),
        };
        Ok(Self {
            allow,
            deny: rules(&args.deny, "--deny", args.no_lookup)?,
            max_per_ip: args.max_per_ip.map(|max| max as usize),
        })
    }
}

/// Rules as they are typed; `@FILE` stands for those in a file, one a line, where `#` begins a remark.
fn rules(texts: &[String], option: &str, no_lookup: bool) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for text in texts {
        let written = match text.strip_prefix('@') {
            Some(file) => {
                std::fs::read_to_string(Path::new(file)).with_context(|| format!("{option} {text}"))?
            }
            None => text.clone(),
        };
        for line in written.lines() {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split_whitespace() {
                let rule = Rule::parse(word).map_err(|error| to_usage(error.context(option.to_owned())))?;
                if no_lookup && matches!(rule, Rule::Name(_)) {
                    return usage(format!("-n looks up no names: {option} '{word}' must be an address"));
                }
                rules.push(rule);
            }
        }
    }
    Ok(rules)
}
