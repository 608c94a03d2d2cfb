//! The bytes of a file or a pipe, read through one buffer, with a bound on how many.
use super::fault::Fault;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

/// Reads forward; back only where what is underneath can seek. All memory is the one buffer, and what
/// [`Bytes::up_to`] is asked for.
pub(super) struct Bytes {
    inner: Box<dyn Inner>,
    seekable: bool,
    /// Of the whole file, where that is known.
    length: Option<u64>,
    buffer: Vec<u8>,
    /// Place in the buffer, and place of the buffer's end in the file.
    at: usize,
    end: u64,
    /// Bytes that may still be read.
    allowance: u64,
}

impl Bytes {
    pub fn file<R: Read + Seek + Send + Sync + 'static>(mut reader: R) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        let allowance = length.saturating_mul(MOST_READINGS).saturating_add(BUFFER as u64 * 16);
        Ok(Self::new(Box::new(Seekable(reader)), true, Some(length), allowance))
    }

    pub fn pipe<R: Read + Send + Sync + 'static>(reader: R) -> Self {
        Self::new(Box::new(Forward(reader)), false, None, u64::MAX)
    }

    fn new(inner: Box<dyn Inner>, seekable: bool, length: Option<u64>, allowance: u64) -> Self {
        Self { inner, seekable, length, buffer: Vec::new(), at: 0, end: 0, allowance }
    }

    /// Bytes before the next one to be read.
    pub fn position(&self) -> u64 {
        self.end - self.waiting() as u64
    }

    pub fn length(&self) -> Option<u64> {
        self.length
    }

    pub fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn waiting(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// What comes next, at least `count` bytes unless the file ends before; nothing is consumed. `count` is at
    /// most [`MOST_PEEKED`].
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let count = count.min(MOST_PEEKED);
        while self.waiting() < count && self.fill(count)? {}
        Ok(&self.buffer[self.at..])
    }

    /// False at the end.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let before = self.buffer.len();
        // What a pipe holds is taken as it comes; its reader must not wait for a whole buffer.
        self.buffer.resize(before + BUFFER.max(wanted.saturating_sub(before)), 0);
        let got = self.read_inner(before);
        self.buffer.truncate(before + *got.as_ref().unwrap_or(&0));
        self.end += *got.as_ref().unwrap_or(&0) as u64;
        got.map(|got| got > 0)
    }

    fn read_inner(&mut self, from: usize) -> io::Result<usize> {
        if self.allowance == 0 {
            return Err(io::Error::other("it sends its reader round in circles"));
        }
        loop {
            match self.inner.read(&mut self.buffer[from..]) {
                Ok(got) => {
                    self.allowance = self.allowance.saturating_sub(got as u64);
                    return Ok(got);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills `out` as far as the file goes.
    pub fn read_up_to(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < out.len() {
            if self.waiting() == 0 && !self.fill(1)? {
                break;
            }
            let count = self.waiting().min(out.len() - got);
            out[got..got + count].copy_from_slice(&self.buffer[self.at..self.at + count]);
            (self.at, got) = (self.at + count, got + count);
        }
        Ok(got)
    }

    /// Exactly `N` bytes, or the header ends too early.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        if self.read_up_to(&mut out)? < N { Err(Fault::ends_in_header()) } else { Ok(out) }
    }

    /// The next `count` bytes; fewer only at the file's end. The memory taken grows with what is really there.
    pub fn up_to(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < count {
            let before = out.len();
            out.resize(count.min(before + MOST_PEEKED), 0);
            let got = self.read_up_to(&mut out[before..])?;
            if before + got < out.len() {
                out.truncate(before + got);
                break;
            }
        }
        Ok(out)
    }

    /// Goes over `count` bytes; false if the file ends before.
    pub fn skip(&mut self, count: u64) -> io::Result<bool> {
        let buffered = (self.waiting() as u64).min(count);
        self.at += buffered as usize;
        let mut left = count - buffered;
        if let (true, Some(length)) = (self.seekable && left > BUFFER as u64, self.length) {
            let target = self.end.saturating_add(left);
            self.seek_to(target.min(length))?;
            return Ok(target <= length);
        }
        while left > 0 {
            if !self.fill(1)? {
                return Ok(false);
            }
            let count = (self.waiting() as u64).min(left);
            (self.at, left) = (self.at + count as usize, left - count);
        }
        Ok(true)
    }

    /// Only where [`Bytes::is_seekable`], or forward.
    pub fn seek_to(&mut self, position: u64) -> io::Result<()> {
        let begins = self.end - self.buffer.len() as u64;
        if (begins..=self.end).contains(&position) {
            self.at = (position - begins) as usize;
            return Ok(());
        }
        if !self.seekable {
            return match position.checked_sub(self.position()) {
                Some(count) => self.skip(count).map(|_| ()),
                None => Err(io::Error::other("a pipe can't be read twice")),
            };
        }
        self.inner.seek_to(position)?;
        self.buffer.clear();
        (self.at, self.end) = (0, position);
        Ok(())
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.waiting() == 0 && !self.fill(1)? {
            return Ok(0);
        }
        let count = self.waiting().min(out.len());
        self.read_up_to(&mut out[..count])
    }
}

trait Inner: Read + Send + Sync {
    fn seek_to(&mut self, position: u64) -> io::Result<()>;
}

struct Seekable<R>(R);
struct Forward<R>(R);

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<R: Read> Read for Forward<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<R: Read + Seek + Send + Sync> Inner for Seekable<R> {
    fn seek_to(&mut self, position: u64) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(position)).map(|_| ())
    }
}

impl<R: Read + Send + Sync> Inner for Forward<R> {
    fn seek_to(&mut self, _position: u64) -> io::Result<()> {
        Err(io::Error::other("a pipe can't be read twice"))
    }
}

/// One read of the file. Skips shorter than this are read through: seeking costs as much.
const BUFFER: usize = 32 << 10;
/// How far ahead a format may look: two of the longest MPEG frames behind 64 KiB of junk.
pub(super) const MOST_PEEKED: usize = 72 << 10;
/// A file is read at most this often in all: for its length, for tables at its end, for its sound, and once more
/// for buffers thrown away between them.
const MOST_READINGS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_in_circles_ends_in_an_error_and_not_in_a_loop() {
        let mut bytes = Bytes::file(io::Cursor::new(vec![7; 1 << 20])).unwrap();
        let ended = (0..1_000).find_map(|_| {
            bytes.skip(1 << 19).and_then(|_| bytes.up_to(1 << 18)).err().or_else(|| bytes.seek_to(0).err())
        });
        assert!(ended.is_some());
    }

    #[test]
    fn a_pipe_and_a_file_give_the_same_bytes() {
        let all: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        for mut bytes in [Bytes::pipe(io::Cursor::new(all.clone())), Bytes::file(io::Cursor::new(all.clone())).unwrap()]
        {
            assert_eq!(bytes.peek(5).unwrap()[..5], all[..5]);
            assert!(bytes.skip(100_000).unwrap());
            assert_eq!(bytes.position(), 100_000);
            assert_eq!(bytes.array::<4>().unwrap_or_default(), all[100_000..100_004]);
            assert_eq!(bytes.up_to(1 << 30).unwrap(), all[100_004..]);
            assert!(!bytes.skip(1).unwrap());
        }
    }
}
