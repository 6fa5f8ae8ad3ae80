//! The connection of a client: dials, and moves bytes between socket and engine.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use martlet_client::Lost;
use martlet_client::engine::{Engine, Task};
use tokio::io::Interest;

use super::device::Device;
use super::way;
use crate::limits;

type Stream = martlet_net::Stream;

/// Runs the connections of a client until it is closed.
pub(super) async fn run(device: Rc<Device>) {
    loop {
        let task = device.with(Engine::task);
        match task {
            Some(Task::Dial { .. }) => dial(&device).await,
            Some(Task::Carry) => {
                // Its socket is gone.
                device.with(|engine, now_ms| engine.lost(now_ms, Lost::Closed));
            }
            Some(Task::Wait) => pause(&device).await,
            Some(Task::End) | None => {
                device.left();
                if device.is_closed() {
                    return;
                }
                if device.with(Engine::task) == Some(Task::End) {
                    device.wake.notified().await;
                }
            }
        }
    }
}

/// Waits for the engine's deadline, or a command.
async fn pause(device: &Rc<Device>) {
    let deadline_ms = device.with(|engine, _| engine.deadline()).flatten();
    tokio::select! {
        () = device.wake.notified() => {}
        () = until(device, deadline_ms) => {}
    }
    time(device);
}

async fn until(device: &Rc<Device>, at_ms: Option<u64>) {
    match at_ms {
        None => std::future::pending().await,
        Some(at_ms) => {
            let wait_ms = at_ms.saturating_sub(device.now_ms());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// What the engine wanted to do by now.
fn time(device: &Rc<Device>) {
    device.with(|engine, now_ms| {
        if engine.deadline().is_some_and(|at_ms| at_ms <= now_ms) {
            engine.timeout(now_ms);
        }
    });
}

async fn dial(device: &Rc<Device>) {
    let given_up = async {
        while device.with(|engine, _| engine.is_dialing()) == Some(true) && !device.take_cut() {
            pause(device).await;
        }
    };
    let dialed = tokio::select! {
        dialed = way::connect(device) => dialed,
        () = given_up => {
            device.with(|engine, now_ms| {
                engine.unreachable(now_ms, Lost::Unreachable { text: "the attempt was given up".to_owned() });
            });
            return;
        }
    };
    match dialed {
        Ok(stream) => {
            let is_wanted = device.with(|engine, now_ms| engine.is_dialing() && engine.connect(now_ms));
            if is_wanted == Some(true) {
                device.take_cut();
                carry(device, stream).await;
            }
        }
        Err(text) => {
            device.with(|engine, now_ms| engine.unreachable(now_ms, Lost::Unreachable { text }));
        }
    }
}

/// Moves bytes until the connection is over.
async fn carry(device: &Rc<Device>, mut stream: Stream) {
    loop {
        if device.take_cut() {
            let text = "the socket was closed".to_owned();
            let kind = io::ErrorKind::ConnectionAborted;
            device.with(|engine, now_ms| engine.lost(now_ms, Lost::Io { kind, text }));
            return;
        }
        let is_blocked = match write(device, &mut stream) {
            Ok(is_blocked) => is_blocked,
            Err(error) => {
                // The server's last words may lie in the socket.
                let _ = read(device, &mut stream);
                device.was_writing.set(true);
                lost(device, &error);
                return;
            }
        };
        let reads = device.machine().is_some_and(|machine| machine.has_room());
        let has_read = match if reads {
            read(device, &mut stream)
        } else {
            Ok(false)
        } {
            Ok(has_read) => has_read,
            Err(error) => {
                lost(device, &error);
                return;
            }
        };
        let standing = device.with(|engine, now_ms| {
            engine.reading(now_ms, reads);
            let is_over = !engine.has_connection();
            let has_left = engine.is_leaving() && engine.output().is_empty();
            (is_over, has_left, !engine.output().is_empty(), engine.deadline())
        });
        let Some((is_over, has_left, has_output, deadline_ms)) = standing else {
            return;
        };
        if has_left {
            leave(device, stream).await;
            return;
        }
        if is_over {
            // What is left may still leave, if that goes at once.
            let _ = write(device, &mut stream);
            return;
        }
        if has_read || (has_output && !is_blocked) {
            tokio::task::yield_now().await;
            continue;
        }
        wait(device, &stream, reads, is_blocked, deadline_ms).await;
    }
}

async fn wait(device: &Rc<Device>, stream: &Stream, reads: bool, is_blocked: bool, deadline_ms: Option<u64>) {
    let interest = match (reads, is_blocked) {
        (true, false) => Some(Interest::READABLE),
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    };
    let machine = device.machine();
    let ready = async {
        match interest {
            Some(interest) => drop(stream.ready(interest).await),
            None => std::future::pending().await,
        }
    };
    let room = async {
        match machine {
            Some(machine) if !reads => machine.room.notified().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ready => {}
        () = room => {}
        () = device.wake.notified() => {}
        () = until(device, deadline_ms) => {}
    }
    time(device);
}

/// Writes what can be written; whether something is left for later.
fn write(device: &Rc<Device>, stream: &mut Stream) -> io::Result<bool> {
    let written = device.with(|engine, now_ms| {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let n = engine.output().slices(&mut slices);
            if n == 0 {
                return stream.flush().map(|is_all| !is_all);
            }
            match stream.try_write_vectored(&slices[..n]) {
                Ok(bytes) => engine.written(now_ms, bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    written.unwrap_or(Ok(false))
}

/// Reads once; whether there was something.
fn read(device: &Rc<Device>, stream: &mut Stream) -> io::Result<bool> {
    let mut chunk = [0; limits::READ_BYTES];
    match stream.try_read(&mut chunk) {
        Ok(0) => {
            device.with(|engine, now_ms| engine.lost(now_ms, Lost::Closed));
            Ok(true)
        }
        Ok(n) => {
            device.with(|engine, now_ms| engine.input(now_ms, &chunk[..n]));
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

fn lost(device: &Rc<Device>, error: &io::Error) {
    let (kind, text) = (error.kind(), error.to_string());
    device.with(|engine, now_ms| engine.lost(now_ms, Lost::Io { kind, text }));
}

/// Our DISCONNECT has left: what still comes is read until the server closes, but not for long.
async fn leave(device: &Rc<Device>, mut stream: Stream) {
    // An error says that the connection is gone already.
    let _ = stream.shutdown();
    device.with(|engine, _| engine.close(&Lost::ByUs));
    device.left();
    let _ = tokio::time::timeout(Duration::from_millis(limits::FINISH_MS), stream.linger()).await;
}
