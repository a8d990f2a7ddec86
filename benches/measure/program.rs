//! The program under measurement, as its own process.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the program may take to be ready before something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the memory of a program that runs is looked at.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Program {
    child: Child,
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) taken: Duration,
    /// The most memory that was resident at once.
    pub(crate) peak_mb: f64,
    /// What it printed.
    pub(crate) output: String,
}

impl Program {
    /// Starts `tollhouse serve` and returns when it takes connections.
    pub(crate) fn serve(config: &Path, portal: SocketAddr) -> Self {
        let child = command(config, &["serve"])
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

    /// Runs a command of `tollhouse` to its end, which has to be a good one.
    pub(crate) fn run(config: &Path, words: &[&str]) -> Ran {
        let begin = Instant::now();
        let child = command(config, words)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut program = Self { child };
        let mut pipe = program.child.stdout.take().expect("its output is piped");
        let reader = thread::spawn(move || {
            let mut output = String::new();
            pipe.read_to_string(&mut output).expect("it prints text");
            output
        });
        let mut peak_mb = 0.0;
        let status = loop {
            if let Some(status) = program.child.try_wait().expect("it can be waited for") {
                break status;
            }
            // Its memory is gone with its end, and may be just before we look.
            peak_mb = program.memory("VmHWM:").unwrap_or(peak_mb);
            thread::sleep(LOOK);
        };
        let taken = begin.elapsed();
        let output = reader.join().expect("the reader ends");
        assert!(status.success(), "{words:?} failed:\n{output}");
        Ran {
            taken,
            peak_mb,
            output,
        }
    }

    /// A figure of the kernel's in megabytes, such as `VmRSS:`.
    pub(crate) fn memory_mb(&self, name: &str) -> f64 {
        self.memory(name)
            .expect("it runs, and Linux tells its memory")
    }

    fn memory(&self, name: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u32 = line.trim().trim_end_matches(" kB").parse().ok()?;
        #[expect(clippy::float_arithmetic, reason = "a figure to read, not money")]
        let megabytes = f64::from(kilobytes) / 1_000.0;
        Some(megabytes)
    }

    pub(crate) fn stop(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it ends");
    }
}

fn command(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
    command.args(words).arg("--config").arg(config);
    command
}
