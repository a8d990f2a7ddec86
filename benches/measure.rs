//! `cargo bench --bench measure`: figures of the real binary on this machine.
//!
//! Time from start to ready, resident memory, and how fast signed webhooks are taken in, each
//! durable on disk before its answer. Load goes to loopback only and is bounded in count.
//! Not a test: it judges nothing, because a busy machine would make it lie.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(
    clippy::disallowed_methods,
    reason = "it waits for another process, and signs with the real time"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ring::hmac;

const SECRET: &str = "whsec_measure";
const CONNECTIONS: usize = 32;
const EVENTS_PER_CONNECTION: usize = 4_000;
/// The size of an event's body, in bytes.
const EVENT_BYTES: usize = 3_000;
const STARTS: usize = 5;
/// How long the program may take to be ready before something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let portal = free_address();
    let config = write_configuration(folder.path(), portal, free_address());

    let mut ready: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let begin = Instant::now();
            let program = Program::start(&config, portal);
            let taken = begin.elapsed();
            program.stop();
            taken
        })
        .collect();
    ready.sort();
    println!(
        "start to ready        {:>10.1} ms (median of {STARTS})",
        millis(ready[STARTS / 2])
    );

    let program = Program::start(&config, portal);
    thread::sleep(Duration::from_secs(1));
    println!("resident, idle        {:>10.1} MB", program.resident_mb());
    let intake = measure_intake(portal);
    println!(
        "webhooks taken in     {:>10.0} a second ({CONNECTIONS} connections, {EVENT_BYTES} bytes each)",
        intake.per_second
    );
    println!("  latency p50         {:>10.2} ms", millis(intake.p50));
    println!("  latency p99         {:>10.2} ms", millis(intake.p99));
    println!("resident, after load  {:>10.1} MB", program.resident_mb());
    program.stop();
}

struct Intake {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn measure_intake(address: SocketAddr) -> Intake {
    let batches: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS)
        .map(|connection| {
            (0..EVENTS_PER_CONNECTION)
                .map(|number| request(connection, number))
                .collect()
        })
        .collect();
    let begin = Instant::now();
    let senders: Vec<_> = batches
        .into_iter()
        .map(|batch| thread::spawn(move || send_all(address, &batch)))
        .collect();
    let mut latencies: Vec<Duration> = senders
        .into_iter()
        .flat_map(|sender| sender.join().expect("a sender ends"))
        .collect();
    let taken = begin.elapsed();
    latencies.sort();
    let count = latencies.len();
    #[expect(
        clippy::cast_precision_loss,
        clippy::float_arithmetic,
        reason = "a figure to read, not money"
    )]
    let per_second = count as f64 / taken.as_secs_f64();
    Intake {
        per_second,
        p50: latencies[count / 2],
        p99: latencies[count * 99 / 100],
    }
}

/// Sends one request after the other on one connection; each must be answered 200.
fn send_all(address: SocketAddr, requests: &[Vec<u8>]) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("the program listens");
    stream.set_nodelay(true).expect("a socket option");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    requests
        .iter()
        .map(|request| {
            let begin = Instant::now();
            stream.write_all(request).expect("the connection holds");
            read_answer(&mut answers);
            begin.elapsed()
        })
        .collect()
}

fn read_answer(answers: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    answers.read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 200"), "not taken: {line}");
    let mut length = 0;
    loop {
        line.clear();
        answers.read_line(&mut line).expect("a header");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("the body");
}

/// A signed event that the worker has nothing to do for, so that only intake is measured. As with
/// Stripe's own, ids of about the same time begin alike.
fn request(connection: usize, number: usize) -> Vec<u8> {
    let head = format!(
        r#"{{"id":"evt_1{number:010}{connection:04}","object":"event","type":"charge.updated","data":{{"object":{{"id":"ch_{number}","object":"charge","filler":""#
    );
    let tail = r#""}}}"#;
    let filler = "x".repeat(EVENT_BYTES - head.len() - tail.len());
    let body = [head.as_str(), &filler, tail].concat();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let hex = signature
        .as_ref()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Stripe-Signature: t={now},v1={hex}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// `tollhouse serve`, as its own process.
struct Program {
    child: Child,
}

impl Program {
    /// Starts it and returns when it takes connections.
    fn start(config: &Path, portal: SocketAddr) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_tollhouse"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let begin = Instant::now();
        while TcpStream::connect(portal).is_err() {
            assert!(
                begin.elapsed() < PATIENCE,
                "the program does not become ready"
            );
            thread::sleep(Duration::from_micros(500));
        }
        Self { child }
    }

    fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux tells a process's memory");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kilobytes: u32 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        #[expect(clippy::float_arithmetic, reason = "a figure to read, not money")]
        let megabytes = f64::from(kilobytes) / 1_000.0;
        megabytes
    }

    fn stop(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it ends");
    }
}

fn write_configuration(
    folder: &Path,
    portal: SocketAddr,
    status: SocketAddr,
) -> std::path::PathBuf {
    let catalogue = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/payment/monetizationModels.json"
    );
    let text = format!(
        r#"
[portal]
listen = "{portal}"
public_url = "http://{portal}"
developer_portal_url = "http://127.0.0.1:9"
delegation_keys = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="]
[status]
listen = "{status}"
password = "measure-measure"
[stripe]
api_base = "http://127.0.0.1:9"
secret_key = "sk_test_measure"
webhook_secrets = ["{SECRET}"]
[apim]
arm_url = "http://127.0.0.1:9"
authority_url = "http://127.0.0.1:9"
tenant_id = "11111111-1111-4111-8111-111111111111"
client_id = "22222222-2222-4222-8222-222222222222"
client_secret = "measure"
subscription_id = "33333333-3333-4333-8333-333333333333"
resource_group = "measure"
service_name = "measure"
[store]
path = "{store}"
[catalogue]
path = "{catalogue}"
"#,
        store = folder.join("tollhouse.db").display(),
    );
    let file = folder.join("tollhouse.toml");
    std::fs::write(&file, text).expect("the folder is writable");
    file
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

fn millis(duration: Duration) -> f64 {
    #[expect(clippy::float_arithmetic, reason = "a figure to read, not money")]
    let millis = duration.as_secs_f64() * 1_000.0;
    millis
}
