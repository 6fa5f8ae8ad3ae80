//! What is wrong with a configuration: the codes, and how a finding is printed.

use std::fmt::{self, Display};
use std::ops::Range;

use super::shown::{Excerpt, quoted};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $code:literal $explanation:literal)*) => {
        /// Each kind of error of configuration and of listening, with the code that is printed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it is printed: `F001`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What `martlet help F001` says.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)* }
            }
        }
    };
}

codes! {
    /// A low port needs a right that this user lacks.
    PortNotPermitted "B101" "Ports below 1024 belong to the system: only root, or a program with the capability CAP_NET_BIND_SERVICE, may listen there. Choose a higher port (MQTT's own is 1883), or give the service that capability."
    /// The port is taken.
    PortTaken "B102" "Only one program at a time can listen on a port. The message names the program that holds it, if this user may see it (run as root to see the programs of others). Stop that program, or choose another port with --port or in the configuration."
    /// No interface of this machine has that address.
    AddressNotHere "B103" "A program can only listen on an address of its own machine. `ip address` lists them. 0.0.0.0 stands for all addresses of IPv4, :: for all of IPv6."
    /// The host name of a listener leads nowhere.
    NameUnknown "B104" "A listener may name a host instead of an address; it is looked up once, at the start. It could not be found. Write the address instead, or look into /etc/hosts and the name server."
    /// Listening failed for another reason.
    ListenFailed "B105" "The system refused to open the listener; the message repeats its reason."
    /// Another process uses the folder of the store.
    StoreHeld "S101" "The folder of the store belongs to one process at a time; the message names the one that has it. Stop that one, or give this broker a folder of its own with --data-dir."
    /// The store cannot be opened.
    StoreNotOpened "S102" "The folder of the store cannot be used; the message repeats what the system said. Damage to what is in it never stops the broker, so this is about rights, a missing disk, or a disk that fails. --durability none starts without a store, and keeps nothing."
    /// The store is of a later version.
    StoreFormat "S103" "A later version of martlet has written the store, and this one would not understand all of it. Use that version, or let it export the store (martlet store export) and import it here into an empty folder."
    /// An import into the store was not finished.
    StoreUnfinished "S104" "The folder has the beginning of what martlet store import was to write: the import was interrupted, and what is there lacks the rest. Remove the files in the folder and import again, or give this broker another folder with --data-dir."
    /// A line of a password file makes no sense.
    UsersLine "U101" "A line of a password file is NAME:HASH, as `martlet passwd` or mosquitto_passwd writes it; empty lines, and lines that begin with #, are left out. This one is something else. It could be half of a user who should come in or of one who should not, so nobody is let in by such a file."
    /// A password that is not hashed.
    UsersPlainText "U102" "A password file holds hashes, from which nobody can read a password. This line holds the password itself. `martlet passwd -U FILE` hashes all passwords of the file that are not hashed yet."
    /// A password file cannot be read.
    UsersUnreadable "U103" "The file behind password_file does not exist, or this user may not read it: a service often runs as a user of its own. Relative paths count from the folder in which the broker is started. Without the file nobody is let in."
    /// No directive has that name.
    UnknownName "F001" "The first word of a line names an option, and there is none of that name. Names are lower case, with underscores. docs/configuration.md lists all of them."
    /// The value is of another kind.
    BadValue "F002" "The value cannot be read as what the option takes. Quotes are not needed around values, and are part of them if given."
    /// The number is too small or too large.
    OutOfRange "F003" "The value is a number outside of the range that the option takes, or a text that is longer than it takes."
    /// The value is not there.
    NoValue "F004" "The option needs a value behind its name, on the same line."
    /// There is more than one value.
    Surplus "F005" "The option takes one value, and there is more on the line. A comment behind a value begins with a space and #."
    /// mosquitto knows it, we do not carry it out yet.
    NotYet "F006" "mosquitto has this option, and this version of martlet cannot do what it says. Going on without it would be a broker that differs from what its file says, so it stops instead. Remove the line if you can do without it."
    /// Set twice where only once is meaningful.
    Twice "F007" "Texts, paths and addresses may be given once. For numbers and words the last line counts, and log_dest and log_type add up."
    /// A directive stands where it means nothing.
    WrongPlace "F008" "Some options belong to a listener and stand below its `listener` line. Above all listeners they belong to the default listener, which exists only with `port` or `bind_address`, or if there is no `listener` at all."
    /// Two listeners want the same place.
    SameListener "F009" "Two listeners cannot share a port on one address; a listener without an address covers all addresses of the machine."
    /// There is no such file.
    NoFile "F010" "The configuration file, or a folder that it includes, does not exist. Relative paths count from the folder in which the broker is started."
    /// The file cannot be read.
    Unreadable "F011" "The configuration exists and cannot be read, or is far too large for one. The broker needs the right to read the file and to enter each folder above it."
    /// It is a folder.
    IsFolder "F012" "A configuration file is wanted, and the path is a folder. Name a file in it; include_dir reads a whole folder."
    /// The line is not text.
    NotText "F013" "A configuration is a text file in UTF-8, without control characters. This line holds other bytes. An editor can save the file as UTF-8; UTF-16, which some editors of Windows write, is not read."
    /// The line is too long.
    LineTooLong "F014" "A line of a configuration has at most 8,192 bytes. This is more likely another kind of file."
    /// `include_dir` in an included file, or too many files.
    Include "F015" "include_dir works in the main file only, so that files cannot include each other without end, and brings in at most 256 files."
    /// Too many listeners.
    TooManyListeners "F016" "A broker has at most 256 listeners."
    /// Two directives contradict each other.
    Contradiction "F017" "Two options ask for opposite things, and which one was meant cannot be known. Keep one of them. Where the broker goes on with a warning, it says which of the two holds."
    /// The flag is malformed, or cannot say that.
    BadFlag "F018" "--set takes NAME=VALUE with the name of an option, except for `listener`, `port`, `bind_address` and `include_dir`: --bind and --port choose the listeners, and include_dir works in the file only."
    /// The flag does not say which listener it means.
    WhichListener "F019" "--bind and --port change the one listener of a configuration file. With several listeners in the file it cannot be known which one is meant; edit the file instead."
    /// A directive that nobody obeys.
    NoEffect "F020" "The option exists in old files and has no effect, in mosquitto too. Remove the line."
    /// A listener where no client can log in.
    NobodyMayConnect "F021" "Clients that name no user are refused at this listener, and without a password file there are no users, so it refuses everybody. `martlet passwd -c FILE USER` makes a file of users, and `password_file FILE` names it to the broker. `allow_anonymous true` lets everybody in who can reach the port: do that only in a network that you trust."
    /// This build lacks what the line asks for.
    NotBuilt "F023" "Parts of martlet are built only where somebody wants them: cargo build --release --features NAME, with the name that the message has."
    /// TLS needs more than is set.
    TlsIncomplete "T001" "A listener speaks TLS if `certfile` and `keyfile` are both set below it. Clients are asked for certificates with `require_certificate true`, which needs `cafile` or `capath`: who may have signed them."
    /// A cipher or version that there is none of.
    NotInTls "T002" "TLS is done by a library that has only what is held to be safe today: TLS 1.2 with ECDHE and AEAD ciphers, and TLS 1.3. The message lists the names that there are. Lists such as HIGH or DEFAULT are OpenSSL's own; without a list all ciphers are allowed that there are."
    /// A file of TLS cannot be read.
    TlsFileUnreadable "T003" "A certificate, key or list that the configuration names cannot be read. Relative paths count from the folder in which the broker is started. The broker needs the right to read the file, and to enter each folder above it: a service often runs as a user of its own."
    /// A file of TLS holds something else.
    TlsFileWrong "T004" "Files of TLS are PEM: text in which entries stand between lines such as -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----. The file holds no entry of the kind that is wanted, or one that is damaged. Often two files are swapped, or a certificate was cut when it was copied."
    /// The key is of another certificate.
    KeyNotOfCertificate "T005" "Certificate and key are two halves of one pair, and these are halves of two. Often one of them was renewed and the other was not, or the certificate of the authority stands before the server's own in the file: the server's comes first."
    /// The key is encrypted.
    KeyEncrypted "T006" "The key cannot be opened. A broker has nobody to ask for a pass phrase, so its key is not encrypted (openssl pkey -in KEY -out NEW takes the pass phrase away; keep NEW readable by the broker alone). Clients give it with --tls-keypass or their tool's own option, and the key must be PKCS#8 (BEGIN ENCRYPTED PRIVATE KEY)."
    /// The certificate is not valid now.
    CertificateDates "T007" "A certificate holds from one day to another, and today is not between them. The broker runs all the same, as clients that do not look go on; all others refuse it. Renew the certificate and send SIGHUP, or look at the clock of this machine."
    /// A file that the broker writes cannot be written.
    CannotWrite "F022" "The broker writes its log to a file, or its process identifier, and cannot. The folder must exist, and the user that runs the broker needs the right to write there: a service often runs as a user of its own."
}

