//! An S3 server on the loopback interface, which keeps its objects as files.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

/// The one bucket.
const BUCKET: &str = "heights";
/// Who may use it.
const KEY_ID: &str = "lapis";
/// The proof of that.
const SECRET: &str = "only for tests";

/// A server that checks signatures as S3 does. It can go away and come back at the same address.
#[derive(Debug)]
pub struct S3Server {
    dir: TempDir,
    address: SocketAddr,
    /// The acceptor, with its connections; empty while the server is away.
    tasks: JoinSet<()>,
}

impl S3Server {
    /// Starts it with an empty bucket.
    pub async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut server = Self { address: listener.local_addr().unwrap(), dir, tasks: JoinSet::new() };
        server.serve(listener);
        server
    }

    /// Ends all connections and accepts no more.
    pub async fn goes_away(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Accepts connections again.
    pub async fn comes_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let mut service = S3ServiceBuilder::new(FileSystem::new(self.dir.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        self.tasks.spawn(accept(listener, service.build()));
    }

    /// What `archive.upload_to` and `archive.fetch_from` are set to.
    pub fn location(&self) -> String {
        format!("s3://{BUCKET}/archives")
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Key id and secret.
    pub fn credentials(&self) -> (String, String) {
        (KEY_ID.to_owned(), SECRET.to_owned())
    }

    /// Variables for a program that is to use it.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let (id, secret) = self.credentials();
        vec![
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("LAPIS_ARCHIVE__S3_ENDPOINT", self.endpoint()),
            ("LAPIS_ARCHIVE__S3_REGION", "us-east-1".to_owned()),
            ("LAPIS_ARCHIVE__S3_ALLOW_HTTP", "true".to_owned()),
            ("LAPIS_ARCHIVE__TIMEOUT", "5s".to_owned()),
        ]
    }

    /// The objects, as files: those whose upload is complete.
    pub fn objects(&self) -> Vec<PathBuf> {
        files_below(&self.dir.path().join(BUCKET))
    }
}

/// All files below `dir`, sorted.
fn files_below(dir: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

async fn accept(listener: TcpListener, service: S3Service) {
    let http = Builder::new(TokioExecutor::new()).http1_only();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                let (http, service) = (http.clone(), service.clone());
                connections.spawn(async move {
                    // A client that goes away is none of the server's business.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
