//! How the program starts, and how fast it takes webhooks in.
//!
//! The events are like real ones ([`event`]); who sends them shares the processors with the program
//! and is lean for that ([`load`]).

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::{event, load, millis};

const SECRET: &str = "whsec_measure";
const CONNECTIONS: usize = 32;
const EVENTS_PER_CONNECTION: usize = 4_000;
const STARTS: usize = 5;

pub(crate) fn measure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let portal = free_address();
    let config = write_configuration(folder.path(), portal, free_address());

    let mut ready: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let begin = Instant::now();
            let program = Program::serve(&config, portal);
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

    let program = Program::serve(&config, portal);
    thread::sleep(Duration::from_secs(1));
    println!(
        "resident, idle        {:>10.1} MB",
        program.memory_mb("VmRSS:")
    );
    let intake = measure_intake(portal);
    println!(
        "webhooks taken in     {:>10.0} a second ({CONNECTIONS} connections, requests of {} bytes)",
        intake.per_second, intake.request_bytes
    );
    println!("  latency p50         {:>10.2} ms", millis(intake.p50));
    println!("  latency p99         {:>10.2} ms", millis(intake.p99));
    println!(
        "resident, after load  {:>10.1} MB",
        program.memory_mb("VmRSS:")
    );
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

fn write_configuration(folder: &Path, portal: SocketAddr, status: SocketAddr) -> PathBuf {
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
