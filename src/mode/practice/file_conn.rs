//! A client's connection to the file server: commands and replies, and files.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use super::{conn::ConnStatus, folder::Folder};
use crate::{
    endpoint::{Endpoint, Peer, Stream},
    net::Address,
    proto::practice::files::{self, Command, CommandReader, SERVER_KEY},
    report::Report,
    sys::{self, Raw},
};

/// The connection.
pub struct FileServerConn {
    stream: Stream,
    peer: Address,
    /// The position of the client.
    folder: Folder,
    commands: CommandReader,
    /// The reply to the last command, or at first the key.
    reply: Vec<u8>,
    /// Bytes of the reply that were sent.
    sent: usize,
    /// The file that follows the reply, and the bytes left of it.
    file: Option<(File, u64)>,
    /// The client has ended the conversation, or has broken its rules: no further command is read.
    finished: bool,
    /// The time of the last progress.
    moved: Instant,
}

impl FileServerConn {
    /// Takes a new connection. The server speaks first.
    pub fn new(stream: Stream, peer: Address, folder: Folder, now: Instant) -> Self {
        Self {
            stream,
            peer,
            folder,
            commands: CommandReader::default(),
            reply: SERVER_KEY.to_vec(),
            sent: 0,
            file: None,
            finished: false,
            moved: now,
        }
    }

    /// Returns the connection, for its end.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Reads and writes until it would block, or until others should have their turn.
    pub fn advance(&mut self, report: &Report, now: Instant) -> ConnStatus {
        for _ in 0..STEPS_PER_TURN {
            // A reply and its file are sent before the next command is read: TCP then slows down the client.
            let moved = if self.sent < self.reply.len() {
                self.stream.write(&self.reply[self.sent..]).inspect(|n| self.sent += n)
            } else if self.file.is_some() {
                self.send_file()
            } else if self.finished {
                return ConnStatus::Finished;
            } else {
                match self.commands.next_command() {
                    Ok(Some(command)) => {
                        self.execute(command, report);
                        // To list a large folder takes long: others have their turn.
                        return ConnStatus::Open(now);
                    }
                    Ok(None) => self.receive(),
                    Err(files::TooLong) => return ConnStatus::Finished,
                }
            };

            match moved {
                Ok(_) => self.moved = now,
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && now < self.moved + IDLE_TIMEOUT =>
                {
                    return ConnStatus::Open(self.moved + IDLE_TIMEOUT);
                }
                Err(_) => return ConnStatus::Closed,
            }
        }
        ConnStatus::Open(now)
    }

    /// Sends a part of the file.
    fn send_file(&mut self) -> io::Result<usize> {
        let Some((file, left)) = &mut self.file else { return Ok(0) };
        let max = usize::try_from(*left).unwrap_or(usize::MAX).min(MAX_STEP);

        let n = send(file, &mut self.stream, max)?;
        if n == 0 && *left > 0 {
            // The file has shrunk since its size was announced: a FIN would look like the end of a complete file.
            self.stream.abort();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }

        *left -= n as u64;
        if *left == 0 {
            self.file = None;
        }
        Ok(n)
    }

    /// Reads a part of a command. The end of the stream is an error.
    fn receive(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes)? {
            // Every reply was sent before this read, so that a client that ends without `quit` loses nothing.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.commands.receive(&bytes[..n]);
                Ok(n)
            }
        }
    }

    /// Executes a command: changes the state, and makes the reply.
    fn execute(&mut self, command: Command, report: &Report) {
        if report.verbose > 0 {
            report.verbose(format!("{} files: {}", self.peer, describe(&command)));
        }

        self.sent = 0;
        // A refusal is the same for every error: it reveals nothing about files outside the root.
        self.reply = match command {
            Command::List => match self.folder.list() {
                Ok(found) => files::listing(&self.folder.path(), &found.folders, &found.files),
                Err(_) => files::ended(b"Invalid Path!".to_vec()),
            },
            Command::ChangeFolder(path) => match self.folder.change(&path) {
                Ok(()) => files::changed(&self.folder.path()),
                Err(_) => files::ended(b"Invalid Path!".to_vec()),
            },
            Command::Download(path) => match self.folder.file(&path) {
                Ok((file, size)) => {
                    self.file = (size > 0).then_some((file, size));
                    files::sending(&path, size)
                }
                Err(_) => files::ended(b"Invalid File!".to_vec()),
            },
            Command::Echo(text) => files::ended(text),
            Command::Quit => {
                self.finished = true;
                Vec::new()
            }
        };
    }
}

/// Sends up to `max` bytes of a file: by sendfile(2) if the kernel can, else by copying.
fn send(file: &mut File, stream: &mut Stream, max: usize) -> io::Result<usize> {
    let sent = match stream.sink() {
        Some(raw) => sys::send_file(Raw::file(file), raw, max),
        None => Err(io::ErrorKind::Unsupported.into()),
    };

    match sent {
        Err(error) if sys::is_refusal(&error) => {
            let mut bytes = [0; 16 << 10];
            let start = file.stream_position()?;
            let n = file.read(&mut bytes[..max.min(16 << 10)])?;
            let sent = if n == 0 { Ok(0) } else { stream.write(&bytes[..n]) };
            // The rest of the bytes is read again.
            file.seek(SeekFrom::Start(start + *sent.as_ref().unwrap_or(&0) as u64))?;
            sent
        }
        sent => sent,
    }
}

/// Formats a command for messages.
fn describe(command: &Command) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match command {
        Command::ChangeFolder(path) => format!("chdir {}", text(path)),
        Command::Download(path) => format!("dl {}", text(path)),
        Command::Echo(echo) => format!("'{}'", text(echo)),
        Command::List => "ls".to_owned(),
        Command::Quit => "quit".to_owned(),
    }
}

/// Steps of a connection before others have their turn.
const STEPS_PER_TURN: usize = 16;

/// Bytes of a file in one step.
const MAX_STEP: usize = 256 << 10;

/// Time without progress after which a connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
