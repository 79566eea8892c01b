//! What the application's own code may do where the crate calls it: a logger that sends by the very
//! client that it is told of, a callback or a waker that drops the last of a client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use support::*;
use wayside::{Client, ClientState, CloseReason, Limits};

/// Sends what is logged as events, by the client that it is given.
struct Forwarder {
    client: Mutex<Option<Client<Chat>>>,
}

impl log::Log for Forwarder {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wayside")
    }

    fn log(&self, record: &log::Record<'_>) {
        let client = self.client.lock().unwrap().clone();
        if let Some(client) = client.filter(|_| self.enabled(record.metadata())) {
            let text = record.args().to_string();
            client.send(&Note { number: 0, text }).ok();
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_may_send_by_the_client_that_it_is_told_of() {
    static LOGGER: Forwarder = Forwarder {
        client: Mutex::new(None),
    };
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let limits = Limits {
            reconnect_delay_min: Duration::from_millis(1),
            ..Limits::default()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        *LOGGER.client.lock().unwrap() = Some(client.clone());
        serving.recorder.connected().close();
        let endpoint = serving.transport.to_string();
        serving.recorder.wait_for(|happened| match happened {
            Happened::Event(_, note) => note.text.contains(&endpoint).then_some(()),
            _ => None,
        });
        *LOGGER.client.lock().unwrap() = None;
        client.close(PATIENCE).unwrap();
    });
}

#[test]
fn the_last_of_a_client_may_go_in_its_own_callback() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let kept: Arc<Mutex<Option<Client<Chat>>>> = Arc::default();
        let (sender, gone) = mpsc::channel();
        let let_go = {
            let kept = Arc::clone(&kept);
            move |state: ClientState| {
                if matches!(state, ClientState::Waiting { .. }) {
                    let client = kept.lock().unwrap().take();
                    drop(client);
                    sender.send(()).ok();
                }
            }
        };
        let builder = serving.builder().on_state(let_go);
        *kept.lock().unwrap() = Some(builder.connect(PATIENCE).unwrap());
        serving.recorder.connected().close();
        gone.recv_timeout(PATIENCE).unwrap();
    });
}

/// A task that is over once it is woken, and lets go of its client then.
struct Task {
    client: Mutex<Option<Client<Chat>>>,
    is_over: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let client = self.client.lock().unwrap().take();
        drop(client);
        self.is_over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_last_of_a_client_may_go_in_a_waker_and_still_says_goodbye() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let mut pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let task = Arc::new(Task {
            client: Mutex::new(Some(client)),
            is_over: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&task));
        let polled = Pin::new(&mut pending).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        serving.recorder.held().reply(&"now".to_owned()).unwrap();
        eventually("the task is over", || task.is_over.load(Ordering::SeqCst));
        assert_eq!(pending.wait().unwrap(), "now");
        let reason = serving.recorder.disconnected();
        assert!(matches!(reason, CloseReason::Finished), "{reason}");
    });
}
