//! The load: connections with one request in flight on each, every answer checked.
//!
//! One thread drives them all, because what the generator uses is missing from the program under
//! measurement: both run on the same processors.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// Longer than any answer that is right.
const ANSWER_BYTES: usize = 2_048;

/// Sends each of `batches` over a connection of its own, one request after the other; each must
/// be kept. Returns how long each took.
pub(crate) fn send(address: SocketAddr, batches: Vec<Vec<Vec<u8>>>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let senders: Vec<_> = batches
            .into_iter()
            .map(|batch| tokio::spawn(send_all(address, batch)))
            .collect();
        let mut latencies = Vec::new();
        for sender in senders {
            latencies.extend(sender.await.expect("a sender ends"));
        }
        latencies
    })
}

async fn send_all(address: SocketAddr, requests: Vec<Vec<u8>>) -> Vec<Duration> {
    let connected = TcpStream::connect(address).await;
    let stream = connected.expect("the program listens");
    stream.set_nodelay(true).expect("a socket option");
    let mut buffer = [0; ANSWER_BYTES];
    let mut latencies = Vec::with_capacity(requests.len());
    for request in &requests {
        let begin = Instant::now();
        write(&stream, request).await.expect("the connection holds");
        read_answer(&stream, &mut buffer).await.expect("an answer");
        latencies.push(begin.elapsed());
    }
    latencies
}

async fn write(stream: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_answer(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while !is_whole(&buffer[..filled]) {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether this is the whole answer that says that an event was kept; panics at any other.
fn is_whole(answer: &[u8]) -> bool {
    const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const BODY: &[u8] = b"\r\n\r\nKept.\n";
    let seen = answer.len().min(STATUS.len());
    let text = || String::from_utf8_lossy(answer);
    assert!(answer[..seen] == STATUS[..seen], "not kept: {}", text());
    assert!(answer.len() < ANSWER_BYTES, "too long: {}", text());
    answer.ends_with(BODY)
}
