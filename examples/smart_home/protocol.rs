//! What the parts of the house say to each other.

use std::fmt;

use serde::{Deserialize, Serialize};
use wayside::Protocol;

pub struct Home;

impl Protocol for Home {
    const NAME: &'static str = "smart-home";
    const VERSION: u32 = 1;
    type Event = Event;
    type Request = Request;
    type Reply = Reply;
    type Push = Push;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    Motion,
    Door,
    Window,
    Camera,
    Siren,
    Phone,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// From a sensor.
    Sensed,
    /// From the camera.
    Picture { bytes: Vec<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// From each part first: this is me.
    Join(Part),
    /// From the phone.
    Arm,
    /// From the phone.
    Disarm { code: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    WrongCode,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// To the siren.
    Sound,
    /// To the siren.
    Silence,
    /// To the camera.
    TakePicture,
    /// To the phone.
    Alert { by: Part },
}

impl Part {
    pub const ALL: [Self; 6] = [
        Self::Motion,
        Self::Door,
        Self::Window,
        Self::Camera,
        Self::Siren,
        Self::Phone,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::Door => "door",
            Self::Window => "window",
            Self::Camera => "camera",
            Self::Siren => "siren",
            Self::Phone => "phone",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_name_of_its_own() {
        for part in Part::ALL {
            assert_eq!(Part::named(part.name()), Some(part));
        }
        assert_eq!(Part::named("cat"), None);
    }
}
