//! Standard output: messages as `-v`, `-F`, `-N` and `-w` want them.
//!
//! Messages gather in a buffer that is written when no further one waits, so that a reader at the
//! other end of a pipe sees each at once and a flood costs few system calls.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};

use martlet_client::Incoming;
use tokio::io::AsyncWriteExt;

use crate::console;
use crate::failure::Failure;
use crate::format::{Complaint, Moment, Shown};
use crate::program::Manner;
use crate::settings::{RANDOM_FILTER_ALL, Settings};

/// Where messages are printed.
pub(crate) struct Output {
    buffer: Vec<u8>,
    watch: Option<Watch>,
    random: Random,
}

/// Bytes that gather before they are written, at most: then they are, whatever waits.
const BUFFER_BYTES_MAX: usize = 64 << 10;

impl Output {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut output = Self {
            buffer: Vec::new(),
            watch: None,
            random: Random::new(),
        };
        if settings.watch && !settings.message_rate {
            output.watch = Some(Watch::default());
            // Clears the screen and goes to its first line.
            output.text(&format!("\x1b[2J\x1b[1;1HBroker: {}\n", settings.host));
        }
        output
    }

    /// Whether it is time to write.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES_MAX
    }

    /// Adds a line or any other text.
    pub(crate) fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Adds a message.
    pub(crate) fn message(&mut self, message: &Incoming, settings: &Settings) {
        if let Some(watch) = &mut self.watch {
            let line = watch.line(message.topic.as_str());
            let _ = write!(self.buffer, "\x1b[{line};1H\x1b[K");
        }
        if self.random.below(RANDOM_FILTER_ALL) < settings.random_filter {
            self.print(message, settings);
        }
        if let Some(watch) = &self.watch {
            let _ = writeln!(self.buffer, "\x1b[{};1H", watch.next_line - 1);
        }
    }

    fn print(&mut self, message: &Incoming, settings: &Settings) {
        let (topic, payload) = (message.topic.as_str(), &message.payload[..]);
        let eol: &[u8] = if settings.eol { b"\n" } else { b"" };
        if let Some(format) = &settings.format {
            let complaints = format.write(shown(message), &Moment::now(), settings.pretty, &mut self.buffer);
            self.buffer.extend_from_slice(eol);
            for complaint in complaints {
                complain(complaint, topic, settings);
            }
        } else if settings.verbose && payload.is_empty() {
            if settings.eol {
                self.text(topic);
                self.text(" (null)\n");
            }
        } else if settings.verbose {
            self.text(topic);
            self.text(" ");
            self.buffer.extend_from_slice(payload);
            self.buffer.extend_from_slice(eol);
        } else if !payload.is_empty() {
            self.buffer.extend_from_slice(payload);
            self.buffer.extend_from_slice(eol);
        }
    }

    /// Writes what has gathered, and tells whether anybody still reads. Fails when it cannot be written.
    pub(crate) async fn flush(&mut self, stdout: &mut tokio::io::Stdout) -> Result<bool, Failure> {
        match self.write_out(stdout).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::output(&error)),
        }
    }

    async fn write_out(&mut self, stdout: &mut tokio::io::Stdout) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // In the background, so that a reader that is slow does not keep the connection from its pings.
        stdout.write_all(&self.buffer).await?;
        self.buffer.clear();
        if self.buffer.capacity() > 4 * BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        stdout.flush().await
    }
}

fn shown(message: &Incoming) -> Shown<'_> {
    Shown {
        topic: message.topic.as_str(),
        payload: &message.payload,
        qos: message.qos.as_u8(),
        retain: message.retain,
        packet_id: message.packet_id.map(std::num::NonZeroU16::get),
        topic_alias: message.topic_alias,
        properties: message.properties(),
    }
}

fn complain(complaint: Complaint, topic: &str, settings: &Settings) {
    let (mosquitto, ours) = match complaint {
        Complaint::NotJson => (
            format!("Error: Message payload is not valid JSON on topic {topic}."),
            format!("the message on '{topic}' is not JSON, %J printed nothing."),
        ),
        Complaint::NotFloat => (
            "requested float printing, but non-float data received".to_owned(),
            format!("the message on '{topic}' has not the 4 bytes of a float, %f printed nothing."),
        ),
        Complaint::NotDouble => (
            "requested double printing, but non-double data received".to_owned(),
            format!("the message on '{topic}' has not the 8 bytes of a double, %d printed nothing."),
        ),
    };
    match settings.role.manner {
        Manner::Mosquitto => console::mosquitto(settings, &format!("{mosquitto}\n")),
        Manner::Martlet => console::warning(settings, &ours),
    }
}

/// Which topic has which line of the terminal.
struct Watch {
    lines: HashMap<String, usize>,
    next_line: usize,
}

/// Topics with a line of their own; those above share the last one.
const WATCHED_TOPICS_MAX: usize = 10_000;

impl Default for Watch {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            next_line: 2,
        }
    }
}

impl Watch {
    fn line(&mut self, topic: &str) -> usize {
        if let Some(line) = self.lines.get(topic) {
            return *line;
        }
        if self.lines.len() >= WATCHED_TOPICS_MAX {
            return self.next_line;
        }
        let line = self.next_line;
        self.next_line += 1;
        self.lines.insert(topic.to_owned(), line);
        line
    }
}

/// Chance for `--random-filter` and for nothing that must be secret.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().hash_one(std::process::id()) | 1)
    }

    fn below(&mut self, n: u32) -> u32 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
