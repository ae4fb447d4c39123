//! It tries to listen, to connect (to the port that a row's value says) and to look a name up.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

hostile::detector!("open-socket", |row| {
    hostile::got(&[
        TcpListener::bind("127.0.0.1:0").is_ok(),
        TcpStream::connect(("127.0.0.1", row.value as u16)).is_ok(),
        UdpSocket::bind("127.0.0.1:0").is_ok(),
        "localhost:80".to_socket_addrs().is_ok_and(|mut found| found.next().is_some()),
    ])
});
