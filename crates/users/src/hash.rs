//! One hash of a password: how it is written, made and checked.

use std::fmt;

use argon2::{Algorithm, Argon2, Params};
use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::limits::{
    ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, DIGEST_BYTES_MAX, DIGEST_BYTES_MIN,
    ITERATIONS_MAX, SALT_BYTES_MAX, SALT_BYTES_MIN,
};

/// How a new password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$6$`: SHA-512, once. Whoever has the file tries billions of passwords a second; mosquitto before 2.0 knows
    /// nothing else.
    Sha512,
    /// `$7$`: PBKDF2 with HMAC-SHA-512. mosquitto 2.0 knows it.
    Pbkdf2 {
        /// At least 1.
        iterations: u32,
    },
    /// `$argon2id$`, with the memory and passes of mosquitto 2.1: 46 MiB, 1 pass.
    Argon2id,
}

impl Scheme {
    /// Bytes of salt that a new hash needs. mosquitto 2.0 reads 12 bytes and no others, 2.1 does too.
    pub const fn salt_bytes(self) -> usize {
        match self {
            Self::Sha512 | Self::Pbkdf2 { .. } => 12,
            Self::Argon2id => 16,
        }
    }
}

/// KiB that a new hash of argon2id takes, as in mosquitto 2.1.
const ARGON2_MEMORY_KIB: u32 = 47_104;

/// The bytes of a new hash of argon2id.
const ARGON2_DIGEST_BYTES: usize = 32;

/// The bytes of SHA-512.
const SHA512_BYTES: usize = 64;

/// The hash of one password, with its salt and all that it takes to check a password against it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    method: Method,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Sha512,
    Pbkdf2 { iterations: u32 },
    Argon2id(Cost),
}

