//! The preparation for the first client: look-ups of names, the listener, and its TLS.

use std::{collections::HashMap, time::Instant};

use anyhow::Result;

use super::{dial::Resolving, messages::announce, tls::TlsContext};
use crate::{
    event::{Reactor, Token},
    net::{
        Access, Address, Family, Listener,
        access::{Network, Rule},
    },
    plan::{Bind, Listen},
    report::Report,
};

/// The look-ups that a listener needs, one after the other. A value that a mode's loop advances.
#[derive(Debug)]
pub struct Preparation<'a> {
    plan: &'a Listen,
    token: Token,
    /// Hosts and ports that are still to be looked up, the last one first.
    waiting: Vec<(&'a str, u16)>,
    resolving: Option<Resolving>,
    found: HashMap<&'a str, Vec<Address>>,
}

impl<'a> Preparation<'a> {
    /// Gathers the names. An answer wakes `token`.
    pub fn new(plan: &'a Listen, token: Token) -> Self {
        let mut waiting = Vec::new();
        if let Bind::Name { host, port } = &plan.at {
            waiting.push((host.as_str(), *port));
        }
        let rules = plan.access.allow.iter().flatten().chain(&plan.access.deny);
        waiting.extend(rules.filter_map(|rule| match rule {
            Rule::Name(name) => Some((name.as_str(), 0)),
            Rule::Any | Rule::Network(_) => None,
        }));
        // `pop` takes the last one: the address to listen at comes first, then the rules as they were given.
        waiting.reverse();
        Self { plan, token, waiting, resolving: None, found: HashMap::new() }
    }

    /// Does all that can be done now. Returns the addresses to listen at and the access rules, once they are known.
    pub fn advance(&mut self, reactor: &Reactor, now: Instant) -> Result<Option<(Vec<Address>, Access)>> {
        while let Some((host, port)) = self.waiting.last().copied() {
            // -w limits each look-up by itself.
            let deadline = self.plan.session.idle.map(|idle| now + idle);
            let resolving = match &mut self.resolving {
                Some(resolving) => resolving,
                None => self.resolving.insert(Resolving::start(
                    host,
                    port,
                    &self.plan.socket_config,
                    deadline,
                    reactor,
                    self.token,
                )?),
            };
            let Some(addresses) = resolving.advance(now)? else { return Ok(None) };

            self.found.insert(host, addresses);
            self.resolving = None;
            self.waiting.pop();
        }

        let addresses = match &self.plan.at {
            Bind::Addresses(addresses) => addresses.clone(),
            Bind::Name { host, .. } => self.found.get(host.as_str()).cloned().unwrap_or_default(),
        };
        let allow = self.plan.access.allow.as_deref().map(|rules| self.networks(rules));
        let deny = self.networks(&self.plan.access.deny);
        Ok(Some((addresses, Access { allow, deny })))
    }

    fn networks(&self, rules: &[Rule]) -> Vec<Network> {
        let mut networks = Vec::new();

        for rule in rules {
            match rule {
                Rule::Any => networks.extend([Family::V4, Family::V6].map(Network::all)),
                Rule::Network(network) => networks.push(*network),
                Rule::Name(name) => {
                    networks.extend(self.found.get(name.as_str()).into_iter().flatten().filter_map(
                        |address| match address {
                            Address::Inet(inet) => Some(Network::of(*inet)),
                            Address::Name { .. } | Address::Unix(_) => None,
                        },
                    ));
                }
            }
        }
        networks
    }

    /// Returns when to advance even if nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.resolving.as_ref()?.deadline()
    }
}

/// Binds and announces the listener of a plan, and sets up its TLS. `many` says that there will be more clients than one.
pub fn listen(
    plan: &Listen,
    addresses: &[Address],
    access: Access,
    many: bool,
    report: &Report,
) -> Result<(Listener, Option<TlsContext>)> {
    // Only now are the addresses of a name known.
    plan.check_exposure(addresses)?;
    let random = addresses.iter().any(|address| address.port() == Some(0));
    let mut listener = Listener::bind(plan.socket_config.clone(), addresses, many)?;
    listener.restrict(access);
    announce(&listener.addresses(), random, report);

    let tls = match &plan.tls {
        Some(tls) => {
            let options = if plan.session.zstd.is_some() { " --zstd" } else { "" };
            Some(TlsContext::server(tls, &listener.addresses(), ("remote", options), report)?)
        }
        None => None,
    };
    Ok((listener, tls))
}
