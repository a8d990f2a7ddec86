//! `cargo bench --bench measure`: figures of the real binary on this machine.
//!
//! Time from start to ready, resident memory, and how fast signed webhooks are taken in, each
//! durable on disk before its answer. The events are like real ones ([`event`]); who sends them
//! shares the processors with the program and is lean for that ([`load`]). Load goes to loopback
//! only and is bounded in count. Not a test: it judges nothing, because a busy machine would make
//! it lie.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(
    clippy::disallowed_methods,
    reason = "it waits for another process, and signs with the real time"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

mod event;
mod load;

const SECRET: &str = "whsec_measure";
const CONNECTIONS: usize = 32;
const EVENTS_PER_CONNECTION: usize = 4_000;
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
        "webhooks taken in     {:>10.0} a second ({CONNECTIONS} connections, requests of {} bytes)",
        intake.per_second, intake.request_bytes
    );
    println!("  latency p50         {:>10.2} ms", millis(intake.p50));
    println!("  latency p99         {:>10.2} ms", millis(intake.p99));
    println!("resident, after load  {:>10.1} MB", program.resident_mb());
    program.stop();
}

struct Intake {
    per_second: f64,
    /// The mean size of a request.
    request_bytes: usize,
    p50: Duration,
    p99: Duration,
}

fn measure_intake(address: SocketAddr) -> Intake {
    let batches: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS)
        .map(|connection| {
            (0..EVENTS_PER_CONNECTION)
                .map(|number| event::request(SECRET, connection, number))
                .collect()
        })
        .collect();
    let sizes = batches.iter().flatten().map(Vec::len);
    let request_bytes = sizes.sum::<usize>() / (CONNECTIONS * EVENTS_PER_CONNECTION);
    let begin = Instant::now();
    let mut latencies = load::send(address, batches);
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
        request_bytes,
        p50: latencies[count / 2],
        p99: latencies[count * 99 / 100],
    }
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
