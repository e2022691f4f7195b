//! A minimal broker on tokio: one connection after another, a line each way. `PUT <log> <text>` is answered with the
//! record's offset when the record is durable, `GET <log> <offset>` with the record, `END <log>` with the next offset.
//!
//! `cargo run -p ringmain-interop --example broker_tokio -- DIRECTORY`, then `nc localhost 7400`.

use std::error::Error;

use ringmain_engine::embed::{Config, Engine};
use ringmain_engine::types::LogId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A line longer than this ends the connection.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Takes connections for ever; each has a task of its own on this thread.
pub async fn serve(engine: Engine, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let engine = engine.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = session(engine, stream).await {
                eprintln!("a connection has ended: {error}");
            }
        });
    }
}

async fn session(engine: Engine, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        (&mut read).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Ok(()); // the end, or too long
        }
        let mut reply = match answer(&engine, &String::from_utf8_lossy(&line)).await {
            Ok(reply) => format!("OK {reply}"),
            Err(error) => format!("NO {error}"),
        };
        reply.push('\n');
        write.write_all(reply.as_bytes()).await?;
    }
}

/// Carries one line out. An `await` here holds nobody up: the engine's own thread waits for the device.
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
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "broker-example-data".to_string());
    let engine = Engine::open(directory, Config { journal_file_bytes: 8 << 20, ..Config::default() })?;
    println!("{}", engine.report());
    let listener = TcpListener::bind("127.0.0.1:7400").await?;
    tokio::task::LocalSet::new().run_until(serve(engine, listener)).await
}
