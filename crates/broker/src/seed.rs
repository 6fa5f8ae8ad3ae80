//! Numbers that strangers cannot guess, out of a seed that is handed in.

/// A source of numbers: the same seed gives the same ones.
///
/// For hashing, for assigned client identifiers, never for keys.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Starts from `seed`, which the process draws from the system and a test chooses.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, by the generator named `SplitMix64`.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random UUID in capitals, as mosquitto writes it in the identifiers that it assigns.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.draw(), self.draw());
        let version = (a & !0xf000) | 0x4000;
        let variant = (b & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            version >> 32,
            (version >> 16) & 0xffff,
            version & 0xffff,
            variant >> 48,
            variant & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_form() {
        let mut seed = Seed::new(1);
        let (one, two) = (seed.uuid(), seed.uuid());
        assert_ne!(one, two);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89AB".contains(&one[19..20]));
    }
}
