//! The section `[limits]`: one key per field of [`Limits`].

use std::time::Duration;

use super::value::Value;
use crate::limits::Limits;

/// A field of [`Limits`].
enum Slot<'a> {
    U32(&'a mut u32),
    Usize(&'a mut usize),
    Duration(&'a mut Duration),
}

/// Every field by its name. A field that is missing here does not compile, and one that has no
/// key is found by a test.
fn slots(limits: &mut Limits) -> [(&'static str, Slot<'_>); 15] {
    let Limits {
        frame_len_max,
        outbox_len_max,
        partial_len_max,
        calls_max,
        peers_max,
        handshakes_max,
        pushes_max,
        pushes_len_max,
        handshake_timeout,
        ping_interval,
        silence_timeout,
        frame_timeout,
        stall_timeout,
        reconnect_delay_min,
        reconnect_delay_max,
    } = limits;
    [
        ("frame_len_max", Slot::U32(frame_len_max)),
        ("outbox_len_max", Slot::Usize(outbox_len_max)),
        ("partial_len_max", Slot::Usize(partial_len_max)),
        ("calls_max", Slot::U32(calls_max)),
        ("peers_max", Slot::U32(peers_max)),
        ("handshakes_max", Slot::U32(handshakes_max)),
        ("pushes_max", Slot::U32(pushes_max)),
        ("pushes_len_max", Slot::Usize(pushes_len_max)),
        ("handshake_timeout", Slot::Duration(handshake_timeout)),
        ("ping_interval", Slot::Duration(ping_interval)),
        ("silence_timeout", Slot::Duration(silence_timeout)),
        ("frame_timeout", Slot::Duration(frame_timeout)),
        ("stall_timeout", Slot::Duration(stall_timeout)),
        ("reconnect_delay_min", Slot::Duration(reconnect_delay_min)),
        ("reconnect_delay_max", Slot::Duration(reconnect_delay_max)),
    ]
}

/// The value of the field `name`.
pub(super) fn value(limits: &Limits, name: &str) -> Option<Value> {
    let mut copy = limits.clone();
    let (_, slot) = slots(&mut copy)
        .into_iter()
        .find(|(field, _)| *field == name)?;
    Some(match slot {
        Slot::U32(number) => Value::Number(u64::from(*number)),
        Slot::Usize(number) => Value::Number(u64::try_from(*number).unwrap_or(u64::MAX)),
        Slot::Duration(duration) => Value::Duration(*duration),
    })
}

/// Sets the field `name`. A value that does not fit was refused when it was read, against the
/// key's [`Kind`](super::keys::Kind); it would change nothing here.
pub(super) fn set(limits: &mut Limits, name: &str, value: &Value) {
    let Some((_, slot)) = slots(limits).into_iter().find(|(field, _)| *field == name) else {
        return;
    };
    match (slot, value) {
        (Slot::U32(field), Value::Number(number)) => {
            *field = u32::try_from(*number).unwrap_or(*field);
        }
        (Slot::Usize(field), Value::Number(number)) => {
            *field = usize::try_from(*number).unwrap_or(*field);
        }
        (Slot::Duration(field), Value::Duration(duration)) => *field = *duration,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{self, Kind, Width};
    use super::*;

    #[test]
    fn every_field_has_a_key_of_its_kind() {
        let mut limits = Limits::default();
        let mut keys = keys::of_section("limits");
        for (name, slot) in slots(&mut limits) {
            let key = keys.next().unwrap();
            assert_eq!(key.name, name, "the keys stand in the order of the fields");
            let fits = match slot {
                Slot::U32(_) => matches!(key.kind, Kind::Count | Kind::Size(Width::U32)),
                Slot::Usize(_) => key.kind == Kind::Size(Width::Usize),
                Slot::Duration(_) => key.kind == Kind::Duration,
            };
            assert!(fits, "{name} can't hold every value that its key takes");
        }
        assert!(keys.next().is_none());
    }
}