/// What argon2id takes, within our limits and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    /// 19, as all make it today, or 16.
    version: u32,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why a text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// It does not begin as a hash does: it may be a password.
    #[error("it is no hash")]
    NotHashed,
    /// A hash that mosquitto does not know either.
    #[error("its method is not known; $6$, $7$ and $argon2id$ are")]
    Method,
    /// Parts are missing, or there are more than there should be.
    #[error("it should read {0}")]
    Shape(&'static str),
    /// A part is not base64.
    #[error("its {0} is not base64")]
    Base64(&'static str),
    /// The salt or the hash is too short or too long.
    #[error("its {part} has {bytes} bytes, not {}", range(*.min, *.max))]
    Length {
        /// `salt` or `hash`.
        part: &'static str,
        /// What it has.
        bytes: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A number is missing, too low or too high.
    #[error("its {part} is not a number from {min} to {max}")]
    Number {
        /// What is counted.
        part: &'static str,
        /// The lowest.
        min: u32,
        /// The highest.
        max: u32,
    },
}

fn range(min: usize, max: usize) -> String {
    if min == max {
        min.to_string()
    } else {
        format!("{min} to {max}")
    }
}

const SHAPE_SHA512: &str = "$6$SALT$HASH";
const SHAPE_PBKDF2: &str = "$7$ITERATIONS$SALT$HASH";
const SHAPE_ARGON2: &str = "$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH";

impl PasswordHash {
    /// Hashes a password. The salt is [`Scheme::salt_bytes`] random bytes, new for each password.
    pub fn new(scheme: Scheme, password: &[u8], salt: &[u8]) -> Self {
        assert!(
            (SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&salt.len()),
            "a salt within the limits"
        );
        let (method, digest_bytes) = match scheme {
            Scheme::Sha512 => (Method::Sha512, SHA512_BYTES),
            Scheme::Pbkdf2 { iterations } => {
                let iterations = iterations.clamp(1, ITERATIONS_MAX);
                (Method::Pbkdf2 { iterations }, SHA512_BYTES)
            }
            Scheme::Argon2id => (Method::Argon2id(Cost::OF_MOSQUITTO), ARGON2_DIGEST_BYTES),
        };
        let mut digest = vec![0; digest_bytes];
        method.hash(password, salt, &mut digest);
        Self {
            method,
            salt: salt.into(),
            digest: digest.into(),
        }
    }

    /// Reads a hash as it stands in a file, without blanks around it.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let parts: Vec<&str> = text.split('$').collect();
        match parts[..] {
            ["", "6", ref rest @ ..] => Self::parse_sha512(rest),
            ["", "7", ref rest @ ..] => Self::parse_pbkdf2(rest),
            ["", "argon2id", ref rest @ ..] => Self::parse_argon2(rest),
            ["", _, ..] => Err(HashError::Method),
            _ => Err(HashError::NotHashed),
        }
    }

    fn parse_sha512(parts: &[&str]) -> Result<Self, HashError> {
        let [salt, digest] = parts else {
            return Err(HashError::Shape(SHAPE_SHA512));
        };
        Self::of_parts::<Base64>(Method::Sha512, salt, digest, SHA512_BYTES)
    }

    fn parse_pbkdf2(parts: &[&str]) -> Result<Self, HashError> {
        let [iterations, salt, digest] = parts else {
            return Err(HashError::Shape(SHAPE_PBKDF2));
        };
        let iterations = number("count of iterations", iterations, 1, ITERATIONS_MAX)?;
        Self::of_parts::<Base64>(Method::Pbkdf2 { iterations }, salt, digest, SHA512_BYTES)
    }

    fn parse_argon2(parts: &[&str]) -> Result<Self, HashError> {
        let [version, cost, salt, digest] = parts else {
            return Err(HashError::Shape(SHAPE_ARGON2));
        };
        let version = match *version {
            "v=19" => 19,
            "v=16" => 16,
            _ => return Err(HashError::Shape(SHAPE_ARGON2)),
        };
        let cost = Cost::parse(version, cost)?;
        Self::of_parts::<Base64Unpadded>(Method::Argon2id(cost), salt, digest, DIGEST_BYTES_MIN)
    }

    fn of_parts<E: Encoding>(
        method: Method,
        salt: &str,
        digest: &str,
        digest_bytes_min: usize,
    ) -> Result<Self, HashError> {
        Ok(Self {
            method,
            salt: decoded::<E>("salt", salt, SALT_BYTES_MIN, SALT_BYTES_MAX)?,
            digest: decoded::<E>("hash", digest, digest_bytes_min, DIGEST_BYTES_MAX)?,
        })
    }

    /// Whether it is the hash of that password. Takes as long for a wrong one as for the right one.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut digest = [0; DIGEST_BYTES_MAX];
        let digest = &mut digest[..self.digest.len()];
        self.method.hash(password, &self.salt, digest) && bool::from(digest.ct_eq(&self.digest))
    }

    /// What tells it from others; nobody outside can guess it.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl fmt::Display for PasswordHash {
    /// As it stands in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = |bytes: &[u8]| Base64::encode_string(bytes);
        let (salt, digest) = (&self.salt, &self.digest);
        match self.method {
            Method::Sha512 => write!(f, "$6${}${}", padded(salt), padded(digest)),
            Method::Pbkdf2 { iterations } => write!(f, "$7${iterations}${}${}", padded(salt), padded(digest)),
            Method::Argon2id(cost) => {
                let bare = |bytes: &[u8]| Base64Unpadded::encode_string(bytes);
                let Cost {
                    version,
                    memory_kib,
                    passes,
                    lanes,
                } = cost;
                write!(
                    f,
                    "$argon2id$v={version}$m={memory_kib},t={passes},p={lanes}${}${}",
                    bare(salt),
                    bare(digest)
                )
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    /// Neither salt nor hash: what is printed for debugging ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl Method {
    /// Fills `digest`; `false`: argon2id does not work with these sizes, which were checked.
    fn hash(self, password: &[u8], salt: &[u8], digest: &mut [u8]) -> bool {
        match self {
            Self::Sha512 => {
                let hashed = Sha512::new().chain_update(password).chain_update(salt).finalize();
                digest.copy_from_slice(&hashed);
                true
            }
            Self::Pbkdf2 { iterations } => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, digest);
                true
            }
            Self::Argon2id(cost) => cost
                .hasher()
                .is_some_and(|hasher| hasher.hash_password_into(password, salt, digest).is_ok()),
        }
    }
}

impl Cost {
    const OF_MOSQUITTO: Self = Self {
        version: 19,
        memory_kib: ARGON2_MEMORY_KIB,
        passes: 1,
        lanes: 1,
    };

