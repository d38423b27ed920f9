//! The server as a process of its own, on one folder, to be killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use stonechat::admin::{Answer, Refusal, Request, UserRequest, client};
use stonechat::jid::Jid;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, ScramHash, derive};

/// The least that is allowed: hashing is not what is tested.
const ITERATIONS: u32 = 4_096;
const CONFIG: &str = "data_dir = \"data\"\n\
    tls_required = false\n\
    scram_iterations = 4096\n\
    [[listener]]\n\
    kind = \"starttls\"\n\
    addresses = [\"127.0.0.1:0\"]\n";

/// A folder with a server on it, both gone with the test.
pub(crate) struct Server {
    folder: PathBuf,
    child: Option<Child>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("stonechat-kill-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("stonechat.toml"), CONFIG).unwrap();
        let mut server = Self { folder, child: None, address: ([127, 0, 0, 1], 0).into() };
        server.start();
        server
    }

    /// Starts it; returns when it listens.
    pub(crate) fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.current_dir(&self.folder).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        for line in lines.map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening:") {
                self.address = address.split_whitespace().next().unwrap().parse().unwrap();
            }
            if line.starts_with("Ready.") {
                return;
            }
        }
        panic!("the server does not start on the folder that it was killed on");
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where the operator's requests go.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("data").join("control.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Asks for a change of an account; true if it was acknowledged.
pub(crate) fn administer(control: &std::path::Path, request: UserRequest) -> bool {
    match client::call(control, &Request::User(request)) {
        Ok(Answer::Done) => true,
        Ok(other) => panic!("{other:?}"),
        // It was killed meanwhile.
        Err(_) => false,
    }
}

pub(crate) fn account(name: &str) -> Jid {
    Jid::parse(&format!("{name}@localhost")).unwrap()
}

pub(crate) fn credentials(password: &str) -> Credentials {
    let keys = derive(password, &[ScramHash::Sha256], ITERATIONS, &mut Random::seeded(1)).run().derived;
    Credentials { keys, disabled: false }
}

/// Asks for a new account: whether there was none, or nothing if the server was killed meanwhile.
pub(crate) fn answer(control: &std::path::Path, request: UserRequest) -> Option<bool> {
    match client::call(control, &Request::User(request)) {
        Ok(Answer::Done) => Some(true),
        Ok(Answer::Refused(Refusal::AccountExists { .. })) => Some(false),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}
