//! Reports as lines of JSON: to standard output, or to a file that rotates.
//!
//! A line is whole or it is not there: what a crash or a full disk has left of one is ended before the
//! next, so a reader loses that line and no other.

use std::io::{self, Write};
use std::path::Path;

use super::rotating::RotatingFile;
use super::{Sink, SinkError};
use crate::aggregator::report::Report;

pub use super::rotating::Rotation;

/// Writes each report as one line of JSON, in the form of
/// [docs/reports.md](https://docs.rs/crate/wayside/latest/source/docs/reports.md).
///
/// A report counts as taken once the system has the line: it survives the end of the agent, and not
/// a crash of the system a moment later.
///
/// ```
/// use wayside::aggregator::sink::{JsonLines, Rotation};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("reports.jsonl");
/// let sink = JsonLines::file(&path, Rotation::default())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JsonLines {
    name: String,
    output: Output,
    line: Vec<u8>,
}

enum Output {
    Stream(Stream),
    File(RotatingFile),
}

/// Somewhere that nothing can be read back from.
struct Stream {
    writer: Box<dyn Write + Send>,
    /// Whether a line may have been begun and not ended.
    torn: bool,
}

impl JsonLines {
    /// To standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::writer("stdout", io::stdout())
    }

    /// To any writer; it is flushed behind each line.
    pub fn writer(name: &str, writer: impl Write + Send + 'static) -> Self {
        let (writer, torn) = (Box::new(writer), false);
        Self::new(name.to_owned(), Output::Stream(Stream { writer, torn }))
    }

    /// To a file, which is created for its owner only if it is not there, and otherwise continued.
    ///
    /// # Errors
    /// The file can't be opened or read, or is a link.
    pub fn file(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = RotatingFile::open(path, rotation)?;
        let name = format!("file {}", path.display());
        Ok(Self::new(name, Output::File(file)))
    }

    fn new(name: String, output: Output) -> Self {
        let line = Vec::new();
        Self { name, output, line }
    }
}

impl Sink for JsonLines {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, report)
            .map_err(|error| SinkError::never(format!("it has no form in JSON: {error}")))?;
        self.line.push(b'\n');
        let written = match &mut self.output {
            Output::Stream(stream) => stream.write_line(&self.line),
            Output::File(file) => file.write_line(&self.line),
        };
        written.map_err(|error| SinkError::soon(format!("{}: {error}", self.name)))
    }
}

impl Stream {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.writer.write_all(b"\n")?;
        }
        self.torn = true;
        self.writer.write_all(line)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }
}