    /// `m=KIB,t=PASSES,p=LANES`
    fn parse(version: u32, text: &str) -> Result<Self, HashError> {
        let mut numbers = text.split(',');
        let mut next = |name: &str| {
            let part = numbers.next().and_then(|part| part.strip_prefix(name));
            part.ok_or(HashError::Shape(SHAPE_ARGON2))
        };
        let (memory, passes, lanes) = (next("m=")?, next("t=")?, next("p=")?);
        if numbers.next().is_some() {
            return Err(HashError::Shape(SHAPE_ARGON2));
        }
        let lanes = number("count of lanes (p)", lanes, 1, ARGON2_LANES_MAX)?;
        let cost = Self {
            version,
            // Each lane needs eight blocks of 1 KiB.
            memory_kib: number("memory (m)", memory, 8 * lanes, ARGON2_MEMORY_KIB_MAX)?,
            passes: number("count of passes (t)", passes, 1, ARGON2_PASSES_MAX)?,
            lanes,
        };
        cost.hasher().map(|_| cost).ok_or(HashError::Shape(SHAPE_ARGON2))
    }

    fn hasher(self) -> Option<Argon2<'static>> {
        let version = self.version.try_into().ok()?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None).ok()?;
        Some(Argon2::new(Algorithm::Argon2id, version, params))
    }
}

fn number(part: &'static str, text: &str, min: u32, max: u32) -> Result<u32, HashError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or(HashError::Number { part, min, max })
}

