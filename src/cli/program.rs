//! The options of programs that run on connections.

use clap::Args;

/// The program in place of input and output.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Program {
    /// Run PROGRAM (with arguments: 'PROGRAM ARG…') on the connection, or for each client
    #[arg(short, long, value_name = "PROGRAM", allow_hyphen_values = true)]
    pub exec: Option<String>,

    /// Run COMMAND in a shell on the connection, or for each client
    #[arg(short = 'c', long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub sh_exec: Option<String>,

    /// Let a program go on when its client has gone
    #[arg(long)]
    pub keep_children: bool,
}
