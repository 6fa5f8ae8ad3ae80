//! Snapshots of the caller's index, so that opening does not replay everything.
//!
//! ```text
//! snapshot = magic 8 | bytes 4 | crc 4 | header, then chunks; the last one is empty
//! header   = salt 4 | position 8 | next segment 4 | segments 4 | deaths 4,
//!            per segment: number 4 | bytes 4 | counted 8 | live 8, per pair with deaths: target 4 | holder 4 | bytes 8
//! chunk    = bytes 4 | crc 4 (over number 4, bytes), then the bytes
//! ```

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, is_space};
use crate::frame::{get_u32, put_u32};
use crate::journal::{Journal, read_all};
use crate::limits::{CHUNK_BYTES, SNAPSHOT_HEADER_BYTES_MAX, SNAPSHOT_SYNC_BYTES};
use crate::place::Position;
use crate::segments::{self, SNAPSHOT, State};

const MAGIC: [u8; 8] = *b"jsnap\0\0\x01";
const HEAD_BYTES: usize = 16;
const CHUNK_HEAD_BYTES: usize = 8;
const FIXED_BYTES: usize = 24;
const SEGMENT_BYTES: usize = 24;
const DEATHS_BYTES: usize = 16;

/// What the journal itself keeps in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u32,
    pub(crate) position: Position,
    pub(crate) next_segment: u32,
    pub(crate) segments: Vec<Counted>,
    /// Target, holder, bytes.
    pub(crate) deaths: Vec<(u32, u32, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) number: u32,
    /// 0: it may go, so nobody misses it.
    pub(crate) bytes: u32,
    pub(crate) counted: u64,
    pub(crate) live: u64,
}

/// A snapshot that is complete and durable: for [`Journal::end_snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) name: String,
    pub(crate) position: Position,
    pub(crate) bytes: u64,
    pub(crate) oldest_segment: Option<u32>,
}

/// A snapshot that is being written, on any thread, while the journal goes on.
///
/// What is written must be what lived where the snapshot began, see [`Journal::begin_snapshot`]. One that is dropped
/// unfinished leaves a file that the next opening removes.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    file: D::File,
    temporary: String,
    kept: Snapshot,
    at: u64,
    chunk: Vec<u8>,
    chunks: u32,
    unsynced: u64,
}

/// The bytes that a snapshot holds, read while the journal goes on.
#[derive(Debug)]
pub struct SnapshotBytes<F> {
    reader: SnapshotReader<F>,
    name: String,
    at: u64,
    chunks: u32,
    has_ended: bool,
}

impl<D: Disk> Journal<D> {
    /// Begins a snapshot of the index as it is now. It syncs first, as a snapshot must not know what a crash can
    /// take away.
    ///
    /// The caller may go on meanwhile. A record that lives now and has died before it is written may be left out, if its
    /// death is durable before the snapshot is finished: the replay finds it then, and misses nothing.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotWriter<D>, Error> {
        self.sync()?;
        let header = self.header();
        let temporary = segments::temporary(self.snapshots_begun);
        self.snapshots_begun += 1;
        let file = self
            .disk
            .create(&temporary)
            .map_err(failed("create", &temporary, 0))?;
        let Position { segment, offset } = header.position;
        let kept = Snapshot {
            name: format!("{segment:08x}-{offset:08x}{SNAPSHOT}"),
            position: header.position,
            bytes: 0,
            oldest_segment: header.segments.first().map(|segment| segment.number),
        };
        self.doubtful.push(kept.clone());
        let bytes = header.encode();
        let (disk, at) = (self.disk.clone(), bytes.len() as u64);
        let chunk = vec![0; CHUNK_HEAD_BYTES];
        let writer = SnapshotWriter {
            disk,
            file,
            temporary,
            kept,
            at,
            chunk,
            chunks: 0,
            unsynced: at,
        };
        if let Err(error) = writer.file.write_at(0, &bytes) {
            let _ = self.disk.remove(&writer.temporary);
            return Err(failed("write", &writer.temporary, at)(error));
        }
        Ok(writer)
    }

    /// Takes a snapshot that is complete; the oldest goes if there are too many.
    pub fn end_snapshot(&mut self, kept: Snapshot) -> Result<(), Error> {
        self.snapshots.retain(|other| other.name != kept.name);
        self.snapshots.push(kept);
        self.snapshots.sort_by_key(|kept| kept.position);
        self.remove_doubtful()?;
        while self.snapshots.len() > self.limits.snapshots_max {
            let name = &self.snapshots[0].name;
            self.disk.remove(name).map_err(Error::disk("remove", name))?;
            self.snapshots.remove(0);
            self.folder_unsynced = true;
        }
        Ok(())
    }

    /// Removes what is left of snapshots that have failed.
    fn remove_doubtful(&mut self) -> Result<(), Error> {
        while let Some(doubtful) = self.doubtful.last() {
            let name = &doubtful.name;
            let kept = self.snapshots.iter().any(|kept| kept.name == *name);
            match if kept { Ok(()) } else { self.disk.remove(name) } {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::disk("remove", name)(error));
                }
                _ => self.doubtful.pop(),
            };
        }
        Ok(())
    }

    /// Where the newest snapshot was taken.
    pub fn snapshot_position(&self) -> Option<Position> {
        self.snapshots.last().map(|kept| kept.position)
    }

    /// What the newest snapshot takes on the disk, in bytes; 0: there is none.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshots.last().map_or(0, |kept| kept.bytes)
    }

    /// The bytes of the newest snapshot, to be read while the journal goes on.
    pub fn newest_snapshot(&self) -> Result<Option<SnapshotBytes<D::File>>, Error> {
        let Some(Snapshot { name, bytes, .. }) = self.snapshots.last() else {
            return Ok(None);
        };
        let file = self.disk.open(name).map_err(Error::disk("open", name))?;
        let reader = SnapshotReader::open_header(file, *bytes).map_err(Error::disk("read", name))?;
        Ok(Some(SnapshotBytes {
            at: reader.first_chunk,
            reader,
            name: name.clone(),
            chunks: 0,
            has_ended: false,
        }))
    }

    fn header(&self) -> Header {
        let segments = self.segments.iter().map(|(number, segment)| Counted {
            number,
            bytes: if segment.state == State::Full {
                segment.bytes
            } else {
                0
            },
            counted: segment.counted,
            live: segment.live,
        });
        Header {
            salt: self.salt,
            position: self.end,
            next_segment: self.next_segment,
            segments: segments.collect(),
            deaths: self
                .segments
                .deaths()
                .iter()
                .map(|((to, by), bytes)| (*to, *by, *bytes))
                .collect(),
        }
    }
}

