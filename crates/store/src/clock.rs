//! The clock of a store: it goes on while nobody runs it, and never goes back.

use crate::bytes::{Reader, Writer};

/// A clock that shows less has not been set: 1 January 2023, before there were stores. Boards without a battery start in
/// 1970.
const SET_FROM_MS: u64 = 1_672_531_200_000;

/// What a record of the clock says: what it showed, and what the clock of the system showed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) shown_ms: u64,
    pub(crate) system_ms: u64,
}

impl Reading {
    /// What it shows when the clock of the system shows `system_ms`: as much has passed as on that one, but never
    /// less than nothing, and nothing if that one has been set for the first time since.
    pub(crate) fn at(self, system_ms: u64) -> u64 {
        let is_first_set = self.system_ms < SET_FROM_MS && system_ms >= SET_FROM_MS;
        let passed_ms = system_ms.saturating_sub(self.system_ms);
        self.shown_ms + if is_first_set { 0 } else { passed_ms }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        out.number(self.shown_ms);
        out.number(self.system_ms);
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        Some(Self {
            shown_ms: bytes.number()?,
            system_ms: bytes.number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_and_never_back() {
        let reading = Reading {
            shown_ms: 1_000,
            system_ms: 500,
        };
        assert_eq!(reading.at(700), 1_200);
        assert_eq!(reading.at(100), 1_000);
        assert_eq!(reading.at(SET_FROM_MS), 1_000, "it was 1970 before");
        let known = Reading {
            system_ms: SET_FROM_MS,
            ..reading
        };
        assert_eq!(known.at(SET_FROM_MS + 5), 1_005);
        assert_eq!(known.at(7), 1_000);
        let mut bytes = Vec::new();
        reading.write(&mut bytes);
        assert_eq!(Reading::read(&bytes), Some(reading));
    }
}
