use super::chunks::KEPT_LEN;
use super::*;
use crate::frame;

fn outbox() -> Outbox {
    let mut outbox = Outbox::new(1 << 20);
    outbox.open();
    outbox
}

fn append(outbox: &mut Outbox, lane: Lane, payload: &[u8]) {
    let appended: Result<(), Refusal<()>> = outbox.append(lane, |bytes| {
        bytes.extend_from_slice(payload);
        Ok(())
    });
    appended.unwrap();
}

/// Writes at most so many bytes at a time; gives the payloads in the order they left.
fn write_all(outbox: &mut Outbox, at_once: usize) -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    while !outbox.is_drained() {
        let bytes = outbox.next_bytes();
        let len = bytes.len().min(at_once);
        stream.extend_from_slice(&bytes[..len]);
        outbox.written(len);
    }
    payloads(&stream)
}

fn payloads(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while !stream.is_empty() {
        let (frame, rest) = stream.split_at(frame::own_len(stream));
        payloads.push(frame[frame::HEADER_LEN..].to_vec());
        stream = rest;
    }
    payloads
}

#[test]
fn frames_leave_in_order_over_many_chunks() {
    let mut outbox = outbox();
    let frames: Vec<Vec<u8>> = (0..200_u8)
        .map(|n| vec![n; usize::from(n) * 20 + 1])
        .collect();
    for at_once in [1000, usize::MAX] {
        for frame in &frames {
            append(&mut outbox, Lane::Bulk, frame);
        }
        assert!(outbox.bulk.row.len() > 3);
        assert_eq!(write_all(&mut outbox, at_once), frames);
        assert_eq!(outbox.queued_len(), 0);
    }
}

#[test]
fn short_frames_that_are_enough_for_a_write_leave_in_one() {
    let mut outbox = outbox();
    for len in [1, 60, 66, 100, 1000] {
        while outbox.queued_len() < 64 * 1024 {
            append(&mut outbox, Lane::Bulk, &vec![7; len]);
        }
        let queued = outbox.queued_len();
        assert_eq!(outbox.next_bytes().len(), queued, "frames of {len} bytes");
        outbox.written(queued);
    }
}

#[test]
fn what_was_written_makes_room_without_new_memory() {
    let mut outbox = outbox();
    let frame = [7; 1000];
    for _ in 0..300 {
        append(&mut outbox, Lane::Bulk, &frame);
    }
    let chunks = outbox.bulk.row.len();
    for _ in 0..1000 {
        let len = outbox.next_bytes().len();
        outbox.written(len);
        while outbox.queued_len() < 300_000 {
            append(&mut outbox, Lane::Bulk, &frame);
        }
        assert!(outbox.bulk.row.len() + outbox.bulk.spare.len() <= chunks + 1);
    }
    write_all(&mut outbox, usize::MAX);
    outbox.shrink();
    assert!(outbox.bulk.spare.is_empty());
    assert!(outbox.bulk.row[0].capacity() <= KEPT_LEN);
}

#[test]
fn a_frame_that_was_begun_is_finished_before_an_urgent_one() {
    let mut outbox = outbox();
    append(&mut outbox, Lane::Bulk, b"one");
    append(&mut outbox, Lane::Bulk, b"two");
    outbox.written(5);
    append(&mut outbox, Lane::Urgent, b"urgent");
    assert_eq!(outbox.next_bytes(), b"ne");
    outbox.written(2);
    assert_eq!(write_all(&mut outbox, 3), [&b"urgent"[..], b"two"]);
}

#[test]
fn a_reset_keeps_what_was_not_written_whole() {
    let mut outbox = outbox();
    for n in 0..100 {
        append(&mut outbox, Lane::Bulk, &[n; 2000]);
    }
    // Into the middle of a frame of the second chunk.
    let first = outbox.next_bytes().len();
    outbox.written(first);
    outbox.written(2004 * 3 + 10);
    let written = u8::try_from(first / 2004 + 3).unwrap();
    outbox.append_last(|bytes| bytes.push(255));
    outbox.reset(|payload| payload[0] % 2 == 0 && payload[0] != 255);
    assert!(outbox.is_drained(), "the gate is closed");
    outbox.open();
    let left: Vec<u8> = write_all(&mut outbox, 5000).iter().map(|p| p[0]).collect();
    let wanted: Vec<u8> = (written..100).filter(|n| n % 2 == 0).collect();
    assert_eq!(left, wanted);
}

#[test]
fn nothing_leaves_behind_the_last_frame() {
    let mut outbox = outbox();
    append(&mut outbox, Lane::Bulk, &[1; 70_000]);
    append(&mut outbox, Lane::Urgent, &[2]);
    outbox.append_last(|bytes| bytes.push(3));
    append(&mut outbox, Lane::Bulk, &[4]);
    append(&mut outbox, Lane::Urgent, &[5]);
    let left: Vec<u8> = write_all(&mut outbox, 999).iter().map(|p| p[0]).collect();
    assert_eq!(left, [2, 1, 3]);
    assert_eq!(outbox.queued_len(), 10);
}

fn append_len(outbox: &mut Outbox, lane: Lane, len: usize) -> Result<(), Refusal<()>> {
    outbox.append(lane, |bytes| {
        bytes.resize(bytes.len() + len, 0);
        Ok(())
    })
}

#[test]
fn a_full_outbox_takes_the_frames_of_the_session_and_a_few_about_what_waits() {
    let mut outbox = Outbox::new(100);
    append_len(&mut outbox, Lane::Bulk, 90).unwrap();
    for lane in [Lane::Urgent, Lane::Bulk] {
        let refused = append_len(&mut outbox, lane, 10);
        assert_eq!(refused, Err(Refusal::Full { len: 94, max: 100 }));
    }
    append_len(&mut outbox, Lane::Control, 1000).unwrap();
    let reserved = |outbox: &mut Outbox| {
        outbox.append_reserved(Lane::Bulk, |bytes| {
            bytes.push(0);
            Ok::<(), ()>(())
        })
    };
    while reserved(&mut outbox).is_ok() {}
    assert!(outbox.queued_len() > 100 && outbox.queued_len() <= 100 + RESERVED_LEN);
    append_len(&mut outbox, Lane::Control, 1000).unwrap();
}