fn decoded<E: Encoding>(
    part: &'static str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<Box<[u8]>, HashError> {
    let bytes = E::decode_vec(text).map_err(|_| HashError::Base64(part))?;
    if !(min..=max).contains(&bytes.len()) {
        let bytes = bytes.len();
        return Err(HashError::Length {
            part,
            bytes,
            min,
            max,
        });
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by `mosquitto_passwd` 2.0.11: `-H sha512`, then its default.
    const OF_MOSQUITTO: [(&str, &str); 4] = [
        (
            "correct horse",
            "$6$WiLSH+b56k2L10sB$VvKzwdw+x9BfkRS+0AK/1G/4p9Cp08AwaDg2qDRwBuAGJxhVJRWxjgEyd5gwjkjAqKiN0XKls9/2w0J0mGgzDw==",
        ),
        (
            "pässwörd",
            "$6$SMvFjn+UHvYZOHpX$eB0+kC1/m/AZjrU0Y5i3XRE1GXhX/HC99rCh9BLo6c19zbFR9grkekxft/j34CU5iyG9l8f8FdRHUwYUmywi3Q==",
        ),
        (
            "correct horse",
            "$7$101$ZXLd8Ap9W6f+KGPF$Przam/yZ0BuEYyEidZfwXX/dHoRMkfKgCyq//RkLsip+QNbRHajQMQXLqXyjvLQAp6aojmjMeU3vlECV0Ar54g==",
        ),
        (
            "pässwörd",
            "$7$101$x6iGgB1kFo//VDIw$BxFKYi4mMRdZp172zmzeFajhsnuqNBi2oEnxfWy1rCLTMbqDa8HQCe1VR+Fn2NTjlWqVnWOAOcgvLv6cuik37w==",
        ),
    ];

    /// From the tests of the reference implementation of argon2: password "password", salt "somesalt".
    const OF_ARGON2: [&str; 2] = [
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    ];

    #[test]
    fn hashes_of_mosquitto_and_of_the_reference() {
        let argon2 = OF_ARGON2.map(|hash| ("password", hash));
        for (password, text) in OF_MOSQUITTO.into_iter().chain(argon2) {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()), "{text}");
            for wrong in ["", "Password", "correct horse ", "passw"] {
                assert!(!hash.verify(wrong.as_bytes()), "{text}");
            }
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn a_salt_of_mosquitto_2_1_has_64_bytes() {
        let salt = [7; 64];
        let hash = PasswordHash::new(Scheme::Pbkdf2 { iterations: 1_000 }, b"x", &salt);
        let again = PasswordHash::parse(&hash.to_string()).unwrap();
        assert!(again == hash && again.verify(b"x"));
    }

    #[test]
    fn what_is_made_can_be_read_and_shows_no_secret() {
        for scheme in [Scheme::Sha512, Scheme::Pbkdf2 { iterations: 3 }, Scheme::Argon2id] {
            let salt = &[9; 16][..scheme.salt_bytes()];
            let hash = PasswordHash::new(scheme, b"secret\0more", salt);
            let text = hash.to_string();
            let again = PasswordHash::parse(&text).unwrap();
            assert!(again == hash && again.verify(b"secret\0more") && !again.verify(b"secret"));
            let other = PasswordHash::new(scheme, b"secret\0more", &[8; 16][..scheme.salt_bytes()]);
            assert!(hash != other && !format!("{hash:?}").contains(text.rsplit('$').next().unwrap()));
        }
        let argon2 = PasswordHash::new(Scheme::Argon2id, b"x", &[1; 16]).to_string();
        assert!(argon2.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{argon2}");
    }

    #[test]
    fn what_is_no_hash_says_why() {
        let sha512 = OF_MOSQUITTO[0].1;
        let good = sha512.rsplit('$').next().unwrap();
        let table = [
            ("", "it is no hash"),
            ("secret", "it is no hash"),
            ("6$x$y", "it is no hash"),
            ("$", "its method is not known; $6$, $7$ and $argon2id$ are"),
            (
                "$2y$10$abc",
                "its method is not known; $6$, $7$ and $argon2id$ are",
            ),
            ("$6$", "it should read $6$SALT$HASH"),
            ("$6$abc", "it should read $6$SALT$HASH"),
            ("$6$a$b$c", "it should read $6$SALT$HASH"),
            ("$6$$", "its salt has 0 bytes, not 8 to 64"),
            ("$6$WiLSH+b56k2L10sB$", "its hash has 0 bytes, not 64"),
            ("$6$WiLSH+b56k2L10sB$YWJj", "its hash has 3 bytes, not 64"),
            ("$6$!$YWJj", "its salt is not base64"),
            (
                "$7$101$WiLSH+b56k2L10sB",
                "it should read $7$ITERATIONS$SALT$HASH",
            ),
            (
                "$7$0$a$b",
                "its count of iterations is not a number from 1 to 10000000",
            ),
            (
                "$7$+5$a$b",
                "its count of iterations is not a number from 1 to 10000000",
            ),
            (
                "$7$99999999999$a$b",
                "its count of iterations is not a number from 1 to 10000000",
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$",
                "its hash has 0 bytes, not 16 to 64",
            ),
            (
                "$argon2id$v=19$m=7,t=1,p=1$a$b",
                "its memory (m) is not a number from 8 to 262144",
            ),
            (
                "$argon2id$v=19$m=4194304,t=1,p=1$a$b",
                "its memory (m) is not a number from 8 to 262144",
            ),
            (
                "$argon2id$v=19$m=256,t=0,p=1$a$b",
                "its count of passes (t) is not a number from 1 to 32",
            ),
        ];
        for (text, why) in table {
            let error = PasswordHash::parse(text).unwrap_err();
            assert_eq!(error.to_string(), why, "{text}");
        }
        for text in [
            "$argon2id$m=256,t=2,p=1$a$b",
            "$argon2id$v=19$m=256,t=2,p=1,x=1$a$b",
            "$argon2id$v=18$m=1,t=1,p=1$a$b",
        ] {
            assert_eq!(
                PasswordHash::parse(text),
                Err(HashError::Shape(SHAPE_ARGON2)),
                "{text}"
            );
        }
        assert!(PasswordHash::parse(&format!("$6$WiLSH+b56k2L10sB${good} ")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_hash_or_an_error(text in "(\\$(6|7|argon2id|v=19|m=8,t=1,p=1)?){0,4}[A-Za-z0-9+/=$]{0,100}") {
            if let Ok(hash) = PasswordHash::parse(&text) {
                prop_assert_eq!(hash.to_string(), text);
            }
        }

        #[test]
        fn one_password_and_no_other(password: Vec<u8>, other: Vec<u8>, salt: [u8; 12]) {
            let scheme = if salt[0] % 2 == 0 { Scheme::Sha512 } else { Scheme::Pbkdf2 { iterations: 2 } };
            let hash = PasswordHash::parse(&PasswordHash::new(scheme, &password, &salt).to_string()).unwrap();
            prop_assert!(hash.verify(&password));
            prop_assert_eq!(hash.verify(&other), password == other);
        }
    }
}
