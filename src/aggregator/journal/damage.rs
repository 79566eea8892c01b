//! What a journal has lost, in words.

use std::fmt;

/// Where a journal was cut when it was opened, and what went with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file's name in the journal's directory.
    pub file: String,
    /// The first byte that was lost.
    pub offset: u64,
    /// How many bytes were lost, from there to the end of the file.
    pub len: u64,
    /// What was wrong at that place.
    pub why: Why,
    /// The file of the journal's directory where those bytes are kept, to be looked at. There is one such
    /// file, and none for what a crash leaves.
    pub kept: Option<String>,
}

/// What is wrong with a place in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The file ends within a record, or its length came to the disk and its bytes did not. After a
    /// crash that is ordinary: nothing that was synced is in such a place.
    Torn,
    /// The bytes are not those that were written. Also what a crash may leave of bytes that were not
    /// yet synced; but if no crash was, the disk is failing or someone else writes there.
    Checksum,
    /// The bytes are those that were written, and no record of this build.
    Undecodable,
    /// The file does not begin as a journal does.
    Header,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            len,
            why,
            kept,
        } = self;
        write!(
            f,
            "journal {file}: cut at byte {offset}, {len} bytes lost: {why}"
        )?;
        match kept {
            Some(kept) => write!(f, "; they are kept in the file {kept} beside it"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "it ends within a record, as after a crash",
            Self::Checksum => "the checksum does not fit the record",
            Self::Undecodable => "the record is of another build",
            Self::Header => "it does not begin as a journal does",
        })
    }
}
