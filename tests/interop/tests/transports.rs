//! Other people's clients over TLS, mutual TLS, WebSocket, both, and Unix sockets. Debian's clients know no
//! WebSocket (2.1 does), and MQTT.js no Unix socket.

use std::process::Command;
use std::time::{Duration, Instant};

use martlet_interop::transport::{renew_server, socket};
use martlet_interop::{Broker, Transport, run, text};

/// Runs cases of both kinds of scripts over a transport.
macro_rules! over {
    ($($way:ident = $transport:ident { paho { $($paho:ident)* } mqttjs { $($mqttjs:ident)* } })*) => {$(
        mod $way {
            mod paho {
                mod v31 { $(#[test] fn $paho() {
                    martlet_interop::Scripts::Paho
                        .run_over(concat!("v31::", stringify!($paho)), martlet_interop::Transport::$transport);
                })* }
                mod v311 { $(#[test] fn $paho() {
                    martlet_interop::Scripts::Paho
                        .run_over(concat!("v311::", stringify!($paho)), martlet_interop::Transport::$transport);
                })* }
                mod v5 { $(#[test] fn $paho() {
                    martlet_interop::Scripts::Paho
                        .run_over(concat!("v5::", stringify!($paho)), martlet_interop::Transport::$transport);
                })* }
            }
            mod mqttjs { $(#[test] fn $mqttjs() {
                martlet_interop::Scripts::MqttJs
                    .run_over(concat!("v5::", stringify!($mqttjs)), martlet_interop::Transport::$transport);
            })* }
        }
    )*};
}

over! {
    tls = Tls {
        paho {
            connect_and_connack qos_both_directions payload_sizes largest_packet order_is_kept takeover many_clients_at_once
            session_resumed_after_disconnect retained_set_replace_clear idle_client_pings will_at_takeover
        }
        mqttjs { qos_both_directions payload_sizes order_is_kept takeover }
    }
    mutual = Mutual {
        paho { connect_and_connack qos_both_directions payload_sizes session_resumed_after_disconnect takeover }
        mqttjs { qos_both_directions payload_sizes }
    }
    ws = Ws {
        paho {
            connect_and_connack qos_both_directions payload_sizes largest_packet order_is_kept takeover many_clients_at_once
            session_resumed_after_disconnect retained_set_replace_clear idle_client_pings will_at_takeover
        }
        mqttjs {
            qos_both_directions payload_sizes order_is_kept takeover wildcards retained_set_replace_clear
            topic_aliases_of_the_client idle_client_pings
        }
    }
    wss = Wss {
        paho { connect_and_connack qos_both_directions payload_sizes largest_packet order_is_kept takeover many_clients_at_once }
        mqttjs { qos_both_directions payload_sizes order_is_kept takeover }
    }
    unix = Unix {
        paho {
            connect_and_connack qos_both_directions payload_sizes largest_packet order_is_kept takeover many_clients_at_once
            session_resumed_after_disconnect
        }
        mqttjs { }
    }
}

/// One message from `mosquitto_pub`, retained, and `mosquitto_sub` that fetches it, in each version.
fn tools(broker: &Broker, way: &[String]) -> Result<(), String> {
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let command = |tool: &str, args: &[&str]| {
            let mut command = Command::new(tool);
            command
                .args(way)
                .args(args)
                .args(["-t", "tools/topic", "-q", "2", "-V", version]);
            let output = run(&mut command);
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            if output.status.success() {
                Ok(said)
            } else {
                Err(format!("{tool} {way:?} {version}: {said}{}", broker.log()))
            }
        };
        let words = format!("{version} over another way");
        command("mosquitto_pub", &["-r", "-m", &words])?;
        let said = command("mosquitto_sub", &["-C", "1", "-W", "15"])?;
        assert_eq!(said, format!("{words}\n"));
    }
    Ok(())
}

fn file(broker: &Broker, name: &str) -> String {
    broker.folder().join(name).display().to_string()
}