/// What `martlet help CODE` says; `None` if there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    Code::ALL
        .iter()
        .find(|c| c.as_str().eq_ignore_ascii_case(code))
        .map(|c| c.explanation())
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a line of a file.
    Line {
        /// The path as it was given.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The line, passwords masked.
        text: String,
        /// The bytes of `text` that are marked.
        span: Range<usize>,
    },
    /// In a flag, as it was typed.
    Flag(String),
    /// In a file as a whole; the message names it.
    Whole,
}

/// One thing that is wrong, or of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// One sentence or two.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Lines below, such as `fix: ...`.
    pub notes: Vec<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place,
            notes: Vec::new(),
        }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The finding in one line, for the log.
    pub fn line(&self) -> String {
        let mut line = match &self.place {
            Place::Line { file, line, .. } => format!("{file}:{line}: {}", self.message),
            Place::Flag(flag) => format!("{} (from {})", self.message, quoted(flag)),
            Place::Whole => self.message.clone(),
        };
        for note in &self.notes {
            line.push(' ');
            line.push_str(note);
        }
        line
    }

    /// The finding under another heading than `error`.
    pub fn write(&self, out: &mut impl fmt::Write, heading: &str) -> fmt::Result {
        write!(out, "{heading}[{}]: ", self.code.as_str())?;
        match &self.place {
            Place::Line {
                file,
                line,
                text,
                span,
            } => {
                write!(out, "{file}:{line}: {}", self.message)?;
                let excerpt = Excerpt::new(text, span);
                let gutter = " ".repeat(line.to_string().len());
                write!(
                    out,
                    "\n  {line} | {}\n  {gutter} | {}",
                    excerpt.line, excerpt.mark
                )?;
            }
            Place::Flag(flag) => write!(out, "{}\n  from: {}", self.message, quoted(flag))?,
            Place::Whole => write!(out, "{}", self.message)?,
        }
        self.notes.iter().try_for_each(|note| write!(out, "\n  {note}"))
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error")
    }
}

/// All that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// In the order of files and lines, flags last.
    pub findings: Vec<Finding>,
    /// Further ones that were not kept.
    pub more: usize,
}

impl Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{finding}")?;
        }
        match self.more {
            0 => Ok(()),
            1 => write!(f, "\n... and 1 more error"),
            more => write!(f, "\n... and {more} more errors"),
        }
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_explain_themselves() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!(explain(&code.as_str().to_lowercase()).is_some_and(|text| text.ends_with('.')));
        }
        assert_eq!(explain("F999"), None);
        assert_eq!(explain(""), None);
    }
}
