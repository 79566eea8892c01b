//! What a part hears besides the others: lines that are typed, and that it is to end.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What a part hears besides what the others say.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// A line of standard input.
    Said(String),
    /// It is to end.
    End,
}

pub fn words() -> io::Result<Receiver<Word>> {
    let (sender, words) = channel();
    end_on_signal(sender.clone())?;
    thread::spawn(move || {
        let lines = io::stdin().lines().map_while(Result::ok).map(Word::Said);
        for word in lines.chain([Word::End]) {
            // Who has ended does not listen any more.
            sender.send(word).ok();
        }
    });
    Ok(words)
}

/// SIGTERM and SIGINT.
#[cfg(unix)]
fn end_on_signal(sender: Sender<Word>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let (mut heard, told) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
    }
    thread::spawn(move || {
        if heard.read_exact(&mut [0]).is_ok() {
            sender.send(Word::End).ok();
        }
    });
    Ok(())
}

/// There are none.
#[cfg(not(unix))]
fn end_on_signal(_: Sender<Word>) -> io::Result<()> {
    Ok(())
}
