//! A second process for the tests: the test program itself, running one of its tests.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

const READY: &str = "the child is ready";

/// A running copy of the test program. It is killed when dropped.
pub struct Child(std::process::Child);

impl Child {
    /// The environment variable with the child's argument.
    pub const ARGUMENT: &str = "ELBO_TEST_CHILD";

    /// Starts the test with this full name and passes it the [`argument`](Self::argument).
    pub fn start(test: &str, argument: impl AsRef<OsStr>) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(Self::ARGUMENT, argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// A shell command with mounts of its own, which end with it.
    #[cfg(target_os = "linux")]
    pub fn in_own_mounts(command: &str) -> Command {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", command]);
        unshare
    }

    /// In the child: its argument. In the same test run by itself: `None`.
    pub fn argument() -> Option<String> {
        std::env::var(Self::ARGUMENT).ok()
    }

    /// In the child: signals the parent, and waits to be killed (or for the parent's end).
    pub fn say_ready_and_wait() {
        println!("\n{READY}");
        let _ = std::io::stdin().read(&mut [0]);
    }

    pub fn wait_until_ready(&mut self) {
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == READY), "the child ended before it was ready");
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for its end.
    pub fn status(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
