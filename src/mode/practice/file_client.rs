//! The client of the file server: one conversation over all commands, begun again when its connection is lost.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    client::Client,
    file_sink::{FileSink, kept_in},
    interrupted::Interrupted,
};
use crate::{
    net::Transport,
    proto::practice::files::{self, CLIENT_KEY, END, SERVER_KEY},
    sys::Descriptor,
};

/// The server, and the conversation with it.
pub struct FileClient {
    host: String,
    /// `None`: the servers have no folder.
    port: Option<u16>,
    /// The conversation, from the first command until an error or the end.
    conversation: Option<Conversation>,
    /// The folder of the last `chdir`.
    folder: Option<Vec<u8>>,
}

/// A connection after the exchange of keys.
struct Conversation {
    socket: Descriptor,
    /// Received bytes, from the first that belongs to no reply yet.
    bytes: Vec<u8>,
}

impl FileClient {
    /// Does not connect before the first command.
    pub fn new(host: String, port: Option<u16>) -> Self {
        Self { host, port, conversation: None, folder: None }
    }

    /// Prints the content of the folder.
    pub fn list(&mut self, client: &mut Client<'_>) -> Result<()> {
        let reply = self.request(client, b"ls")?;
        client.print(&reply)
    }

    /// Changes to another folder. `Ok(false)` if there is no such folder.
    pub fn change_folder(&mut self, client: &mut Client<'_>, path: &str) -> Result<bool> {
        let reply = self.request(client, format!("chdir {path}").as_bytes())?;
        let folder = files::changed_to(&reply).map(<[u8]>::to_vec);
        let changed = folder.is_some();
        self.folder = folder.or(self.folder.take());
        client.print_line(&reply)?;
        Ok(changed)
    }

    /// Downloads a file into one of the same name. `Ok(false)` if it is incomplete, or if there is no such file.
    pub fn download(&mut self, client: &mut Client<'_>, path: &str, sink: &mut FileSink) -> Result<bool> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            bail!("'{path}' has no name");
        }
        // A file that cannot be written is not requested.
        sink.open(Path::new(name), client.plan.force)?;
        let reply = self.request(client, format!("dl {path}").as_bytes())?;
        let Some(size) = files::announced_size(&reply) else {
            sink.close(false)?;
            client.print_line(&reply)?;
            return Ok(false);
        };

        // Taken out until the file is complete: after a part of it, replies could not be told from the rest.
        let Some(mut conversation) = self.conversation.take() else { bail!("the conversation has ended") };
        let start = Instant::now();
        let received = conversation.receive_file(client, size, sink)?;
        let complete = received == size;
        if complete {
            self.conversation = Some(conversation);
        }

        let kept = kept_in(sink.close(complete)?.as_deref());
        let of = if complete { String::new() } else { format!(" of {size}") };
        let seconds = start.elapsed().as_secs_f64();
        client.print_line(format!("{received} bytes{of} in {seconds:.2} s{kept}").as_bytes())?;
        Ok(complete)
    }

    /// Ends the conversation, if there is one.
    pub fn quit(&mut self, client: &mut Client<'_>) -> Result<()> {
        match self.conversation.take() {
            Some(mut conversation) => client.write(&mut conversation.socket, &files::ended(b"quit".to_vec())),
            None => Ok(()),
        }
    }

    /// Sends a command, and returns its reply. After an error, the next command connects again.
    fn request(&mut self, client: &mut Client<'_>, command: &[u8]) -> Result<Vec<u8>> {
        if command.windows(END.len()).any(|part| part == END) {
            bail!("a command cannot hold '929Z', which ends it");
        }

        // Put back only after a whole reply: a reply that comes too late would answer the next command.
        let mut conversation = match self.conversation.take() {
            Some(conversation) => conversation,
            None => self.begin(client)?,
        };
        let reply = conversation.request(client, command)?;
        self.conversation = Some(conversation);
        Ok(reply)
    }

    /// Connects, exchanges keys, and returns to the folder of the last conversation.
    fn begin(&mut self, client: &mut Client<'_>) -> Result<Conversation> {
        let Some(port) = self.port else { bail!("these servers have no folder (--root DIR)") };
        let mut socket = client.connect(&self.host, port, Transport::Stream)?;

        let (mut key, mut n) = ([0; SERVER_KEY.len()], 0);
        // TCP may deliver the key in pieces.
        while n < key.len() {
            match client.read(&mut socket, &mut key[n..], Instant::now() + SERVER_TIMEOUT)? {
                Some(read @ 1..) => n += read,
                _ => bail!("that is no file server: it does not say its key"),
            }
        }
        if key != *SERVER_KEY {
            bail!("that is no file server: its key is another");
        }
        client.write(&mut socket, CLIENT_KEY)?;

        let mut conversation = Conversation { socket, bytes: Vec::new() };
        // A server begins every conversation in its root.
        if let Some(folder) = self.folder.clone() {
            let reply = conversation.request(client, &[b"chdir ", &folder[..]].concat())?;
            if files::changed_to(&reply).is_none() {
                self.folder = None;
                bail!(
                    "the folder {} is not there any more: 'chdir' leads to another one",
                    folder.escape_ascii()
                );
            }
        }
        Ok(conversation)
    }
}

impl Conversation {
    /// Sends a command, and returns its reply without the end.
    fn request(&mut self, client: &mut Client<'_>, command: &[u8]) -> Result<Vec<u8>> {
        client.write(&mut self.socket, &files::ended(command.to_vec()))?;
        let mut bytes = vec![0; 1 << 16];

        loop {
            if let Some(reply) = self.take_reply() {
                return Ok(reply);
            }
            match client.read(&mut self.socket, &mut bytes, Instant::now() + SERVER_TIMEOUT)? {
                None => bail!("no reply within {} s", SERVER_TIMEOUT.as_secs()),
                Some(0) => bail!("the file server has closed the connection"),
                Some(_) if self.bytes.len() > MAX_REPLY => bail!("a reply is too long"),
                Some(n) => self.bytes.extend_from_slice(&bytes[..n]),
            }
        }
    }

    /// Takes a reply without its end, if it is complete.
    fn take_reply(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.windows(END.len()).position(|part| part == END)?;
        let reply = self.bytes[..end].to_vec();
        self.bytes.drain(..end + END.len());
        Some(reply)
    }

    /// Receives a file of `size` bytes. Returns its bytes, which are fewer if the connection is lost.
    fn receive_file(&mut self, client: &mut Client<'_>, size: u64, sink: &mut FileSink) -> Result<u64> {
        // The beginning of the file may have been read together with the reply.
        let mut received = sink.write(&self.bytes, size)?;
        self.bytes.drain(..usize::try_from(received).unwrap_or(usize::MAX));
        let mut meter = client.meter(size);
        let mut bytes = vec![0; 1 << 17];

        while received < size {
            // Bytes behind the file belong to the next reply.
            let max = usize::try_from(size - received).unwrap_or(usize::MAX).min(bytes.len());
            match client.read(&mut self.socket, &mut bytes[..max], Instant::now() + SERVER_TIMEOUT) {
                Ok(Some(n @ 1..)) => received += sink.write(&bytes[..n], size - received)?,
                Err(error) if error.is::<Interrupted>() => return Err(error),
                // A lost connection leaves a part of the file, whose size is reported.
                Ok(_) | Err(_) => break,
            }
            meter.show(received, Instant::now());
        }
        meter.finish(received, Instant::now());
        Ok(received)
    }
}

/// Silence of a server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a reply.
const MAX_REPLY: usize = 16 << 20;