impl<F: DiskFile> SnapshotBytes<F> {
    /// Where it was taken.
    pub fn position(&self) -> Position {
        self.reader.header.position
    }

    /// Puts the next bytes in place of what `chunk` has. `false`: there are none.
    pub fn next(&mut self, chunk: &mut Vec<u8>) -> Result<bool, Error> {
        chunk.clear();
        if !self.has_ended {
            let read = self.reader.read_chunk(self.at, self.chunks, chunk);
            self.at = read.map_err(Error::disk("read", &self.name))?;
            self.chunks = self.chunks.wrapping_add(1);
            self.has_ended = chunk.is_empty();
        }
        Ok(!self.has_ended)
    }
}

impl<D: Disk> SnapshotWriter<D> {
    /// Where it is taken: what it holds is what lived there.
    pub fn position(&self) -> Position {
        self.kept.position
    }

    /// Writes the next bytes of the index, cut anywhere.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = CHUNK_HEAD_BYTES + CHUNK_BYTES - self.chunk.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = rest;
            if self.chunk.len() == CHUNK_HEAD_BYTES + CHUNK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Makes the snapshot complete and durable, under its name.
    pub fn finish(mut self) -> Result<Snapshot, Error> {
        let finished = self.put_in_place();
        if finished.is_err() {
            // It is worth nothing, and the disk may be full of it.
            let _ = self.disk.remove(&self.temporary);
        }
        finished.map(|()| self.kept)
    }

    /// Gives up: removes what has been written.
    pub fn abandon(self) -> Result<(), Error> {
        self.disk
            .remove(&self.temporary)
            .map_err(Error::disk("remove", self.temporary))
    }

