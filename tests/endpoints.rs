//! Several endpoints at once: how a deployment moves from one transport to another.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use wayside::{Client, ClientBuilder, ClientState, Limits, Server, ServerThread, Transport};

/// Two places, and every combination of their transports.
fn on_every_two_transports(test: impl Fn(&Place, &Place)) {
    on_every_transport(|first| {
        for second in &places() {
            test(first, second);
        }
    });
}

/// A server at all of these places, and where it is reached.
fn serve_at(
    transports: &[&Transport],
    recorder: &Recorder,
) -> (ServerThread<Chat>, Vec<Transport>) {
    let listen = |builder: wayside::ServerBuilder<Chat>, transport: &&Transport| {
        builder.listen((*transport).clone())
    };
    let builder = transports.iter().fold(Server::builder(), listen);
    let server = builder.bind(recorder.clone()).unwrap().spawn().unwrap();
    let reached = transports.iter().zip(server.endpoints());
    let reached = reached
        .map(|(transport, endpoint)| transport.at(endpoint.address()))
        .collect();
    (server, reached)
}

fn client_of(transports: &[Transport]) -> ClientBuilder<Chat> {
    let add =
        |builder: ClientBuilder<Chat>, transport: &Transport| builder.transport(transport.clone());
    transports
        .iter()
        .fold(Client::builder(), add)
        .limits(hasty())
}

fn reached(client: &Client<Chat>) -> String {
    match client.state() {
        ClientState::Connected { endpoint } => endpoint,
        state => panic!("{state}"),
    }
}

#[test]
fn a_server_listens_at_all_its_endpoints() {
    on_every_two_transports(|first, second| {
        let recorder = Recorder::default();
        let (server, transports) = serve_at(&[&first.transport, &second.transport], &recorder);
        let clients = transports.iter().map(|transport| {
            let client = client_of(std::slice::from_ref(transport))
                .connect(PATIENCE)
                .unwrap();
            assert_eq!(recorder.connected().transport(), transport.to_string());
            client
        });
        let clients: Vec<_> = clients.collect();
        assert_eq!(server.broadcast(&"all".to_owned()).sent, 2);
        for client in &clients {
            assert_eq!(client.next_push(PATIENCE).unwrap(), "all");
            assert_eq!(echo(client, "both"), "both");
        }
    });
}

#[test]
fn a_client_takes_the_first_endpoint_that_is_served() {
    on_every_two_transports(|first, second| {
        let recorder = Recorder::default();
        let (server, both) = serve_at(&[&first.transport, &second.transport], &recorder);
        let client = client_of(&both).connect(PATIENCE).unwrap();
        assert_eq!(reached(&client), both[0].to_string());
        drop((client, server));
        // Now nobody is at the first.
        let (_server, only) = serve_at(&[&both[1]], &recorder);
        let client = client_of(&[both[0].clone(), only[0].clone()]);
        let client = client.connect(PATIENCE).unwrap();
        assert_eq!(reached(&client), only[0].to_string());
        assert_eq!(client.counters().attempts, 2, "without a pause in between");
    });
}

#[test]
fn with_nobody_at_any_endpoint_the_error_names_all() {
    on_every_two_transports(|first, second| {
        let (server, both) = serve_at(&[&first.transport, &second.transport], &Recorder::default());
        drop(server);
        let client = client_of(&both).start().unwrap();
        eventually("both were tried", || {
            matches!(client.state(), ClientState::Waiting { .. })
        });
        let text = client.state().to_string();
        for transport in &both {
            assert!(text.contains(&transport.to_string()), "{text}");
        }
    });
}

#[test]
fn one_endpoint_that_can_not_be_taken_gives_back_the_others() {
    on_every_two_transports(|first, second| {
        let (_server, taken) = serve_at(&[&second.transport], &Recorder::default());
        let (server, free) = serve_at(&[&first.transport], &Recorder::default());
        drop(server);
        let builder = Server::<Chat>::builder()
            .listen(free[0].clone())
            .listen(taken[0].clone());
        let error = builder.bind(Recorder::default()).err().unwrap();
        assert!(error.to_string().contains(&taken[0].to_string()), "{error}");
        serve_again(&free[0], &Limits::default(), &Recorder::default());
    });
}

#[test]
fn a_deployment_moves_between_transports_without_a_gap() {
    on_every_two_transports(|old, new| {
        let recorder = Recorder::default();
        let (mut server, both) = serve_at(&[&old.transport, &new.transport], &recorder);
        let client = client_of(&both).connect(PATIENCE).unwrap();
        let mut event = 0;
        let mut send = || {
            for _ in 0..100 {
                client.send(&note(event)).unwrap();
                event += 1;
            }
        };
        for step in [&both[1..], &both[..1], &both[..]] {
            send();
            assert!(server.shutdown(PATIENCE));
            send();
            let transports: Vec<&Transport> = step.iter().collect();
            drop(server);
            let serving = serve_again(transports[0], &hasty(), &recorder);
            client.wait_connected(PATIENCE).unwrap();
            eventually("it has moved", || {
                matches!(client.state(), ClientState::Connected { endpoint }
                    if endpoint == step[0].to_string())
            });
            server = serving.server;
        }
        client.close(PATIENCE).unwrap();
        let numbers = recorder.take_events().into_iter().map(|note| note.number);
        assert!(numbers.eq(0..600));
    });
}
