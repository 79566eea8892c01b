//! The alarm: no I/O, no clock.

use crate::protocol::{Part, Push, Reply};

pub const CODE: &str = "1234";

/// Sounds only while it is armed.
#[derive(Debug, Default)]
pub struct Alarm {
    pub armed: bool,
    sounding: bool,
}

impl Alarm {
    /// A sensor has sensed something: who is to be told what.
    pub fn sensed(&mut self, by: Part) -> Vec<(Part, Push)> {
        if !self.armed {
            return Vec::new();
        }
        let mut pushes = vec![
            (Part::Phone, Push::Alert { by }),
            (Part::Camera, Push::TakePicture),
        ];
        if !self.sounding {
            pushes.push((Part::Siren, Push::Sound));
        }
        self.sounding = true;
        pushes
    }

    pub fn arm(&mut self) {
        self.armed = true;
    }

    pub fn disarm(&mut self, code: &str) -> (Reply, Vec<(Part, Push)>) {
        if code != CODE {
            return (Reply::WrongCode, Vec::new());
        }
        let sounded = std::mem::take(self).sounding;
        let silence = sounded.then_some((Part::Siren, Push::Silence));
        (Reply::Done, silence.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Sensed(Part),
        Arm,
        Disarm(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::sample::select(&Part::ALL[..3]).prop_map(Step::Sensed),
            Just(Step::Arm),
            prop_oneof![Just(CODE.to_owned()), "[0-9]{0,4}"].prop_map(Step::Disarm),
        ]
    }

    proptest! {
        #[test]
        fn the_siren_sounds_from_the_first_alert_until_the_right_code(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut alarm = Alarm::default();
            // What the siren, and somebody who looks on, know.
            let (mut sounds, mut armed, mut alerts, mut seen) = (false, false, 0, 0);
            for step in steps {
                let pushes = match step {
                    Step::Sensed(by) => {
                        seen += u32::from(armed);
                        alarm.sensed(by)
                    }
                    Step::Arm => {
                        alarm.arm();
                        armed = true;
                        Vec::new()
                    }
                    Step::Disarm(code) => {
                        let (reply, pushes) = alarm.disarm(&code);
                        prop_assert_eq!(reply == Reply::Done, code == CODE);
                        armed &= code != CODE;
                        pushes
                    }
                };
                for (to, push) in pushes {
                    match (to, push) {
                        (Part::Siren, Push::Sound) => {
                            prop_assert!(!sounds, "it sounds already");
                            sounds = true;
                        }
                        (Part::Siren, Push::Silence) => {
                            prop_assert!(sounds, "it is silent already");
                            sounds = false;
                        }
                        (Part::Phone, Push::Alert { .. }) => alerts += 1,
                        (Part::Camera, Push::TakePicture) => {}
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert_eq!(alerts, seen);
                prop_assert!(armed || !sounds, "it sounds, and nobody has armed it");
            }
        }
    }
}
