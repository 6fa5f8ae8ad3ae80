//! `martlet help CODE`: what an error means and what to do.

use crate::words::wrapped;

/// An error that the command line prints.
struct Entry {
    code: &'static str,
    title: &'static str,
    text: &'static str,
}

/// The explanation of a code.
pub(crate) fn explain(code: &str) -> Option<String> {
    if let Some(entry) = ENTRIES.iter().find(|e| e.code.eq_ignore_ascii_case(code)) {
        let text = format!("{}: {}\n\n{}\n", entry.code, entry.title, entry.text);
        return Some(text);
    }
    let (code, title) = BROKER
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    let text = martlet_server::error::explain(code)?;
    let status = match *code {
        "U101" | "U102" | "U103" => {
            "A broker that starts does not, with exit status 1; one that is told to read the file again keeps the users \
             that it has. The exit status of martlet passwd is 1."
        }
        "F020" => "In a file it is a warning; behind --set it is an error, and the exit status is 1.",
        "T007" => "It is a warning.",
        "T003" | "T004" | "T005" | "T006" => {
            "The broker does not start, and a client does not connect. The exit status is 1."
        }
        _ => "The broker does not start. The exit status is 1.",
    };
    Some(format!(
        "{code}: {title}\n\n{}",
        wrapped(&format!("{text} {status}"), "")
    ))
}

/// All codes with their titles, a line each.
pub(crate) fn list() -> String {
    let clients = ENTRIES.iter().map(|entry| (entry.code, entry.title));
    let lines = clients.chain(BROKER.iter().copied());
    lines
        .map(|(code, title)| format!("  {code}  {title}\n"))
        .collect()
}

/// The broker's codes, which it explains itself, and their titles.
const BROKER: &[(&str, &str)] = &[
    ("B101", "the port needs a right that this user lacks"),
    ("B102", "the port is taken"),
    ("B103", "the address is not one of this machine"),
    ("B104", "no host of the name of a listener"),
    ("B105", "the system does not open the listener"),
    ("S101", "the store is in use"),
    ("S102", "the store cannot be opened"),
    ("S103", "the store is of a later version"),
    ("S104", "the store is not complete"),
    ("U101", "a line of a password file that makes no sense"),
    ("U102", "a password in plain text in a password file"),
    ("U103", "the password file cannot be read"),
    ("F001", "no such option in the configuration"),
    ("F002", "a value of another kind"),
    ("F003", "a value out of range"),
    ("F004", "a value is missing"),
    ("F005", "more than one value"),
    ("F006", "an option that this version does not have yet"),
    ("F007", "an option given twice"),
    ("F008", "an option in the wrong place"),
    ("F009", "two listeners in one place"),
    ("F010", "no such configuration file"),
    ("F011", "the configuration cannot be read"),
    ("F012", "the configuration is a folder"),
    ("F013", "the configuration is not text"),
    ("F014", "a line is too long"),
    ("F015", "too many files, or files that include files"),
    ("F016", "too many listeners"),
    ("F017", "two options contradict each other"),
    ("F018", "a flag that cannot say that"),
    ("F019", "a flag that could mean several listeners"),
    ("F020", "an option without effect"),
    ("F021", "nobody may connect"),
    ("T001", "TLS needs more than is set"),
    ("T002", "a cipher or version that there is none of"),
    ("T003", "a file of TLS cannot be read"),
    ("T004", "a file of TLS holds something else"),
    ("T005", "the key is of another certificate"),
    ("T006", "the key is encrypted"),
    ("T007", "the certificate is not valid today"),
    ("F022", "a file that cannot be written"),
    ("F023", "this build lacks a part"),
];

