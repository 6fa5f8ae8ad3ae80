//! What a start costs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use martlet_interop::{Folder, Killed, bare, binary, free_port};
use martlet_robustness::{Live, wait};

/// What the issue promises; the binary is the release build.
const BINARY_BYTES_MAX: u64 = 12_000_000;

/// Wall time is told; CPU time is judged, with room, because it does not depend on what else the machine does.
const CPU_MAX: Duration = Duration::from_millis(50);

/// User and system time of a process: fields 14 and 15 of its `stat`, in hundredths of a second.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, rest) = stat.rsplit_once(')').expect("the name stands in brackets");
    let fields: Vec<u64> = rest
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // The state is no number: the first one is field 4.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

#[test]
fn it_accepts_connections_soon() {
    let mut walls = Vec::new();
    let mut cpus = Vec::new();
    for _ in 0..10 {
        let port = free_port();
        let start = Instant::now();
        let folder = Folder::new("start");
        let child = bare(folder.path())
            .args(["-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn();
        let broker = Killed(child.expect("the broker starts"));
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not listen");
            std::thread::yield_now();
        }
        walls.push(start.elapsed());
        cpus.push(cpu(broker.0.id()));
    }
    walls.sort();
    cpus.sort();
    println!(
        "accepts after {:?} (median of {}; {:?} to {:?}), {:?} of CPU at most",
        walls[walls.len() / 2],
        walls.len(),
        walls[0],
        walls[walls.len() - 1],
        cpus[cpus.len() - 1]
    );
    assert!(cpus[cpus.len() / 2] <= CPU_MAX, "{cpus:?} of CPU");
}

#[test]
fn a_low_limit_of_open_files_is_told_once() {
    let log = std::env::temp_dir().join(format!("martlet-few-files-{}", std::process::id()));
    let file = std::fs::File::create(&log).expect("a file for the log");
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 300; exec \"$0\" broker --bind 127.0.0.1:0 --durability none",
        ])
        .arg(binary())
        .stdin(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("there is sh");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    wait("its start", Duration::from_secs(10), || {
        read().contains("broker.listening")
    });
    child.kill().and_then(|()| child.wait()).expect("it ends");
    let told = "warn connections.limit connections_max=200 ";
    assert_eq!(read().matches(told).count(), 1, "{}", read());
    let _ = std::fs::remove_file(&log);
}

/// The log names each file that a start sets aside or leaves alone, and calls nothing damage by which nothing is lost.
#[test]
fn files_that_are_not_used_are_named() {
    let folder = std::env::temp_dir().join(format!("martlet-files-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    Live::start_on("files", &folder, &[], &[]).wait_exit_by("TERM");
    for name in ["0000000f.seg", "0000000f-00000100.snap", "notes.tmp"] {
        std::fs::write(folder.join(name), [b'x'; 200]).expect("the folder is there");
    }
    let mut broker = Live::start_on("files", &folder, &[], &[]);
    broker.wait_log("store.unused");
    let log = broker.log();
    for told in [
        "warn store.snapshot_damaged ",
        " files=0000000f-00000100.snap-damaged ",
        "info store.set_aside ",
        " files=0000000f.torn ",
        "info store.unused ",
        " files=notes.tmp ",
    ] {
        assert!(log.contains(told), "{told} is not in {log}");
    }
    assert!(!log.contains("store.damaged"), "{log}");
    for name in ["0000000f.torn", "0000000f-00000100.snap-damaged", "notes.tmp"] {
        let bytes = std::fs::read(folder.join(name)).expect("it is kept");
        assert_eq!(bytes, [b'x'; 200], "{name}");
    }
    broker.wait_exit_by("TERM");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn the_binary_is_small() {
    let bytes = binary().metadata().expect("it is there").len();
    println!("{bytes} bytes");
    assert!(bytes < BINARY_BYTES_MAX, "{bytes} bytes");
}
