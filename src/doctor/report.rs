//! What was found, to look at and to print.

use std::fmt;

use crate::backend::{Finding, Weight};

/// All transports, with what was found about each. Prints itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// First those that the settings name, in their order; then the others.
    pub transports: Vec<Examined>,
}

impl Report {
    /// Whether every transport that the settings name would work.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let mut chosen = self.transports.iter().filter(|found| found.is_chosen);
        chosen.all(|found| found.verdict() != Verdict::WouldNotWork)
    }
}

/// One transport.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examined {
    /// Its name in settings.
    pub scheme: String,
    /// Where it would be; `None` if that could not be told.
    pub address: Option<String>,
    /// Whether the settings name it.
    pub is_chosen: bool,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// Whether a transport would work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It would.
    Works,
    /// It would, but not for everybody, or not for long.
    WorksWithAWarning,
    /// It would not.
    WouldNotWork,
}

impl Examined {
    /// Whether it would work.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.findings.iter().map(|finding| finding.weight).max() {
            None | Some(Weight::Note) => Verdict::Works,
            Some(Weight::Warning) => Verdict::WorksWithAWarning,
            Some(Weight::Obstacle) => Verdict::WouldNotWork,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "works",
            Self::WorksWithAWarning => "works, with a warning",
            Self::WouldNotWork => "would not work",
        })
    }
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if let Some(address) = &self.address {
            write!(f, ":{address}")?;
        }
        let chosen = if self.is_chosen { " (chosen)" } else { "" };
        write!(f, "{chosen}: {}", self.verdict())?;
        for finding in &self.findings {
            let weight = match finding.weight {
                Weight::Note => "note",
                Weight::Warning => "warning",
                Weight::Obstacle => "obstacle",
            };
            write!(f, "\n  {weight}: {}", finding.text)?;
        }
        Ok(())
    }
}

/// One transport a line, and one indented line for each finding.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, examined) in self.transports.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{examined}")?;
        }
        Ok(())
    }
}