const ENTRIES: &[Entry] = &[
    Entry {
        code: "C001",
        title: "nothing listens there",
        text: "The machine was reached, and no program listens on that port. Is the broker running, and on this port?\n\
               A bare `martlet broker` listens on 127.0.0.1 port 1883. -h and -p choose another host and port.\n\
               The exit status is 1.",
    },
    Entry {
        code: "C002",
        title: "no host of that name",
        text: "The name behind -h, in the URL of -L or behind -A has no address. Check its spelling, or give an IP address.\n\
               The exit status is 1.",
    },
    Entry {
        code: "C003",
        title: "the network does not reach the server",
        text: "There is an address, and no connection to it came about: there is no route, a firewall is silent, or the\n\
               local address of -A is not one of this machine. The exit status is 1.",
    },
    Entry {
        code: "C004",
        title: "the connection was lost",
        text: "The connection was made, and ended without a word of the server. A server ends a connection so when it\n\
               speaks another protocol on that port (TLS, HTTP), when a limit is reached, or when it stops.\n\
               Its log says why. The exit status is 7.",
    },
    Entry {
        code: "C005",
        title: "the server does not speak this version of MQTT",
        text: "-V or an option that only 5.0 has (-D, -x ...) asked for a version that the server refuses.\n\
               Without them, 3.1.1 is tried by itself where 5.0 is not known. The exit status is the server's code.",
    },
    Entry {
        code: "C006",
        title: "the server broke the protocol",
        text: "What the server sent is not MQTT, or breaks a rule of it. Is it an MQTT server, and one without TLS?\n\
               The exit status is 2.",
    },
    Entry {
        code: "C007",
        title: "the server ended the connection and said why",
        text: "The server sent DISCONNECT with a reason. `session taken over` means that another client uses the same\n\
               client identifier: give each its own with -i. After a reason that may pass, such as `server busy`, sub and\n\
               `pub -l` connect again by themselves; after another they end. The exit status is 4.",
    },
    Entry {
        code: "C008",
        title: "the proxy does not connect",
        text: "The proxy of --proxy was reached, and did not connect to the server; the message has its reason. Does its login\n\
               stand in the URL (socks5h://USER:PASSWORD@HOST), and may it connect to that port? The exit status is 1.",
    },
    Entry {
        code: "C009",
        title: "no WebSocket there",
        text: "The server was reached, and does not open a WebSocket for MQTT. Is the port one for WebSockets, and the path the\n\
               right one? Brokers have it at /mqtt, some at / (--ws-path /). The exit status is 1.",
    },
    Entry {
        code: "C010",
        title: "wrong arguments",
        text: "An option is not known, has no value or a wrong one, or does not go with another.\n\
               `martlet pub --help` lists all options; so do sub and rr. The exit status is 1.",
    },
    Entry {
        code: "C011",
        title: "an option that martlet does not have",
        text: "mosquitto has the option, and martlet has not: multipath TCP and logs of TLS secrets are to come;\n\
               pre-shared keys and OpenSSL's engines are not in the library that does TLS here. martlet says so instead of\n\
               going on without. The exit status is 1.",
    },
    Entry {
        code: "C012",
        title: "the options file cannot be read",
        text: "The file behind -o is not there, or not readable. The exit status is 1.",
    },
    Entry {
        code: "C013",
        title: "the payload cannot be read",
        text: "The file behind -f or standard input is not readable, or has more than 268435455 bytes, the most that a\n\
               message of MQTT can carry. The exit status is 1.",
    },
    Entry {
        code: "C014",
        title: "the system does not let it run",
        text: "What every program may do was refused: to write to standard output or to a folder, to start, to take signals.\n\
               Is the disk full, or a limit reached? The exit status is 1.",
    },
    Entry {
        code: "C015",
        title: "the benchmark could not be run",
        text: "`martlet bench` lost a connection, was refused, or got what is not MQTT. Its exit status is 1, as it is when a\n\
               message was lost, repeated, reordered, corrupted or misrouted: then the report says which.",
    },
    Entry {
        code: "C016",
        title: "the DNS names no server",
        text: "-S asks the DNS for SRV records of the domain that -h names: `_mqtt._tcp.DOMAIN`, with TLS\n\
               `_secure-mqtt._tcp.DOMAIN`. There is none, or no name server answers. `dig SRV _mqtt._tcp.DOMAIN` asks for the\n\
               same; without -S the host of -h itself is connected to. The exit status is 1.",
    },
    Entry {
        code: "C020",
        title: "the time of -W is over",
        text: "sub was told to stop after this time, and rr got no response within it. The exit status is 27.",
    },
    Entry {
        code: "A001",
        title: "the login was refused",
        text: "The server does not accept this user name with this password, or wants one and got none: -u NAME -P PASSWORD.\n\
               Servers do not tell clients which of the two is wrong. The exit status is the server's code: 4 or 5 in 3.1.1,\n\
               134 or 135 in 5.0.",
    },
    Entry {
        code: "A002",
        title: "the client was refused",
        text: "The server does not take this client, for a reason other than its login: its client identifier, a ban,\n\
               too many connections ... The exit status is the server's code.",
    },
    Entry {
        code: "A010",
        title: "a message was refused",
        text: "The server acknowledged the message with a refusal: nobody got it. Only 5.0 with QoS 1 or 2 can say so;\n\
               3.1.1 and QoS 0 are silent. The exit status is 1.",
    },
    Entry {
        code: "A011",
        title: "a subscription was refused",
        text: "The server does not let this client subscribe to this topic filter. The exit status is 1 when no filter was\n\
               granted; with others that were, sub goes on.",
    },
    Entry {
        code: "A013",
        title: "the server cannot serve this",
        text: "The message or subscription asks for what the server said it does not serve: a QoS, retained messages, the size\n\
               of a packet, shared subscriptions ... It was not sent. The exit status is 1.",
    },
    Entry {
        code: "T010",
        title: "nobody who is trusted has signed the server's certificate",
        text: "The certificate of the server leads to an authority that is not among those that are trusted: the file of\n\
               --cafile, the folder of --capath, else those of this system. Get the certificate of that authority from\n\
               whoever runs the server, and give it with --cafile. The exit status is 1.",
    },
    Entry {
        code: "T011",
        title: "the server's certificate is for another name",
        text: "A certificate names the hosts that it is for, and the one behind -h is not among them. Use a name that is, or\n\
               have the certificate made anew with this one (subjectAltName). --insecure connects all the same, and then\n\
               anybody with a certificate of that authority can be the server. The exit status is 1.",
    },
    Entry {
        code: "T012",
        title: "the port does not speak TLS",
        text: "TLS was asked for, and what answers does not speak it. MQTT with TLS is usually on port 8883, without on 1883.\n\
               The exit status is 1.",
    },
    Entry {
        code: "T013",
        title: "the port expects TLS",
        text: "The server answered with an alert of TLS to a client that speaks plain MQTT. --cafile FILE, or\n\
               --tls-use-os-certs for a certificate that everybody trusts, makes it speak TLS. The exit status is 7.",
    },
    Entry {
        code: "T014",
        title: "the server's certificate is not valid today",
        text: "A certificate holds from one day to another. Whoever runs the server has to renew it; or the clock of this\n\
               machine is wrong. The exit status is 1.",
    },
    Entry {
        code: "T015",
        title: "no TLS with the server",
        text: "The message says which side refused what. `it wants a certificate of this side` asks for --cert and --key;\n\
               `nothing in common` for other versions or ciphers. The server's log often says more. The exit status is 1.",
    },
    Entry {
        code: "S001",
        title: "no store there",
        text: "The folder is not there, is a file, or has no segments (files whose names end in .seg). --data-dir names the folder; without\n\
               it, it is $STATE_DIRECTORY, else martlet-data in the current folder. A configuration file is not read: if it has data_dir\n\
               or persistence_location, name the folder that the broker prints at its start. The exit status is 2.",
    },
    Entry {
        code: "S002",
        title: "the store is in use",
        text: "Only one program at a time may use a store. The message names the one that does: stop it first. What holds the\n\
               store is a lock of the system, which goes with the process, however that ends. The exit status is 2.",
    },
    Entry {
        code: "S003",
        title: "the store cannot be used",
        text: "The system does not let this user read or write the files of the store, or the disk is full or fails; the message\n\
               has its words. Nothing is lost by that. The exit status is 2.",
    },
    Entry {
        code: "S004",
        title: "the store is of a later version, or not finished",
        text: "A later version has written the store: use that one, or export the store with it. Or an import was interrupted:\n\
               remove the files in the folder and import again. The exit status is 2.",
    },
    Entry {
        code: "S005",
        title: "the folder is not empty",
        text: "import makes a new store, and never adds to one. Choose a folder that is empty or not there. The exit status is 2.",
    },
    Entry {
        code: "S006",
        title: "not what an export writes",
        text: "The file cannot be read, or a line of it is not a record: export writes a line of JSON for each record, the format\n\
               first. Nothing was imported. The exit status is 2.",
    },
    Entry {
        code: "S007",
        title: "the output cannot be written",
        text: "The file cannot be made or written to; the message has the words of the system. The exit status is 2.",
    },
    Entry {
        code: "U001",
        title: "no such user",
        text: "The password file has no line for this user, so there is nothing to take out. Names are compared letter by\n\
               letter. The exit status is 1.",
    },
    Entry {
        code: "U002",
        title: "no password",
        text: "No password was given, or the one that was typed twice was not the same both times, or it is longer than MQTT\n\
               can carry. Nothing was changed. The exit status is 2 if the two differ, 130 after Ctrl-C, else 1.",
    },
    Entry {
        code: "U003",
        title: "the password file exists",
        text: "-c makes a new file, and never takes the place of one with users in it. Without -c the user is added to the file\n\
               that is there. The exit status is 1.",
    },
    Entry {
        code: "U004",
        title: "not the name of a user",
        text: "A line of a password file is NAME:HASH, and begins with # if it is a comment. So a name has no colon and no\n\
               control characters, does not begin with # and has no blanks at its ends. The exit status is 1.",
    },
    Entry {
        code: "U005",
        title: "the password file cannot be written",
        text: "A new file is written beside the old one and takes its place when it is complete, so this user needs the right\n\
               to write in the folder, and the owner of the file stays its owner. The old file is as it was. The exit\n\
               status is 1.",
    },
    Entry {
        code: "L001",
        title: "the script cannot be run",
        text: "`martlet lua` cannot read the script, or the system gives it no Lua. The exit status is 1.",
    },
    Entry {
        code: "L002",
        title: "the script is not Lua",
        text: "The line that is named breaks the grammar of Lua 5.3. Nothing of the script has run. The exit status is 1.",
    },
    Entry {
        code: "L003",
        title: "the script has failed",
        text: "An error that nobody caught has ended the script. The first line says what and where, the lines behind it by\n\
               which calls it came there, the innermost first. An error in a task of `sys` ends the script after half a\n\
               second, as on a module; COROUTINE_ERROR_ROLL_BACK = false and COROUTINE_ERROR_RESTART = false let it go on.\n\
               The exit status is 1.",
    },
    Entry {
        code: "L004",
        title: "the time of --time-limit is over",
        text: "The script ran longer than it was to. The exit status is 124, as that of `timeout`.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_printed_is_explained() {
        let sources = [
            include_str!("failure.rs"),
            include_str!("failure/transport.rs"),
            include_str!("wrong.rs"),
            include_str!("connect.rs"),
            include_str!("input.rs"),
            include_str!("lua.rs"),
            include_str!("main.rs"),
            include_str!("publish.rs"),
            include_str!("output.rs"),
            include_str!("store.rs"),
            include_str!("passwd.rs"),
        ];
        let mut seen = 0;
        for source in sources {
            for (at, _) in source.match_indices('"') {
                let Some(code) = source.get(at + 1..at + 5) else {
                    continue;
                };
                let is_code = code.starts_with(['A', 'C', 'L', 'S', 'T', 'U'])
                    && code[1..].chars().all(|c| c.is_ascii_digit());
                if is_code {
                    seen += 1;
                    assert!(explain(code).is_some(), "{code}");
                }
            }
        }
        assert!(seen > 10);
        assert!(explain("c001").unwrap().starts_with("C001: "));
        assert!(explain("C999").is_none());
        let broker = martlet_server::config::Code::ALL;
        assert_eq!(list().lines().count(), ENTRIES.len() + broker.len());
        for code in broker {
            let text = explain(code.as_str()).unwrap_or_else(|| panic!("no title: {}", code.as_str()));
            assert!(text.starts_with(code.as_str()) && text.contains(".\n"), "{text}");
        }
    }
}
