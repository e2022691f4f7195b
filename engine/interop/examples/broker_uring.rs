//! The minimal broker of `broker_tokio.rs` on tokio-uring: the sockets go through a ring of the runtime, the log
//! through the engine's own. The engine asks for no runtime, so nothing but the sockets differs.
//!
//! `cargo run -p ringmain-interop --example broker_uring -- DIRECTORY`, then `nc localhost 7401`.

use std::error::Error;

use ringmain_engine::embed::{Config, Engine};
use ringmain_engine::types::LogId;
use tokio_uring::net::{TcpListener, TcpStream};

/// A line longer than this ends the connection.
const LINE_BYTES_MAX: usize = 1 << 16;

/// Takes connections for ever; each has a task of its own on this thread.
pub async fn serve(engine: Engine, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let engine = engine.clone();
        tokio_uring::spawn(async move {
            if let Err(error) = session(engine, stream).await {
                eprintln!("a connection has ended: {error}");
            }
        });
    }
}

async fn session(engine: Engine, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut received = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        // The kernel owns the buffer until the read is complete.
        let (read, back) = stream.read(buffer).await;
        buffer = back;
        let count = read?;
        received.extend_from_slice(&buffer[..count]);
        let mut replies = Vec::new();
        while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = received.drain(..=end).collect();
            let reply = match answer(&engine, String::from_utf8_lossy(&line).trim_end()).await {
                Ok(reply) => format!("OK {reply}\n"),
                Err(error) => format!("NO {error}\n"),
            };
            replies.extend_from_slice(reply.as_bytes());
        }
        if !replies.is_empty() {
            stream.write_all(replies).await.0?;
        }
        if count == 0 || received.len() > LINE_BYTES_MAX {
            return Ok(());
        }
    }
}

/// Carries one line out.
async fn answer(engine: &Engine, line: &str) -> Result<String, Box<dyn Error>> {
    let (verb, rest) = line.split_once(' ').ok_or("a verb and a log are needed")?;
    let (log, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let log = engine.log(LogId(log.parse()?)).await?;
    match verb {
        "PUT" => Ok(log.append_values(&[rest.as_bytes()])?.await?.base_offset.to_string()),
        "END" => Ok(log.bounds().await?.durable.to_string()),
        "GET" => {
            let from = rest.parse()?;
            let read = log.read(from, 1).await?;
            let found =
                read.records().find(|(offset, _)| *offset == from).and_then(|(_, record)| record.value);
            Ok(String::from_utf8_lossy(&found.ok_or("there is no such record yet")?).into_owned())
        }
        _ => Err("PUT, GET or END".into()),
    }
}

#[allow(dead_code, reason = "the test takes this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "broker-example-data".to_string());
    let engine = Engine::open(directory, Config { journal_file_bytes: 8 << 20, ..Config::default() })?;
    println!("{}", engine.report());
    tokio_uring::start(async { serve(engine, TcpListener::bind("127.0.0.1:7401".parse()?)?).await })
}