fn tls(broker: &Broker) -> Vec<String> {
    let port = broker.other_port().to_string();
    [
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        &file(broker, "ca.pem"),
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn mosquitto_tools_over_tls() {
    let broker = Broker::start_over("tools-tls", Transport::Tls, "");
    tools(&broker, &tls(&broker)).unwrap();
    for version in ["tlsv1.2", "tlsv1.3"] {
        let version = ["--tls-version", version].map(str::to_owned);
        tools(&broker, &[&tls(&broker)[..], &version].concat()).unwrap();
    }
}

/// The certificate says who a client is; who shows none stays out.
#[test]
fn mosquitto_tools_over_mutual_tls() {
    let broker = Broker::start_over("tools-mutual", Transport::Mutual, "");
    let shown = [
        "--cert",
        &file(&broker, "client.pem"),
        "--key",
        &file(&broker, "client.key"),
    ]
    .map(str::to_owned);
    tools(&broker, &[&tls(&broker)[..], &shown].concat()).unwrap();
    assert!(broker.log().contains(" user=alice "), "{}", broker.log());
    tools(&broker, &tls(&broker)).unwrap_err();
    wait_for_log(&broker, "reason=no_certificate");
}

#[test]
fn mosquitto_tools_over_a_unix_socket() {
    let broker = Broker::start_over("tools-unix", Transport::Unix, "");
    let path = socket(broker.folder()).display().to_string();
    tools(&broker, &["--unix".to_owned(), path.clone()]).unwrap();
    let log = broker.log();
    assert!(
        log.contains(" from=unix:") && log.contains(&format!(" listener={path} ")),
        "{log}"
    );
}

/// Waits until the log has a line with these words.
fn wait_for_log(broker: &Broker, words: &str) {
    let start = Instant::now();
    while !broker.log().contains(words) {
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "no line with {words}: {}",
            broker.log()
        );
        std::thread::yield_now();
    }
}

/// What somebody who speaks something else reads in the log.
#[test]
fn the_log_names_who_came_to_the_wrong_port() {
    let broker = Broker::start_over("wrong-port", Transport::Tls, "");
    let port = broker.other_port().to_string();
    let plain =
        run(Command::new("mosquitto_pub").args(["-h", "127.0.0.1", "-p", &port, "-t", "a", "-m", "b"]));
    assert!(!plain.status.success());
    wait_for_log(&broker, "listener.mismatch expected=tls got=mqtt");
    let port = broker.port().to_string();
    let ca = file(&broker, "ca.pem");
    let tls = run(Command::new("mosquitto_pub").args([
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        &ca,
        "-t",
        "a",
        "-m",
        "b",
    ]));
    assert!(!tls.status.success());
    wait_for_log(&broker, "listener.mismatch expected=mqtt got=tls");
    renew_server(broker.folder());
    let stranger = file(&broker, "renewed-ca.pem");
    let port = broker.other_port().to_string();
    let untrusting = run(Command::new("mosquitto_pub").args([
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        &stranger,
        "-t",
        "a",
        "-m",
        "b",
    ]));
    assert!(!untrusting.status.success());
    wait_for_log(&broker, "it does not trust who signed our certificate");
}

/// A certificate is renewed while a client is there; a broken one changes nothing.
#[test]
fn certificates_are_read_again_and_nobody_is_dropped() {
    let broker = Broker::start_over("renewed", Transport::Tls, "");
    let watcher = Command::new("mosquitto_sub")
        .args(tls(&broker))
        .args(["-t", "watched", "-C", "1", "-W", "60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("mosquitto_sub");
    wait_for_log(&broker, "client.connected");

    let good = std::fs::read(broker.folder().join("server.pem")).expect("it was written");
    std::fs::write(broker.folder().join("server.pem"), "broken").expect("the test's folder");
    hang_up(&broker);
    wait_for_log(&broker, "certificates.kept code=T004");
    tools(&broker, &tls(&broker)).unwrap();

    std::fs::write(broker.folder().join("server.pem"), good).expect("the test's folder");
    renew_server(broker.folder());
    hang_up(&broker);
    wait_for_log(&broker, "certificates.reloaded listeners=1");
    tools(&broker, &tls(&broker)).unwrap_err();
    let renewed: Vec<String> = tls(&broker)
        .iter()
        .map(|word| word.replace("ca.pem", "renewed-ca.pem"))
        .collect();
    tools(&broker, &renewed).unwrap();

    let port = broker.port().to_string();
    let sent = run(Command::new("mosquitto_pub").args([
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "watched",
        "-m",
        "still here",
    ]));
    assert!(sent.status.success());
    let output = watcher.wait_with_output().expect("mosquitto_sub ends");
    assert_eq!(text(&output.stdout), "still here\n");
}

fn hang_up(broker: &Broker) {
    let process = broker.id().to_string();
    assert!(
        run(Command::new("kill").args(["-HUP", &process]))
            .status
            .success()
    );
}
