//! scratch
use std::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use wayside::*;
struct Echo;
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Text(String);
impl Protocol for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    type Event = Text;
    type Request = Text;
    type Reply = Text;
    type Push = Text;
}
#[derive(Default)]
struct H { events: u64 }
impl Handler<Echo> for H {
    fn event(&mut self, peer: &Peer<Echo>, e: Text) { self.events += 1; if e.0 == "push" { peer.push(&Text("pushed".into())).unwrap(); } }
    fn request(&mut self, _: &Peer<Echo>, r: Text, responder: Responder<Echo>) {
        let text = if r.0 == "count" { self.events.to_string() } else { r.0 };
        responder.reply(&Text(text)).unwrap();
    }
}
fn run(t: Transport) {
    let server = Server::<Echo>::builder().listen(t.clone()).bind(H::default()).unwrap().spawn().unwrap();
    let address = server.endpoints()[0].address().to_owned();
    let client = Client::<Echo>::builder().transport(t.at(address)).connect(Duration::from_secs(5)).unwrap();
    let s = Duration::from_secs(5);
    for i in 0..100 {
        assert_eq!(client.call(&Text(i.to_string()), s).unwrap().0, i.to_string());
    }
    let n = 20_000;
    let start = Instant::now();
    for _ in 0..n { client.call(&Text("hello".into()), s).unwrap(); }
    eprintln!("call {:?}", start.elapsed() / n);
    let n = 1_000_000u32;
    let start = Instant::now();
    for _ in 0..n {
        while let Err(e) = client.send(&Text("0123456789012345678901234567890123456789".into())) {
            assert!(matches!(e, SendError::Full{..}), "{e}");
            std::thread::yield_now();
        }
    }
    client.flush(s).unwrap();
    eprintln!("event {:?}", start.elapsed() / n);
    assert_eq!(client.call(&Text("count".into()), s).unwrap().0, n.to_string());
    client.send(&Text("push".into())).unwrap();
    assert_eq!(client.next_push(s).unwrap().0, "pushed");
    eprintln!("{:#?}", client.counters());
    client.close(s).unwrap();
    assert!(server.shutdown(s));
    eprintln!("{:?}", server.counters());
}
#[test]
fn uds() {
    let dir = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    run(Transport::new(backend::Uds::new(), dir.path().join("s.sock").to_str().unwrap()));
}
#[test]
fn tcp() {
    let dir = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    run(Transport::new(backend::Tcp::new(dir.path().join("k")), "127.0.0.1:0"));
}
