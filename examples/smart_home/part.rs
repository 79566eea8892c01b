//! A sensor, the camera, the siren or the phone: a client of the controller.

use std::error::Error;

use wayside::Client;

use crate::log::worker;
use crate::places::{Side, settings};
use crate::protocol::{Event, Home, Part, Push, Reply, Request};
use crate::words::{Word, words};
use crate::{PATIENCE, PAUSE};

pub fn take_part(part: Part) -> Result<(), Box<dyn Error>> {
    let worker = worker()?;
    let settings = settings(Side::Controller, &[])?;
    let client = Client::<Home>::builder()
        .settings(&settings)?
        .connect(PATIENCE)
        .map_err(|error| format!("{error} (`smart_home controller` starts it)"))?;
    client.call(&Request::Join(part), PATIENCE)?;
    println!("{part}: ready");
    let pushes = worker.counter_with("pushes", &[("to", part.name())]);
    let words = words()?;
    loop {
        while let Ok(word) = words.try_recv() {
            match word {
                Word::End => {
                    client.close(PATIENCE)?;
                    return Ok(worker.close(PATIENCE)?);
                }
                Word::Said(line) => live(part, &client, &line)?,
            }
        }
        if let Some(push) = client.next_push(PAUSE) {
            pushes.one();
            react(part, &client, &push)?;
        }
    }
}

/// Something happens in the house.
fn live(part: Part, client: &Client<Home>, line: &str) -> Result<(), Box<dyn Error>> {
    match (part, line.split_once(' ').unwrap_or((line, ""))) {
        (Part::Phone, ("arm", _)) => {
            client.call(&Request::Arm, PATIENCE)?;
            println!("phone: armed");
        }
        (Part::Phone, ("disarm", code)) => {
            let code = code.to_owned();
            match client.call(&Request::Disarm { code }, PATIENCE)? {
                Reply::Done => println!("phone: disarmed"),
                Reply::WrongCode => println!("phone: wrong code"),
            }
        }
        (Part::Motion, ("motion", _)) | (Part::Door | Part::Window, ("open", _)) => {
            client.send(&Event::Sensed)?;
            client.flush(PATIENCE)?;
            println!("{part}: told the controller");
        }
        _ => eprintln!("{part}: what is `{line}`?"),
    }
    Ok(())
}

/// The controller wants something.
fn react(part: Part, client: &Client<Home>, push: &Push) -> Result<(), Box<dyn Error>> {
    match push {
        Push::Sound => println!("{part}: sounds"),
        Push::Silence => println!("{part}: silent"),
        Push::Alert { by } => println!("{part}: alert: {by}"),
        Push::TakePicture => {
            // It is dark.
            client.send(&Event::Picture {
                bytes: vec![0; 600],
            })?;
            client.flush(PATIENCE)?;
            println!("{part}: took a picture");
        }
    }
    Ok(())
}
