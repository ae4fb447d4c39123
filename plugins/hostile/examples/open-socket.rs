//! It tries to listen, to connect and to look a name up.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

hostile::detector!("open-socket", |_| {
    let got = TcpListener::bind("127.0.0.1:0").is_ok()
        || TcpStream::connect("127.0.0.1:22").is_ok()
        || UdpSocket::bind("127.0.0.1:0").is_ok()
        || "localhost:80".to_socket_addrs().is_ok();
    got.then(hostile::got_it)
});
