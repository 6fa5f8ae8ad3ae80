//! Payloads from files and from standard input.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::failure::{Failure, status};
use crate::settings::{Input, Settings};

/// The largest payload in bytes: what a packet can say. Above it: an error.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 268_435_455;
/// Lines that were read and not yet taken, at most. At it: standard input waits.
const LINES_MAX: usize = 64;

/// The payload of `-m`, `-f`, `-s` or `-n`.
pub(crate) fn payload(settings: &Settings) -> Result<Bytes, Failure> {
    let read = match &settings.input {
        Some(Input::Text(text)) => return Ok(text.clone().into()),
        Some(Input::File(path)) => return file(path),
        Some(Input::Stdin) => match read_all(io::stdin().lock()) {
            // `-n` is mosquitto's way to send nothing.
            Ok(payload) if payload.is_empty() && settings.role.is_mosquitto() => {
                return Err(Failure::new(
                    "C013",
                    "standard input is empty.",
                    "Error: Zero length input.\nError loading input from stdin.\n",
                    status::FAILED,
                ));
            }
            read => read,
        },
        Some(Input::Null | Input::Lines) | None => return Ok(Bytes::new()),
    };
    read.map_err(|error| {
        Failure::new(
            "C013",
            format!("cannot read standard input: {}.", crate::wrong::cause(&error)),
            "Error loading input from stdin.\n",
            status::FAILED,
        )
    })
}

fn file(path: &Path) -> Result<Bytes, Failure> {
    let shown = path.display();
    File::open(path).and_then(read_all).map_err(|error| {
        Failure::new(
            "C013",
            format!("cannot read {shown}: {}.", crate::wrong::cause(&error)),
            format!("Error: Unable to open file \"{shown}\".\nError loading input file \"{shown}\".\n"),
            status::FAILED,
        )
    })
}

fn read_all(source: impl Read) -> io::Result<Bytes> {
    let mut payload = Vec::new();
    source.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(too_large());
    }
    Ok(payload.into())
}

fn too_large() -> io::Error {
    let text = format!("more than {PAYLOAD_BYTES_MAX} bytes, the most that a message can have");
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// The lines of standard input, without their ends, as they come. A thread of its own reads them: it
/// may wait there for ever, and nothing waits for it.
pub(crate) fn lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        let mut source = io::stdin().lock();
        while let Some(line) = line(&mut source).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

fn line(source: &mut impl BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    // The end of the line may come on top of the longest one.
    let read = source.take(PAYLOAD_BYTES_MAX + 2).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(too_large());
    }
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_the_last_needs_no_end() {
        let mut source = &b"a\n\nb c\r\nlast"[..];
        let mut read = Vec::new();
        while let Some(line) = line(&mut source).unwrap() {
            read.push(line);
        }
        assert_eq!(read, [&b"a"[..], b"", b"b c\r", b"last"]);
    }
}
