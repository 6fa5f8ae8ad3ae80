//! A password from whoever runs the program: typed twice on a terminal that does not show it, else from standard input.

use std::io::{self, IsTerminal, Read, Write};

use martlet_users::limits::PASSWORD_BYTES_MAX;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Why there is no password.
#[derive(Debug)]
pub(crate) enum NoPassword {
    /// Nothing was typed.
    Empty,
    /// The two differ.
    Differ,
    /// No CONNECT could carry it.
    TooLong,
    /// Ctrl-C.
    Interrupted,
    /// The terminal or standard input failed.
    Failed(io::Error),
}

impl From<io::Error> for NoPassword {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Asks for a new password, twice. Where standard input is no terminal its first line is the password; a second one, as
/// scripts for `mosquitto_passwd` send it, must be the same.
pub(crate) fn ask() -> Result<Vec<u8>, NoPassword> {
    let mut input = io::stdin().lock();
    if !input.is_terminal() {
        return of_lines(&mut input);
    }
    let first = typed(&mut input, "Password: ")?;
    if first.is_empty() {
        return Err(NoPassword::Empty);
    }
    let second = typed(&mut input, "Reenter password: ")?;
    both(first, &second)
}

fn both(first: Vec<u8>, second: &[u8]) -> Result<Vec<u8>, NoPassword> {
    if first == second {
        Ok(first)
    } else {
        Err(NoPassword::Differ)
    }
}

fn of_lines(input: &mut impl Read) -> Result<Vec<u8>, NoPassword> {
    let mut text = Vec::new();
    let bytes_max = 2 * (PASSWORD_BYTES_MAX as u64 + 2);
    input.take(bytes_max).read_to_end(&mut text)?;
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default().to_vec();
    let second = lines.next().unwrap_or_default();
    match (first.len(), second.len()) {
        (0, _) => Err(NoPassword::Empty),
        (bytes, _) if bytes > PASSWORD_BYTES_MAX => Err(NoPassword::TooLong),
        (_, 0) => Ok(first),
        _ => both(first, second),
    }
}

/// One line of a terminal that does not show it. Keys are obeyed here, so that Ctrl-C leaves the terminal as it was.
fn typed(input: &mut impl Read, prompt: &str) -> Result<Vec<u8>, NoPassword> {
    let mut screen = io::stderr();
    let quiet = Quiet::begin(io::stdin())?;
    screen.write_all(prompt.as_bytes())?;
    let line = keys(input);
    drop(quiet);
    screen.write_all(b"\n")?;
    line
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// The keys of one line.
fn keys(input: &mut impl Read) -> Result<Vec<u8>, NoPassword> {
    let mut line = Vec::new();
    let mut key = [0];
    loop {
        if input.read(&mut key)? == 0 {
            return Ok(line);
        }
        match key[0] {
            b'\n' | b'\r' | CTRL_D => return Ok(line),
            CTRL_C => return Err(NoPassword::Interrupted),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // A letter may have several bytes.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            _ if line.len() == PASSWORD_BYTES_MAX => return Err(NoPassword::TooLong),
            byte => line.push(byte),
        }
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet {
    terminal: io::Stdin,
    before: Termios,
}

impl Quiet {
    fn begin(terminal: io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Now, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Result<String, String> {
        of_lines(&mut &text[..])
            .map(|line| String::from_utf8(line).unwrap())
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_line_or_two_equal_ones() {
        let good = [
            "x y",
            "x y\n",
            "x y\r\n",
            "x y\nx y",
            "x y\nx y\n",
            "x y\r\nx y\r\n",
        ];
        assert!(
            good.iter()
                .all(|text| of(text.as_bytes()) == Ok("x y".to_owned()))
        );
        let bad = [
            ("", "Empty"),
            ("\nx", "Empty"),
            ("x\ny\n", "Differ"),
            ("x\nxx", "Differ"),
        ];
        for (text, why) in bad {
            assert_eq!(of(text.as_bytes()), Err(why.to_owned()), "{text:?}");
        }
        assert!(of(&b"x".repeat(PASSWORD_BYTES_MAX)).is_ok());
        assert_eq!(
            of(&b"x".repeat(PASSWORD_BYTES_MAX + 1)),
            Err("TooLong".to_owned())
        );
    }

    #[test]
    fn keys_that_change_the_line() {
        let line = |typed: &str| keys(&mut typed.as_bytes()).map(|line| String::from_utf8(line).unwrap());
        for (typed, expected) in [
            ("abc\nd", "abc"),
            ("abc\r", "abc"),
            ("abx\x7fc\n", "abc"),
            ("ab\u{e9}\x08c\n", "abc"),
            ("\x7f\x7fabc\n", "abc"),
            ("xyz\x15abc\x04", "abc"),
            ("abc", "abc"),
            ("\n", ""),
        ] {
            assert_eq!(line(typed).unwrap(), expected, "{typed:?}");
        }
        assert!(matches!(line("ab\x03"), Err(NoPassword::Interrupted)));
    }
}
