//! `crypto`: digests, checksums, base64 and random bytes. Digests are hexadecimal and in upper case, as on the module.

use std::rc::Rc;

use base64ct::{Base64, Encoding};
use hmac::{KeyInit, Mac, SimpleHmac};
use md5::Md5;
use mlua::{Lua, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::api::{Args, Library, Returned};
use crate::limits;
use crate::machine::Machine;
use crate::strings::{from_base64, hex};

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let crypto = Library::open(lua, machine, "crypto")?;
    crypto.function("md5", |_, args| digest::<Md5>(args))?;
    crypto.function("sha1", |_, args| digest::<Sha1>(args))?;
    crypto.function("sha256", |_, args| digest::<Sha256>(args))?;
    crypto.function("sha512", |_, args| digest::<Sha512>(args))?;
    crypto.function("hmac_md5", |_, args| keyed::<SimpleHmac<Md5>>(args))?;
    crypto.function("hmac_sha1", |_, args| keyed::<SimpleHmac<Sha1>>(args))?;
    crypto.function("hmac_sha256", |_, args| keyed::<SimpleHmac<Sha256>>(args))?;
    crypto.function("hmac_sha512", |_, args| keyed::<SimpleHmac<Sha512>>(args))?;
    crypto.function("crc16", crc16)?;
    crypto.function("crc16_modbus", |_, args| {
        let start = args.opt_integer(2, 0xffff)? as u16;
        let table = Crc16 {
            poly: 0x8005,
            init: start.reverse_bits(),
            xor: 0,
            reflects: (true, true),
        };
        args.returns(table.of(&args.string(1)?.as_bytes()))
    })?;
    crypto.function("crc32", |_, args| {
        let crc = crc32(&args.string(1)?.as_bytes());
        args.returns(crc)
    })?;
    crypto.function("base64_encode", |_, args| {
        let text = Base64::encode_string(&args.string(1)?.as_bytes());
        args.returns(text)
    })?;
    crypto.function("base64_decode", |_, args| {
        let bytes = from_base64(&args.string(1)?.as_bytes());
        args.returns(args.lua.create_string(bytes)?)
    })?;
    crypto.function("trng", |_, args| {
        let bytes = usize::try_from(args.integer(1)?).unwrap_or(usize::MAX);
        if bytes > limits::RANDOM_BYTES_MAX {
            return Err(args.bad(1, "too many bytes"));
        }
        let mut random = vec![0; bytes];
        let filled = getrandom::fill(&mut random);
        filled.map_err(|error| args.bad(1, &format!("the system has no random numbers: {error}")))?;
        args.returns(args.lua.create_string(random)?)
    })
}

fn digest<D: Digest>(args: &Args<'_>) -> Returned {
    let text = hex(&D::digest(&*args.string(1)?.as_bytes()));
    args.returns(text)
}

/// `(data, key)`
fn keyed<M: Mac + KeyInit>(args: &Args<'_>) -> Returned {
    let (data, key) = (args.string(1)?, args.string(2)?);
    let mac = <M as KeyInit>::new_from_slice(&key.as_bytes());
    let mut mac = mac.map_err(|_| args.bad(2, "no key of that length"))?;
    mac.update(&data.as_bytes());
    args.returns(hex(&mac.finalize().into_bytes()))
}

/// How a checksum of 16 bits is made.
struct Crc16 {
    poly: u16,
    init: u16,
    xor: u16,
    /// Bits of each byte, and of the result, back to front.
    reflects: (bool, bool),
}

impl Crc16 {
    fn of(&self, bytes: &[u8]) -> u16 {
        let mut crc = self.init;
        for byte in bytes {
            let byte = if self.reflects.0 {
                byte.reverse_bits()
            } else {
                *byte
            };
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    crc << 1 ^ self.poly
                };
            }
        }
        if self.reflects.1 {
            crc = crc.reverse_bits();
        }
        crc ^ self.xor
    }
}

/// Names with polynomial, begin, end, and whether bits are turned around.
const CRC16: [(&str, Crc16); 9] = [
    ("IBM", crc(0x8005, 0, 0, true)),
    ("MAXIM", crc(0x8005, 0, 0xffff, true)),
    ("USB", crc(0x8005, 0xffff, 0xffff, true)),
    ("MODBUS", crc(0x8005, 0xffff, 0, true)),
    ("CCITT", crc(0x1021, 0, 0, true)),
    ("CCITT-FALSE", crc(0x1021, 0xffff, 0, false)),
    ("X25", crc(0x1021, 0xffff, 0xffff, true)),
    ("XMODEM", crc(0x1021, 0, 0, false)),
    ("DNP", crc(0x3d65, 0, 0xffff, true)),
];

const fn crc(poly: u16, init: u16, xor: u16, reflects: bool) -> Crc16 {
    Crc16 {
        poly,
        init,
        xor,
        reflects: (reflects, reflects),
    }
}

/// `crypto.crc16(method, data[, poly, init, xor, reflects in, reflects out])`; the rest is for `USER-DEFINED`.
fn crc16(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let method = args.string(1)?.to_string_lossy();
    let data = args.string(2)?;
    if let Some((_, known)) = CRC16.iter().find(|(name, _)| *name == method) {
        return args.returns(known.of(&data.as_bytes()));
    }
    if method != "USER-DEFINED" {
        return Err(args.bad(1, "no method of that name"));
    }
    let is_set = |n| {
        !matches!(
            args.value(n),
            Value::Nil | Value::Boolean(false) | Value::Integer(0)
        )
    };
    let own = Crc16 {
        poly: args.opt_integer(3, 0)? as u16,
        init: args.opt_integer(4, 0)? as u16,
        xor: args.opt_integer(5, 0)? as u16,
        reflects: (is_set(6), is_set(7)),
    };
    args.returns(own.of(&data.as_bytes()))
}

/// As in zip files and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0xedb8_8320
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue() {
        let check = |name: &str| {
            let found = CRC16.iter().find(|(known, _)| *known == name);
            found.unwrap().1.of(b"123456789")
        };
        assert_eq!(check("IBM"), 0xbb3d);
        assert_eq!(check("MAXIM"), 0x44c2);
        assert_eq!(check("USB"), 0xb4c8);
        assert_eq!(check("MODBUS"), 0x4b37);
        assert_eq!(check("CCITT"), 0x2189);
        assert_eq!(check("CCITT-FALSE"), 0x29b1);
        assert_eq!(check("X25"), 0x906e);
        assert_eq!(check("XMODEM"), 0x31c3);
        assert_eq!(check("DNP"), 0xea82);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
