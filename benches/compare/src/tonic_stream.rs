//! tonic, gRPC over a Unix socket: unary calls, and one stream of messages each way for events.
//!
//! One message for all lengths, with a body of bytes that is not copied where that can be avoided.
//! The service is written out as its generator would write it. The windows of HTTP/2 are wide enough
//! for the longest message.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::case::{Case, Workload};
use crate::ledger::Ledger;
use crate::message::{self, CONFIRM, Message};
use crate::side::Serving;
use crate::{Error, platform, tasks};

const ECHO: &str = "/wayside.Measured/Echo";
const TAKE: &str = "/wayside.Measured/Take";

/// So many messages may wait between the program and the connection.
const QUEUE_LEN: usize = 1024;

const WINDOW_LEN: u32 = 4 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Packet {
    #[prost(fixed64, tag = "1")]
    number: u64,
    #[prost(fixed64, tag = "2")]
    check: u64,
    #[prost(uint32, tag = "3")]
    source: u32,
    /// 0 where nobody wants to know.
    #[prost(fixed64, tag = "4")]
    sent_ns: u64,
    #[prost(bytes = "bytes", tag = "5")]
    body: Bytes,
}

impl Packet {
    fn sum(&self, body_sum: u64) -> u64 {
        body_sum
            .wrapping_add(self.number)
            .wrapping_add(self.sent_ns)
            .wrapping_add(u64::from(self.source))
    }
}

impl Message for Packet {
    fn of_len(len: usize, source: usize) -> Self {
        Self {
            source: u32::try_from(source).expect("a small number"),
            body: message::pattern(len - 32).collect(),
            ..Self::default()
        }
    }

    fn number(&mut self, number: u64) {
        self.number = number;
    }

    fn verified(&self) -> Option<u64> {
        let sum = self.sum(message::sum(&self.body));
        (self.check == sum).then_some(self.number)
    }

    fn source(&self) -> usize {
        usize::try_from(self.source).unwrap_or(usize::MAX)
    }

    fn sent_ns(&self) -> Option<u64> {
        (self.sent_ns != 0).then_some(self.sent_ns)
    }
}

// ---- the server ----

#[derive(Clone)]
struct Measured(Arc<Ledger>);

impl NamedService for Measured {
    const NAME: &'static str = "wayside.Measured";
}

impl Service<http::Request<Body>> for Measured {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let measured = self.clone();
        let codec = ProstCodec::<Packet, Packet>::default();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(codec);
            Ok(match request.uri().path() {
                ECHO => grpc.unary(measured, request).await,
                TAKE => grpc.streaming(measured, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

impl UnaryService<Packet> for Measured {
    type Response = Packet;
    type Future = BoxFuture<Response<Packet>, Status>;

    fn call(&mut self, request: Request<Packet>) -> Self::Future {
        let packet = request.into_inner();
        self.0.verify(&packet);
        Box::pin(async move { Ok(Response::new(packet)) })
    }
}

impl StreamingService<Packet> for Measured {
    type Response = Packet;
    type ResponseStream = ReceiverStream<Result<Packet, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Packet>>) -> Self::Future {
        let ledger = Arc::clone(&self.0);
        let mut packets = request.into_inner();
        let (confirm, confirmations) = mpsc::channel(1);
        tokio::spawn(async move {
            // An error is how a client goes.
            while let Some(Ok(packet)) = packets.next().await {
                let number = ledger.verify(&packet);
                let confirmation = Packet {
                    number,
                    ..Packet::default()
                };
                if number & CONFIRM != 0 && confirm.send(Ok(confirmation)).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(confirmations))) })
    }
}

pub fn serve(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let measured = Measured(Arc::clone(&ledger));
    let path = folder.join("tonic");
    let address = path.to_str().ok_or("a path that is no text")?.to_owned();
    let runtime = tasks::runtime()?;
    let listener = {
        let _inside = runtime.enter();
        UnixListenerStream::new(UnixListener::bind(&path)?)
    };
    thread::spawn(move || {
        let server = Server::builder()
            .initial_stream_window_size(WINDOW_LEN)
            .initial_connection_window_size(WINDOW_LEN)
            .add_service(measured)
            .serve_with_incoming(listener);
        runtime.block_on(server).expect("a working listener");
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

// ---- the client ----

pub struct Member {
    way: Way,
    packet: Packet,
    body_sum: u64,
    is_timed: bool,
}

enum Way {
    Calls(tonic::client::Grpc<Channel>),
    Events {
        packets: mpsc::Sender<Packet>,
        confirmations: Streaming<Packet>,
    },
}

impl Member {
    pub async fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        let path = PathBuf::from(address);
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // It wants some address, and does not look at it.
        let channel = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(WINDOW_LEN)
            .initial_connection_window_size(WINDOW_LEN)
            .connect_with_connector(connect)
            .await?;
        let mut grpc = tonic::client::Grpc::new(channel);
        let way = if case.workload == Workload::Calls {
            Way::Calls(grpc)
        } else {
            let (packets, outgoing) = mpsc::channel(QUEUE_LEN);
            let request = Request::new(ReceiverStream::new(outgoing));
            let codec = ProstCodec::<Packet, Packet>::default();
            grpc.ready().await?;
            let take = PathAndQuery::from_static(TAKE);
            let response = grpc.streaming(request, take, codec).await?;
            Way::Events {
                packets,
                confirmations: response.into_inner(),
            }
        };
        let packet = Packet::of_len(case.len, source);
        Ok(Self {
            way,
            body_sum: message::sum(&packet.body),
            packet,
            is_timed: case.workload == Workload::Bursts,
        })
    }

    /// The next packet; all share one body.
    fn numbered(&mut self, number: u64) -> Packet {
        self.packet.number = number;
        if self.is_timed {
            self.packet.sent_ns = platform::now_ns();
        }
        self.packet.check = self.packet.sum(self.body_sum);
        self.packet.clone()
    }
}

impl tasks::Member for Member {
    async fn call(&mut self, number: u64) -> Result<(), Error> {
        let packet = self.numbered(number);
        let Way::Calls(grpc) = &mut self.way else {
            return Err("connected for something else".into());
        };
        grpc.ready().await?;
        let codec = ProstCodec::<Packet, Packet>::default();
        let echo = PathAndQuery::from_static(ECHO);
        let response = grpc.unary(Request::new(packet), echo, codec).await?;
        assert_eq!(
            response.get_ref().verified(),
            Some(number),
            "another answer"
        );
        Ok(())
    }

    async fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        for number in first..first + count {
            let packet = self.numbered(number);
            let Way::Events { packets, .. } = &self.way else {
                return Err("connected for something else".into());
            };
            packets.send(packet).await?;
        }
        Ok(())
    }

    /// Another task does.
    async fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.send_many(number, 1).await?;
        let Way::Events { confirmations, .. } = &mut self.way else {
            return Err("connected for something else".into());
        };
        let confirmation = confirmations.message().await?;
        let confirmation = confirmation.ok_or("the server has gone")?;
        assert_eq!(confirmation.number, number);
        Ok(())
    }
}
