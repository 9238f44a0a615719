//! A download over QUIC (RFC 9000) by a real stack at both ends: one connection, one stream, a modest pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
use turnout::demo::lab::{Inside, Netns};

use crate::netns::{Service, service};

const CHUNK: usize = 16 * 1024;
/// 16 KiB each: 2 MiB a second.
const CHUNK_EVERY: Duration = Duration::from_millis(8);

/// The byte at a place of every download.
pub fn byte(at: usize) -> u8 {
    // Of a prime period: no shift by a packet looks like the right content.
    (((at % 65_521) * 31) >> 3) as u8
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    // One packet a datagram: a receiver of raw frames is on the way.
    transport.enable_segmentation_offload(false);
    // What waits for data says now and then that it is there, and from where.
    transport.keep_alive_interval(Some(Duration::from_millis(400)));
    transport.into()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends `size` bytes to each connection.
pub fn server(host: &Netns, at: SocketAddr, size: usize) -> (Service, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["download.test".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    config.transport_config(transport());
    let serve = async move |over: &AtomicBool, served: &AtomicU64| {
        let endpoint = Endpoint::server(config, at).unwrap();
        while !over.load(Ordering::Relaxed) {
            let Ok(Some(incoming)) = tokio::time::timeout(CHUNK_EVERY * 10, endpoint.accept()).await else {
                continue;
            };
            served.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                // Whatever goes wrong is the client's finding.
                let connection = incoming.await.ok()?;
                let mut stream = connection.open_uni().await.ok()?;
                let content: Vec<u8> = (0..size).map(byte).collect();
                for chunk in content.chunks(CHUNK) {
                    stream.write_all(chunk).await.ok()?;
                    tokio::time::sleep(CHUNK_EVERY).await;
                }
                stream.finish().ok()?;
                connection.closed().await;
                Some(())
            });
        }
    };
    (service(host, move |over, served| runtime().block_on(serve(over, served))), certificate)
}

/// A download in the background.
pub struct Download {
    pub got: Arc<AtomicU64>,
    thread: Inside<Result<(), String>>,
}

impl Download {
    /// Connects once, and reads to the end.
    pub fn start(
        host: &Netns,
        from: SocketAddr,
        certificate: CertificateDer<'static>,
        size: usize,
    ) -> Download {
        let got = Arc::new(AtomicU64::new(0));
        let count = got.clone();
        let work = async move || -> Result<(), String> {
            let mut roots = RootCertStore::empty();
            roots.add(certificate).map_err(|e| e.to_string())?;
            let mut config =
                ClientConfig::with_root_certificates(Arc::new(roots)).map_err(|e| e.to_string())?;
            config.transport_config(transport());
            let mut endpoint = Endpoint::client("0.0.0.0:0".parse().unwrap()).map_err(|e| e.to_string())?;
            endpoint.set_default_client_config(config);
            let connecting = endpoint.connect(from, "download.test").map_err(|e| e.to_string())?;
            let connection = connecting.await.map_err(|e| e.to_string())?;
            let mut stream = connection.accept_uni().await.map_err(|e| e.to_string())?;
            let mut some = vec![0u8; CHUNK];
            let mut at = 0;
            while let Some(n) = stream.read(&mut some).await.map_err(|e| e.to_string())? {
                if some[..n].iter().enumerate().any(|(i, b)| *b != byte(at + i)) {
                    return Err(format!("another byte after {at}"));
                }
                at += n;
                count.store(at as u64, Ordering::Relaxed);
            }
            connection.close(0u32.into(), b"");
            endpoint.wait_idle().await;
            if at == size { Ok(()) } else { Err(format!("{at} of {size} bytes")) }
        };
        Download { got, thread: host.spawn(move || runtime().block_on(work())).unwrap() }
    }

    pub fn got(&self) -> u64 {
        self.got.load(Ordering::Relaxed)
    }

    pub fn over(&self) -> bool {
        self.thread.is_finished()
    }

    /// How it ended.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap()
    }
}