    fn put_in_place(&mut self) -> Result<(), Error> {
        if self.chunk.len() > CHUNK_HEAD_BYTES {
            self.flush()?;
        }
        self.flush()?;
        self.file
            .sync()
            .map_err(failed("sync", &self.temporary, self.at))?;
        self.kept.bytes = self.at;
        let renamed = self.disk.rename(&self.temporary, &self.kept.name);
        renamed.map_err(Error::disk("rename", &self.temporary))?;
        self.disk
            .sync_folder()
            .map_err(Error::disk("sync the folder of", &self.kept.name))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = &mut self.chunk;
        let count = (bytes.len() - CHUNK_HEAD_BYTES) as u32;
        put_u32(bytes, 0, count);
        let crc = chunk_crc(self.chunks, &bytes[CHUNK_HEAD_BYTES..]);
        put_u32(bytes, 4, crc);
        let size = bytes.len() as u64;
        self.file
            .write_at(self.at, bytes)
            .map_err(failed("write", &self.temporary, size))?;
        (self.at, self.chunks) = (self.at + size, self.chunks.wrapping_add(1));
        bytes.truncate(CHUNK_HEAD_BYTES);
        self.unsynced += size;
        if self.unsynced >= SNAPSHOT_SYNC_BYTES {
            let synced = self.file.sync();
            synced.map_err(failed("sync", &self.temporary, self.at))?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

fn failed(action: &'static str, name: &str, bytes: u64) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        if is_space(&source) {
            Error::NoSpace { bytes, source }
        } else {
            Error::disk(action, name)(source)
        }
    }
}

fn chunk_crc(number: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes)
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        let Position { segment, offset } = self.position;
        let counts = [self.segments.len() as u32, self.deaths.len() as u32];
        for number in [self.salt, segment, offset, self.next_segment]
            .into_iter()
            .chain(counts)
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for segment in &self.segments {
            bytes.extend_from_slice(&segment.number.to_le_bytes());
            bytes.extend_from_slice(&segment.bytes.to_le_bytes());
            bytes.extend_from_slice(&segment.counted.to_le_bytes());
            bytes.extend_from_slice(&segment.live.to_le_bytes());
        }
        for (target, holder, count) in &self.deaths {
            bytes.extend_from_slice(&target.to_le_bytes());
            bytes.extend_from_slice(&holder.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes[..8].copy_from_slice(&MAGIC);
        let (count, crc) = (
            (bytes.len() - HEAD_BYTES) as u32,
            crc32c::crc32c(&bytes[HEAD_BYTES..]),
        );
        put_u32(&mut bytes, 8, count);
        put_u32(&mut bytes, 12, crc);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..FIXED_BYTES)?;
        let (segments, deaths) = (get_u32(fixed, 16) as usize, get_u32(fixed, 20) as usize);
        let rows = &bytes[FIXED_BYTES..];
        if rows.len() as u64 != segments as u64 * SEGMENT_BYTES as u64 + deaths as u64 * DEATHS_BYTES as u64 {
            return None;
        }
        let (counted, pairs) = rows.split_at(segments * SEGMENT_BYTES);
        let get_u64 = |row: &[u8], at| u64::from(get_u32(row, at)) | u64::from(get_u32(row, at + 4)) << 32;
        let counted = counted.chunks_exact(SEGMENT_BYTES).map(|row| Counted {
            number: get_u32(row, 0),
            bytes: get_u32(row, 4),
            counted: get_u64(row, 8),
            live: get_u64(row, 16),
        });
        let pairs = pairs
            .chunks_exact(DEATHS_BYTES)
            .map(|row| (get_u32(row, 0), get_u32(row, 4), get_u64(row, 8)));
        Some(Self {
            salt: get_u32(fixed, 0),
            position: Position {
                segment: get_u32(fixed, 4),
                offset: get_u32(fixed, 8),
            },
            next_segment: get_u32(fixed, 12),
            segments: counted.collect(),
            deaths: pairs.collect(),
        })
    }
}

/// A snapshot that was found whole, ready to be given to the index.
#[derive(Debug)]
pub(crate) struct SnapshotReader<F> {
    file: F,
    pub(crate) header: Header,
    first_chunk: u64,
}

impl<F: DiskFile> SnapshotReader<F> {
    /// Reads all of it once. An error says what is wrong with it; nothing of it is to be believed then.
    pub(crate) fn open(file: F, bytes: u64) -> io::Result<Self> {
        let reader = Self::open_header(file, bytes)?;
        if reader.chunks(|_| {})? != bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(reader)
    }

    /// Reads only the header.
    pub(crate) fn open_header(file: F, bytes: u64) -> io::Result<Self> {
        let mut head = [0; HEAD_BYTES];
        read_all(&file, 0, &mut head)?;
        let count = get_u32(&head, 8);
        if head[..8] != MAGIC || count > SNAPSHOT_HEADER_BYTES_MAX || u64::from(count) > bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut header = vec![0; count as usize];
        read_all(&file, HEAD_BYTES as u64, &mut header)?;
        if crc32c::crc32c(&header) != get_u32(&head, 12) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let header = Header::decode(&header).ok_or(io::ErrorKind::InvalidData)?;
        let first_chunk = HEAD_BYTES as u64 + u64::from(count);
        Ok(Self {
            file,
            header,
            first_chunk,
        })
    }

    /// Gives each chunk to `take`. Returns where the last one ends.
    pub(crate) fn chunks(&self, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        let (mut at, mut chunk) = (self.first_chunk, Vec::new());
        for number in 0.. {
            at = self.read_chunk(at, number, &mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            take(&chunk);
        }
        Ok(at)
    }

    /// Reads the chunk that begins at `at`. Returns where it ends.
    fn read_chunk(&self, at: u64, number: u32, chunk: &mut Vec<u8>) -> io::Result<u64> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        read_all(&self.file, at, &mut head)?;
        let count = get_u32(&head, 0) as usize;
        if count > CHUNK_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        chunk.resize(count, 0);
        read_all(&self.file, at + CHUNK_HEAD_BYTES as u64, chunk)?;
        if chunk_crc(number, chunk) != get_u32(&head, 4) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(at + (CHUNK_HEAD_BYTES + count) as u64)
    }
}
