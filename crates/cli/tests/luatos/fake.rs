//! A server that does what the client identifier of a CONNECT asks for, as `fake-silent` for silence.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Starts one; its port.
pub(crate) fn start() -> u16 {
    serve(|stream, connect, nth| act(stream, &client_id(connect), connect, nth))
}

/// Starts one that sends back each CONNECT as a message, whatever it says.
pub(crate) fn start_mirror() -> u16 {
    serve(|stream, connect, _| mirror(stream, connect))
}

fn serve(act: impl Fn(&mut TcpStream, &[u8], usize) -> io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let act = Arc::new(act);
    std::thread::spawn(move || {
        let nth = Arc::new(AtomicUsize::new(0));
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (act, nth) = (Arc::clone(&act), Arc::clone(&nth));
            // An error says that the client is gone, which is its good right.
            std::thread::spawn(move || {
                let connect = packet(&mut stream)?;
                act(&mut stream, &connect, nth.fetch_add(1, Ordering::Relaxed))
            });
        }
    });
    port
}

const CONNACK: &[u8] = &[0x20, 2, 0, 0];

fn act(stream: &mut TcpStream, name: &str, connect: &[u8], nth: usize) -> io::Result<()> {
    match name.strip_prefix("fake-").unwrap_or_default() {
        "silent" => {}
        "mirror" | "mirror5" => return mirror(stream, connect),
        "twice" => stream.write_all(&[CONNACK, CONNACK].concat())?,
        "early" => stream.write_all(&[0x40, 2, 0, 1])?,
        "qos3" => stream.write_all(&[CONNACK, &[0x36, 5, 0, 1, b'a', 0, 1]].concat())?,
        "malformed" => stream.write_all(&[CONNACK, &[0x90, 0xff, 0xff, 0xff, 0xff, 0xff]].concat())?,
        "web" => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
        "leaves5" => stream.write_all(&[0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0])?,
        "gone" => return Ok(()),
        "suback" => {
            stream.write_all(CONNACK)?;
            let subscribe = packet(stream)?;
            stream.write_all(&[0x90, 3, subscribe[2], subscribe[3], 0x80])?;
        }
        "repeat" => repeat(stream)?,
        "lost" if nth == 0 => return lose(stream),
        "lost" => {
            stream.write_all(&[0x20, 2, 1, 0])?;
            let release = packet(stream)?;
            assert_eq!(release[0], 0x62, "PUBREL first");
            stream.write_all(&[0x70, 2, release[2], release[3]])?;
        }
        refusal => {
            let code = refusal.strip_prefix("connack").and_then(|code| code.parse().ok());
            stream.write_all(&[0x20, 2, 0, code.unwrap_or(3)])?;
            return Ok(());
        }
    }
    // Until the client has had enough.
    while packet(stream).is_ok() {}
    Ok(())
}

fn mirror(stream: &mut TcpStream, connect: &[u8]) -> io::Result<()> {
    // Properties follow in version 5.
    let is_version_5 = connect.windows(5).any(|five| five == b"MQTT\x05");
    let mut answer = if is_version_5 {
        vec![0x20, 3, 0, 0, 0]
    } else {
        CONNACK.to_vec()
    };
    let mut body = b"\0\x07connect".to_vec();
    if is_version_5 {
        body.push(0);
    }
    body.extend_from_slice(connect);
    answer.push(0x30);
    let mut length = body.len();
    while length > 127 {
        answer.push((length % 128) as u8 | 128);
        length /= 128;
    }
    answer.push(length as u8);
    answer.extend(body);
    stream.write_all(&answer)?;
    while packet(stream).is_ok() {}
    Ok(())
}

/// QoS 1 twice, QoS 2 twice under one identifier, then one of QoS 0.
fn repeat(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(CONNACK)?;
    let message = |first: u8, id: u8, text: &[u8]| {
        let mut bytes = vec![first, 3 + text.len() as u8, 0, 1, b'a'];
        if id > 0 {
            bytes[1] += 2;
            bytes.extend([0, id]);
        }
        bytes.extend_from_slice(text);
        bytes
    };
    for (first, id, text) in [
        (0x32, 1, b"one"),
        (0x3a, 1, b"one"),
        (0x34, 2, b"two"),
        (0x3c, 2, b"two"),
        (0x30, 0, b"end"),
    ] {
        stream.write_all(&message(first, id, text))?;
    }
    Ok(())
}

/// Hangs up between PUBREC and PUBCOMP.
fn lose(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(CONNACK)?;
    let publish = packet(stream)?;
    let id = 4 + usize::from(publish[3]);
    stream.write_all(&[0x50, 2, publish[id], publish[id + 1]])?;
    packet(stream).map(drop)
}

/// A whole packet.
fn packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes)?;
    while bytes[bytes.len() - 1] & 128 != 0 {
        let mut more = [0];
        stream.read_exact(&mut more)?;
        bytes.push(more[0]);
    }
    let digits = bytes[1..].iter().rev();
    let length = digits.fold(0, |length, digit| length << 7 | usize::from(digit & 127));
    let front = bytes.len();
    bytes.resize(front + length, 0);
    stream.read_exact(&mut bytes[front..])?;
    Ok(bytes)
}

/// Behind the protocol name, its level, the flags and the keep alive; in version 5 behind properties too.
fn client_id(connect: &[u8]) -> String {
    let name = connect.windows(4).position(|four| four == b"MQTT").unwrap_or(0);
    let level = connect.get(name + 4).copied().unwrap_or(4);
    let mut at = name + 8;
    if level == 5 {
        at += 1 + usize::from(connect[at]);
    }
    let length = usize::from(connect[at]) << 8 | usize::from(connect[at + 1]);
    String::from_utf8_lossy(&connect[at + 2..at + 2 + length]).into_owned()
}
