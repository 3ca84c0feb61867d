//! The options of a listener about its clients.

use clap::Args;

use super::groups::AddressLimit;

/// The clients of a listener: how many at once, and from which addresses.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Clients {
    /// Keep listening: serve many clients at once
    #[arg(short, long)]
    pub keep_open: bool,

    /// Serve at most so many clients at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_conns: Option<u32>,

    /// Serve clients one after the other: -m 1
    #[arg(long)]
    pub one_by_one: bool,

    /// Let in only clients of these addresses, networks (10.0.0.0/8) or names, or of those in @FILE (any: all)
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub allow: Vec<String>,

    /// Let in none of these
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub deny: Vec<String>,

    #[command(flatten)]
    pub limit: AddressLimit,
}
