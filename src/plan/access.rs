//! `--allow`, `--deny` and `--max-per-ip`: the clients of a listener.

use std::path::Path;

use anyhow::{Context, Result};

use super::usage::{to_usage, usage};
use crate::{cli::Clients, net::access::Rule};

/// The clients that are accepted.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` is every address.
    pub allow: Option<Vec<Rule>>,
    /// Addresses that are refused even if they are allowed.
    pub deny: Vec<Rule>,
    /// Clients of one address at once; of IPv6, of one /64 network.
    pub max_per_ip: Option<usize>,
}

impl Access {
    /// Parses the rules, and reads those in files.
    pub(super) fn from_args(args: &Clients, no_lookup: bool) -> Result<Self> {
        // A file without rules allows no address, whereas no --allow at all allows every one.
        let allow = match args.allow.is_empty() {
            true => None,
            false => Some(rules(&args.allow, "--allow", no_lookup)?),
        };
        Ok(Self {
            allow,
            deny: rules(&args.deny, "--deny", no_lookup)?,
            max_per_ip: args.limit.max_per_ip.map(|max| max as usize),
        })
    }
}

/// Parses rules. `@FILE` stands for those in a file: several on a line, and `#` begins a comment.
fn rules(texts: &[String], option: &str, no_lookup: bool) -> Result<Vec<Rule>> {
    // An error names the file and stops the listener: a rule that is missing could admit a client.
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
                // Unlike a file that cannot be read, a rule that cannot be parsed is wrong usage: exit status 2.
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
