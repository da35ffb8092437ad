//! The three algorithms behind one face, and a file on its way through one of them.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};

use md5::Md5;
use sha2::Sha256;
// The trait of the hash functions; `Digest` is what they return.
use sha2::digest::Digest as HashFunction;

use super::walk::{Job, Source};

/// Which digest to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Algorithm {
    /// MD5, as `md5sum`. Broken: good against accidents only.
    Md5,
    /// SHA-256, as `sha256sum`.
    Sha256,
    /// BLAKE3, as `b3sum`.
    Blake3,
}

impl Algorithm {
    /// What the command line calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }
}

/// The digest of a file. Displayed in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    bytes: [u8; 32],
    len: u8,
}

impl Digest {
    /// From at most 32 bytes.
    pub(super) fn new(digest: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..digest.len()].copy_from_slice(digest);
        let len = digest.len() as u8;
        Self { bytes, len }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.bytes[..usize::from(self.len)];
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A digest that is being computed.
enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Blake3 => Self::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Md5(hasher) => Digest::new(&hasher.finalize()),
            Self::Sha256(hasher) => Digest::new(&hasher.finalize()),
            Self::Blake3(hasher) => Digest::new(hasher.finalize().as_bytes()),
        }
    }
}

/// A file that is being read and hashed, one piece at a time.
pub(super) struct Reading {
    bytes_of: Box<dyn Read + Send>,
    hasher: Hasher,
    read: u64,
}

impl Reading {
    /// Opens the file of a job. May block, as all of this may.
    pub(super) fn open(job: &Job, algorithm: Algorithm) -> io::Result<Self> {
        let bytes_of: Box<dyn Read + Send> = match job.source {
            Source::File => Box::new(File::open(&job.path)?),
            Source::Stdin => Box::new(io::stdin()),
            Source::Nothing => Box::new(io::empty()),
        };
        Ok(Self { bytes_of, hasher: Hasher::new(algorithm), read: 0 })
    }

    /// Reads once and hashes that. Returns how many bytes it was: none at the end of the file.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.bytes_of.read(buffer) {
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.read += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of all that has been read, and how much that is.
    pub(super) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: Algorithm, pieces: &[&str]) -> String {
        let mut hasher = Hasher::new(algorithm);
        pieces.iter().for_each(|piece| hasher.update(piece.as_bytes()));
        hasher.finish().to_string()
    }

    /// From RFC 1321, FIPS 180-4 and the BLAKE3 paper's test vectors.
    #[test]
    fn known_digests() {
        for (algorithm, text, expected) in [
            (Algorithm::Md5, "", "d41d8cd98f00b204e9800998ecf8427e"),
            (Algorithm::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ] {
            assert_eq!(digest(algorithm, &[text]), expected);
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Blake3] {
            assert_eq!(digest(algorithm, &["a", "", "bc"]), digest(algorithm, &["abc"]));
        }
    }
}
