//! A page with MQTT.js in headless Chromium, over WebSocket, with TLS and without.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use martlet_interop::{Broker, Transport, target};

/// For a browser that starts on a machine with other things to do, and all cases.
const BOUND: Duration = Duration::from_secs(100);

#[test]
fn a_page_over_websocket() {
    run(Transport::Ws, "ws");
}

#[test]
fn a_page_over_websocket_in_tls() {
    run(Transport::Wss, "wss");
}

fn run(transport: Transport, scheme: &str) {
    let broker = Broker::start_over(&format!("browser-{scheme}"), transport, "");
    let (tell, report) = channel();
    let port = serve(tell);
    let page = format!(
        "http://127.0.0.1:{port}/?url={scheme}://127.0.0.1:{}/mqtt",
        broker.other_port()
    );
    let browser = Browser::open(&page, broker.folder());
    let said = report.recv_timeout(BOUND);
    assert_eq!(
        said.as_deref(),
        Ok("ok"),
        "what the page says; the broker: {}; the browser: {}",
        broker.log(),
        browser.log()
    );
}

/// Serves the page and its scripts, and tells what it reports. Ends with the test.
fn serve(tell: Sender<String>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let port = listener.local_addr().expect("it listens").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || answer(stream, &tell));
        }
    });
    port
}

/// Answers one request. A browser that goes away in the middle is nobody's concern.
fn answer(mut stream: TcpStream, tell: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split_whitespace().nth(1)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let (kind, content) = match path.split('?').next()? {
        "/" => ("text/html", std::fs::read(here.join("page.html")).ok()?),
        "/page.mjs" => ("text/javascript", std::fs::read(here.join("page.mjs")).ok()?),
        "/mqtt.min.js" => ("text/javascript", std::fs::read(mqtt_js()).ok()?),
        "/report" => {
            tell.send(String::from_utf8_lossy(&body).into_owned()).ok()?;
            ("text/plain", Vec::new())
        }
        _ => ("text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&content).ok()
}

fn mqtt_js() -> PathBuf {
    let path = target().join("interop/node/node_modules/mqtt/dist/mqtt.min.js");
    assert!(
        path.is_file(),
        "there is no {}: run `cargo xtask setup`",
        path.display()
    );
    path
}

/// Chromium without a window; it ends with the test.
struct Browser {
    child: Child,
    log: PathBuf,
}

impl Browser {
    fn open(page: &str, folder: &Path) -> Self {
        mqtt_js();
        let log = folder.join("browser.log");
        let output = File::create(&log).expect("the test's folder can be written to");
        let errors = output.try_clone().expect("a file can be shared");
        let program = std::env::var_os("MARTLET_CHROMIUM").unwrap_or_else(|| "chromium".into());
        let mut command = Command::new(program);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                // The test made the certificate, and trusts it.
                "--ignore-certificate-errors",
            ])
            .arg(format!("--user-data-dir={}", folder.join("browser").display()))
            .arg(page)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // It has processes of its own, which are to end with it.
            .process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start Chromium: {error}; run `cargo xtask setup`"));
        Self { child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}
