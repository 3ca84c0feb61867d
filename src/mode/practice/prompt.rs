//! The commands of the practice client, from a prompt, a script or the command line, one after the other.

use anyhow::{Result, anyhow};

use super::{
    client::Client,
    command::{self, HELP, Task},
    echo_client::EchoClient,
    file_client::FileClient,
    file_sink::{FileSink, kept_in},
    interrupted::Interrupted,
    local_servers::LocalServers,
};
use crate::{
    plan::PracticeClient,
    report::{self, Report},
    session::Outcome,
};

/// Carries out the commands. It fails if one of them has failed.
pub fn run(plan: &PracticeClient, report: &Report) -> Result<Outcome> {
    let servers = match &plan.host {
        Some(_) => None,
        None => Some(LocalServers::start(plan.root.as_deref())?),
    };
    // Local servers listen on IPv6, too, but the client needs only one of the two.
    let (host, tcp, udp, files) = match (&servers, &plan.host) {
        (Some(servers), _) => ("127.0.0.1".into(), servers.tcp, servers.udp, servers.files),
        (None, host) => (host.clone().unwrap_or_default(), plan.port, plan.udp_port, Some(plan.files_port)),
    };

    let mut client = Client::new(plan, report)?;
    if client.is_interactive() {
        if servers.is_some() {
            let files = files.map_or_else(|| "none (--root DIR)".to_owned(), |port| port.to_string());
            report.note(format!(
                "servers on 127.0.0.1: TCP {tcp}, UDP {udp}, files {files}; 'help' tells what they can do"
            ));
        }
        client.set_prompt("practice> ");
    }

    let files = FileClient::new(host.clone(), files);
    let echo = EchoClient { host, tcp, udp };
    let prompt = Prompt { client, echo, files, sink: FileSink::default(), failed: false };
    prompt.run().map(Outcome::of).or_else(|error| {
        // A signal is no failure of a command: it has an exit status of its own.
        let Interrupted(signal) = error.downcast()?;
        Ok(Outcome::Signalled(signal))
    })
}

/// The client, and its conversations with the servers.
struct Prompt<'a> {
    client: Client<'a>,
    echo: EchoClient,
    files: FileClient,
    /// The file that the current command receives.
    sink: FileSink,
    /// A command has failed.
    failed: bool,
}

impl Prompt<'_> {
    /// Carries out all commands, and ends the conversations.
    fn run(mut self) -> Result<bool> {
        match &self.client.plan.command {
            Some(command) => drop(self.carry_out(command)?),
            None => self.read_commands()?,
        }
        // An error means that the server has closed the connection already.
        let _ = self.files.quit(&mut self.client);
        self.client.flush()?;
        self.client.release_terminal();
        Ok(!self.failed)
    }

    /// Carries out the lines of stdin. Errors are printed, and the next line is read.
    fn read_commands(&mut self) -> Result<()> {
        while !self.client.stdout_closed
            && let Some(line) = self.client.line()?
        {
            match self.carry_out(&line) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    self.failed = true;
                    self.client.report.error(report::sentence(&error));
                }
            }
        }

        Ok(())
    }

    /// Carries out a command. `Ok(false)` for `quit`. A partial file is kept after an error, and its path printed.
    fn carry_out(&mut self, line: &str) -> Result<bool> {
        let result = self.dispatch(line);
        if result.is_err() {
            let kept = kept_in(self.sink.close(false)?.as_deref());
            if !kept.is_empty() {
                self.client.report.note(format!("what was received is{}", kept.trim_start_matches(',')));
            }
        }
        result
    }

    /// Parses a command, and carries it out.
    fn dispatch(&mut self, line: &str) -> Result<bool> {
        let Some(task) = command::parse(line).map_err(|usage| anyhow!(usage))? else { return Ok(true) };

        let client = &mut self.client;
        let success = match task {
            Task::Quit => return Ok(false),
            Task::Help => client.print(HELP.as_bytes()).map(|()| true),
            Task::Echo(text) => self.echo.echo(client, &text),
            Task::Generate { size, into } => {
                self.echo.generate(client, &size, into.as_deref(), &mut self.sink)
            }
            Task::Stream { count, interval, size } => self.echo.stream(client, count, interval, size),
            Task::List => self.files.list(client).map(|()| true),
            Task::ChangeFolder(path) => self.files.change_folder(client, &path),
            Task::Download(path) => self.files.download(client, &path, &mut self.sink),
        };

        self.failed |= !success?;
        Ok(true)
    }
}
