//! One thread that reads from whoever is ready, once each and in turn, into one buffer for all.

use std::io;

use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create, delete, wait};

use super::{Buffer, READ_LEN, Server, Stream};

/// So many are asked for at once.
const EVENTS_MAX: usize = 64;

pub(super) fn take_in(server: &Server, streams: &mut [Box<dyn Stream>]) -> io::Result<()> {
    let poll = create(CreateFlags::CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        let data = EventData::new_u64(u64::try_from(index).expect("a small number"));
        add(&poll, stream.descriptor(), data, EventFlags::IN)?;
    }
    // The begin of a message whose end has not come, of each client.
    let mut rests = vec![Vec::with_capacity(server.len); streams.len()];
    let mut bytes = Buffer::new(READ_LEN + server.len);
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut open = streams.len();
    while open > 0 {
        events.clear();
        wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let index = usize::try_from(event.data.u64()).expect("it was one");
            let (stream, rest) = (&mut *streams[index], &mut rests[index]);
            bytes[..rest.len()].copy_from_slice(rest);
            let read = stream.read(&mut bytes[rest.len()..])?;
            if read == 0 {
                delete(&poll, stream.descriptor())?;
                open -= 1;
                continue;
            }
            let (end, len) = server.handle(stream, &bytes[..rest.len() + read]);
            rest.clear();
            rest.extend_from_slice(&bytes[end..end + len]);
        }
    }
    Ok(())
}
