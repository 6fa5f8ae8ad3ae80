//! Tables of bytes: what each packet is on the wire in each version, and what each broken rule looks like.

#![allow(missing_docs)]

mod packets;
mod violations;

/// Bytes out of a compact notation: hexadecimal digits in pairs, `'text'`, `[...]` for bytes behind
/// their length, and `#` for the length of all that follows, both as variable byte integers.
fn bytes(notation: &str) -> Vec<u8> {
    let mut chars = notation.chars();
    let out = until(&mut chars, None);
    assert!(
        chars.next().is_none(),
        "a closing bracket too many in {notation:?}"
    );
    out
}

fn until(chars: &mut std::str::Chars<'_>, end: Option<char>) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '\'' => out.extend(
                chars
                    .by_ref()
                    .take_while(|c| *c != '\'')
                    .collect::<String>()
                    .bytes(),
            ),
            '[' => out.extend(behind_length(&until(chars, Some(']')))),
            '#' => {
                out.extend(behind_length(&until(chars, end)));
                break;
            }
            c if Some(c) == end => break,
            high => {
                let digit = |c: char| c.to_digit(16).expect("a hexadecimal digit") as u8;
                out.push(digit(high) << 4 | digit(chars.next().expect("digits in pairs")));
            }
        }
    }
    out
}

fn behind_length(body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (Vec::new(), body.len());
    while length > 127 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(body);
    out
}

#[test]
fn the_notation() {
    assert_eq!(
        bytes("30 # 0001 'a' [ff '#'] c0"),
        [0x30, 7, 0, 1, b'a', 2, 0xff, b'#', 0xc0]
    );
}
