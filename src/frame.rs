//! Lengths and boundaries: a frame is a `u32` in little-endian order, then that many bytes.
//!
//! Pure functions over slices. Owns no buffer and does not know what the bytes mean.

use crate::close::CloseReason;

/// The bytes before the payload.
pub const HEADER_LEN: usize = 4;

/// Buffers of frames begin with so many bytes that are never used.
///
/// glibc's long allocations begin 16 bytes behind the begin of a page. On AMD's Zen 3 the instruction that copies
/// texts (`rep movsb`, in the kernel and in `memcpy`) takes three to twenty times as long where the place
/// within a page of what is written is 1 to 31 bytes behind that of what is read: so it was where a
/// socket's pages were read to the begin of such a buffer, and where a message's own was encoded to it.
pub const FRONT_LEN: usize = 64;

/// What the first bytes of a stream say about its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The frame is there, header included, and `len` bytes long.
    Whole {
        /// Header and payload.
        len: usize,
    },
    /// The frame will be whole once this many bytes are there.
    Needs {
        /// Header and payload; the header alone while it is not whole itself.
        len: usize,
    },
}

/// Finds the end of the frame that starts at `bytes[0]`.
///
/// # Errors
/// The header announces no payload at all, or more than `frame_len_max` bytes of it.
#[inline]
pub fn boundary(bytes: &[u8], frame_len_max: u32) -> Result<Boundary, CloseReason> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(Boundary::Needs { len: HEADER_LEN });
    };
    let announced = u32::from_le_bytes(*header);
    if announced > frame_len_max {
        return Err(CloseReason::FrameTooLong {
            len: announced,
            max: frame_len_max,
        });
    }
    if announced == 0 {
        return Err(CloseReason::Malformed("a frame without a payload"));
    }
    let len = payload_len(announced) + HEADER_LEN;
    Ok(if bytes.len() < len {
        Boundary::Needs { len }
    } else {
        Boundary::Whole { len }
    })
}

/// The length, header included, of a frame that this process has encoded itself.
///
/// # Panics
/// Never for bytes of an [`Outbox`](crate::outbox::Outbox): a header stands at every boundary.
pub fn own_len(bytes: &[u8]) -> usize {
    let header = bytes
        .first_chunk::<HEADER_LEN>()
        .expect("a frame of ours starts with its header");
    payload_len(u32::from_le_bytes(*header)) + HEADER_LEN
}

/// Starts a frame at the end of `bytes`: leaves room for the header. [`finish`] fills it in.
#[inline]
pub fn start(bytes: &mut Vec<u8>) -> usize {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; HEADER_LEN]);
    at
}

/// Fills in the header of the frame that starts at `at` and ends where `bytes` ends.
///
/// # Panics
/// Never: the encoder has kept the payload within a `u32`.
#[inline]
pub fn finish(bytes: &mut [u8], at: usize) {
    let payload = bytes.len() - at - HEADER_LEN;
    let header = u32::try_from(payload).expect("the encoder bounds a payload by frame_len_max");
    bytes[at..at + HEADER_LEN].copy_from_slice(&header.to_le_bytes());
}

#[inline]
fn payload_len(announced: u32) -> usize {
    usize::try_from(announced).expect("mio runs on no platform with pointers below 32 bits")
}
