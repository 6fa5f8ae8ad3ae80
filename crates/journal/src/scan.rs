//! Reads the batches of a segment one after the other, and finds the next one behind damage.

use std::io;

use crate::disk::DiskFile;
use crate::frame::{ALIGNMENT, BATCH_HEADER_BYTES, BatchHeader, Frames};
use crate::limits::CHUNK_BYTES;
use crate::place::Position;
use crate::segments::FIRST_OFFSET;

/// A reader of one segment. It holds a chunk, or a batch if that is larger.
#[derive(Debug)]
pub(crate) struct Scanner<F> {
    file: F,
    segment: u32,
    /// `None`: any.
    salt: Option<u32>,
    /// Where the next batch begins, and where the file ends.
    at: u32,
    end: u32,
    chunk: Vec<u8>,
    chunk_at: u32,
}

/// What is next in a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A batch, every byte of it checked.
    Batch(Batch<'a>),
    /// Nothing more.
    End,
    /// Something that is no whole batch. The scanner stays where it is.
    Bad,
}

#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) synced: Position,
    pub(crate) frames: Frames<'a>,
}

impl<F: DiskFile> Scanner<F> {
    pub(crate) fn new(file: F, segment: u32, salt: u32, from: u32, end: u32) -> Self {
        Self::with_salt(file, segment, Some(salt), from, end)
    }

    fn with_salt(file: F, segment: u32, salt: Option<u32>, from: u32, end: u32) -> Self {
        Self {
            file,
            segment,
            salt,
            at: from.min(end),
            end,
            chunk: Vec::new(),
            chunk_at: 0,
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            segment: self.segment,
            offset: self.at,
        }
    }

    /// Goes back to where it was once.
    pub(crate) fn seek(&mut self, offset: u32) {
        self.at = offset;
    }

    /// The next batch, behind which the scanner stands then.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        let at = self.position();
        let Some(header) = self.whole()? else {
            return Ok(Step::Bad);
        };
        let from = (at.offset - self.chunk_at) as usize + BATCH_HEADER_BYTES;
        self.at += header.batch_bytes() as u32;
        let bytes = &self.chunk[from..from + header.bytes as usize];
        let first = Position {
            offset: at.offset + BATCH_HEADER_BYTES as u32,
            ..at
        };
        Ok(Step::Batch(Batch {
            synced: header.synced,
            frames: Frames::new(bytes, first, false),
        }))
    }

    /// Goes to the next whole batch behind the place where it is, or to the end.
    pub(crate) fn search(&mut self) -> io::Result<()> {
        let bytes = u64::from(self.at) + 1;
        let next = bytes.next_multiple_of(ALIGNMENT as u64).min(u64::from(self.end));
        self.at = next as u32;
        while self.at < self.end {
            if self.whole()?.is_some() {
                return Ok(());
            }
            self.at = self.at.saturating_add(ALIGNMENT as u32).min(self.end);
        }
        Ok(())
    }

    /// The header of the batch that begins here, if all of it is here and right.
    fn whole(&mut self) -> io::Result<Option<BatchHeader>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.position();
        let Some(header) = BatchHeader::decode(self.bytes(BATCH_HEADER_BYTES)?, at) else {
            return Ok(None);
        };
        let bytes = header.batch_bytes();
        let foreign = self.salt.is_some_and(|salt| salt != header.salt);
        if foreign || u64::from(self.at) + bytes > u64::from(self.end) {
            return Ok(None);
        }
        let batch = self.bytes(bytes as usize)?;
        let Some(records) = batch.get(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.bytes as usize) else {
            return Ok(None); // the file is shorter than it was when it was opened
        };
        let first = Position {
            offset: at.offset + BATCH_HEADER_BYTES as u32,
            ..at
        };
        Ok(Frames::new(records, first, true)
            .check(header.records)
            .then_some(header))
    }

    /// At least `count` bytes from where it is, fewer if the file ends before.
    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        let have = (self.chunk_at as usize + self.chunk.len()).saturating_sub(self.at as usize);
        if self.at < self.chunk_at || have < count.min((self.end - self.at) as usize) {
            self.read(count)?;
        }
        Ok(&self.chunk[(self.at - self.chunk_at) as usize..])
    }

    fn read(&mut self, count: usize) -> io::Result<()> {
        let size = count.max(CHUNK_BYTES).min((self.end - self.at) as usize);
        self.chunk.resize(size, 0);
        self.chunk_at = self.at;
        let mut filled = 0;
        while filled < size {
            let read = self
                .file
                .read_at(u64::from(self.at) + filled as u64, &mut self.chunk[filled..]);
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => {
                    self.chunk.clear();
                    return Err(error);
                }
            }
        }
        self.chunk.truncate(filled);
        if self.chunk.capacity() > 2 * CHUNK_BYTES && size <= CHUNK_BYTES {
            self.chunk.shrink_to(CHUNK_BYTES); // one large batch must not keep its memory
        }
        Ok(())
    }
}

/// The salt of the first whole batch of a segment, whatever salt it has.
pub(crate) fn salt_of_first(file: impl DiskFile, segment: u32, end: u32) -> Option<u32> {
    let mut scanner = Scanner::with_salt(file, segment, None, FIRST_OFFSET, end);
    if scanner.whole().ok()?.is_none() {
        scanner.search().ok()?;
    }
    scanner.whole().ok()?.map(|header| header.salt)
}
