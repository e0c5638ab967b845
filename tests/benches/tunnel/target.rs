//! The target: the first byte of a connection says what it is to do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Sends everything back.
pub(crate) const ECHO: u8 = b'e';
/// Takes as many bytes as the next eight say (big endian) and answers with one.
pub(crate) const SINK: u8 = b's';
/// Sends as many bytes as the next eight say.
pub(crate) const SOURCE: u8 = b'o';

/// Serves until the process ends.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its connection, and that is all.
            std::thread::spawn(move || serve(stream).ok());
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 16];
    let mut what = [0];
    stream.read_exact(&mut what)?;
    if what == [ECHO] {
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        }
    }
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    let mut left = usize::try_from(u64::from_be_bytes(count)).unwrap_or(0);
    while left > 0 {
        let most = left.min(buffer.len());
        let length =
            if what == [SINK] { stream.read(&mut buffer[..most])? } else { stream.write(&buffer[..most])? };
        if length == 0 {
            return Ok(());
        }
        left -= length;
    }
    if what == [SINK] {
        stream.write_all(b"!")?;
    }
    // The client closes: an end from here could overtake what the tunnel still carries.
    stream.read_exact(&mut what)
}
