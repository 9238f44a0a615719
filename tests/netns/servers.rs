//! Small servers of hosts: TCP with a thread a connection, HTTP, FTP in passive mode, DNS.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use turnout::demo::lab::Netns;

use super::{Service, service};

/// How long a server waits for its client.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands each connection to `serve`, in a thread of the host.
pub fn tcp_server(
    host: &Netns,
    at: Ipv4Addr,
    port: u16,
    serve: impl Fn(TcpStream, SocketAddr) + Clone + Send + 'static,
) -> Service {
    let listener = host.run(move || TcpListener::bind(SocketAddrV4::new(at, port)).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    service(host, move |over, served| {
        while !over.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, peer)) => {
                    served.fetch_add(1, Ordering::Relaxed);
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    let serve = serve.clone();
                    std::thread::spawn(move || serve(stream, peer));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(2)),
                Err(e) => panic!("{e}"),
            }
        }
    })
}

/// Says to each client where it comes from, in one line.
pub fn who(host: &Netns, at: Ipv4Addr, port: u16) -> Service {
    tcp_server(host, at, port, |mut stream, peer| drop(writeln!(stream, "{peer}")))
}

/// What `who` says to a client in `host`.
pub fn ask_who(host: &Netns, at: SocketAddrV4) -> Option<String> {
    let ask = move || {
        let stream = TcpStream::connect_timeout(&at.into(), Duration::from_secs(3)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    };
    host.run(ask).unwrap()
}

/// Gives every page as these bytes.
pub fn http(host: &Netns, at: Ipv4Addr, port: u16, page: Vec<u8>) -> Service {
    tcp_server(host, at, port, move |mut stream, _| {
        let Ok(copy) = stream.try_clone() else { return };
        for line in BufReader::new(copy).lines() {
            if line.is_ok_and(|line| !line.is_empty()) {
                continue;
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            // A client that has left is its own finding.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&page));
            return;
        }
    })
}

/// Gives every file as these bytes, by a second connection that the client opens (RFC 959 PASV, RFC 2428 EPSV).
pub fn ftp(host: &Netns, at: Ipv4Addr, port: u16, content: Vec<u8>) -> Service {
    tcp_server(host, at, port, move |stream, peer| drop(ftp_session(&stream, peer, at, &content)))
}

fn ftp_session(mut to: &TcpStream, peer: SocketAddr, at: Ipv4Addr, content: &[u8]) -> std::io::Result<()> {
    let mut data: Option<TcpListener> = None;
    to.write_all(b"220 ready\r\n")?;
    for line in BufReader::new(to).lines() {
        let line = line?;
        let answer = match line.split(' ').next().unwrap_or_default() {
            "USER" | "PASS" => "230 in".to_owned(),
            "PWD" => "257 \"/\"".to_owned(),
            "TYPE" | "CWD" => "200 so be it".to_owned(),
            "SIZE" => format!("213 {}", content.len()),
            "EPSV" => {
                let listener = TcpListener::bind(SocketAddrV4::new(at, 0))?;
                let port = listener.local_addr()?.port();
                data = Some(listener);
                format!("229 here (|||{port}|)")
            }
            "PASV" => {
                let listener = TcpListener::bind(SocketAddrV4::new(at, 0))?;
                let ([a, b, c, d], port) = (at.octets(), listener.local_addr()?.port());
                data = Some(listener);
                format!("227 here ({a},{b},{c},{d},{},{})", port >> 8, port & 255)
            }
            "RETR" => {
                let Some(listener) = data.take() else { return to.write_all(b"425 no connection\r\n") };
                let (mut second, its) = listener.accept()?;
                // As servers do, which is why a host keeps to one address (RFC 4787 REQ-2).
                if its.ip() != peer.ip() {
                    return to.write_all(b"425 who are you\r\n");
                }
                to.write_all(b"150 it comes\r\n")?;
                second.write_all(content)?;
                "226 done".to_owned()
            }
            "QUIT" => return to.write_all(b"221 bye\r\n"),
            _ => "502 what".to_owned(),
        };
        to.write_all(answer.as_bytes())?;
        to.write_all(b"\r\n")?;
    }
    Ok(())
}

/// A web server (port 80) that has one answer for everything: a status and further header lines.
pub fn page(host: &Netns, at: Ipv4Addr, status: &'static str, headers: &'static str) -> Service {
    tcp_server(host, at, 80, move |mut stream, _| {
        let Ok(copy) = stream.try_clone() else { return };
        if BufReader::new(copy).lines().any(|line| line.is_ok_and(|line| line.is_empty())) {
            let head =
                format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        }
    })
}

/// Whom a name server refuses at present.
pub type Refused = Arc<Mutex<Option<Ipv4Addr>>>;

/// A name server by UDP: every name has the address 192.0.2.80, but for whom it refuses (RFC 1035 RCODE 5).
pub fn dns(host: &Netns, at: Ipv4Addr) -> (Service, Refused) {
    let socket = host.run(move || UdpSocket::bind(SocketAddrV4::new(at, 53)).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let refused = Refused::default();
    let refuse = refused.clone();
    let answer = move |over: &AtomicBool, served: &AtomicU64| {
        let mut packet = [0u8; 512];
        while !over.load(Ordering::Relaxed) {
            let Ok((length @ 17.., SocketAddr::V4(from))) = socket.recv_from(&mut packet) else { continue };
            served.fetch_add(1, Ordering::Relaxed);
            let mut reply = packet[..length].to_vec();
            reply[2] |= 0x80;
            reply[3] = 0x80;
            if *refuse.lock().unwrap() == Some(*from.ip()) {
                reply[3] |= 5;
            } else {
                reply[7] = 1;
                // The name of the question; A, IN, 60 s, 4 bytes.
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80]);
            }
            let _ = socket.send_to(&reply, from);
        }
    };
    (service(host, answer), refused)
}
