//! A question for SRV records and its answer, as bytes.

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, header_buffer};

use super::SrvError;

/// What one SRV record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) host: String,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The records, at least one.
    Targets(Vec<Target>),
    /// It is final: whoever else is asked says the same.
    Final(SrvError),
    /// It does not fit: ask again by TCP.
    Truncated,
    /// This server cannot answer: ask another.
    Failed(String),
    /// It answers something else, or is none.
    Stray,
}

/// The bytes of a question.
pub(super) fn encode(id: u16, name: &str) -> Result<Vec<u8>, SrvError> {
    let bad = || SrvError::Name(format!("'{name}' is not a name that the DNS can have"));
    let question = Question::new(
        Name::new(name).map_err(|_| bad())?,
        TYPE::SRV.into(),
        CLASS::IN.into(),
        false,
    );
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(question);
    packet.build_bytes_vec().map_err(|_| bad())
}

/// Bytes of the header.
const HEADER_BYTES: usize = 12;

/// Reads what came for the question.
pub(super) fn decode(id: u16, name: &str, bytes: &[u8]) -> Answer {
    if !is_plausible(bytes) {
        return Answer::Stray;
    }
    // What is cut need not be whole.
    let is_ours = header_buffer::id(bytes) == Ok(id)
        && header_buffer::has_flags(bytes, PacketFlag::RESPONSE) == Ok(true);
    if is_ours && header_buffer::has_flags(bytes, PacketFlag::TRUNCATION) == Ok(true) {
        return Answer::Truncated;
    }
    let (Ok(packet), Ok(asked), true) = (Packet::parse(bytes), Name::new(name), is_ours) else {
        return Answer::Stray;
    };
    let is_same = |question: &Question<'_>| {
        question
            .qname
            .to_string()
            .eq_ignore_ascii_case(&asked.to_string())
            && question.qtype == TYPE::SRV.into()
    };
    if !matches!(packet.questions.as_slice(), [question] if is_same(question)) {
        return Answer::Stray;
    }
    match packet.rcode() {
        RCODE::NoError => targets(&packet),
        RCODE::NameError => Answer::Final(SrvError::NoRecord),
        other => Answer::Failed(format!("{other:?}")),
    }
}

fn targets(packet: &Packet<'_>) -> Answer {
    let mut has_record = false;
    let mut targets = Vec::new();
    for record in &packet.answers {
        let RData::SRV(srv) = &record.rdata else { continue };
        has_record = true;
        // The root stands for "there is no such service".
        if srv.target.get_labels().is_empty() || srv.port == 0 {
            continue;
        }
        targets.push(Target {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: srv.target.to_string(),
        });
    }
    match (targets.is_empty(), has_record) {
        (false, _) => Answer::Targets(targets),
        (true, true) => Answer::Final(SrvError::NotOffered),
        (true, false) => Answer::Final(SrvError::NoRecord),
    }
}

/// Whether there are bytes for as many records as the header counts: room is reserved for them before they are read.
fn is_plausible(bytes: &[u8]) -> bool {
    const QUESTION_BYTES_MIN: usize = 5;
    const RECORD_BYTES_MIN: usize = 11;
    let Some(rest) = bytes.len().checked_sub(HEADER_BYTES) else {
        return false;
    };
    let count = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let records = count(6) + count(8) + count(10);
    count(4) * QUESTION_BYTES_MIN + records * RECORD_BYTES_MIN <= rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, SRV};

    use super::*;

    const NAME: &str = "_mqtt._tcp.example.org";

    fn reply(id: u16, question: &str, records: &[(u16, u16, u16, &'static str)]) -> Packet<'static> {
        let mut packet = Packet::new_reply(id);
        let name = Name::new(question).unwrap().into_owned();
        let asked = Question::new(name.clone(), TYPE::SRV.into(), CLASS::IN.into(), false);
        packet.questions.push(asked);
        for (priority, weight, port, target) in records {
            let srv = SRV {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: Name::new(target).unwrap(),
            };
            let record = ResourceRecord::new(name.clone(), CLASS::IN, 60, RData::SRV(srv));
            packet.answers.push(record);
        }
        packet
    }

    fn read(packet: &Packet<'_>) -> Answer {
        decode(7, NAME, &packet.build_bytes_vec_compressed().unwrap())
    }

    #[test]
    fn a_question_has_the_bytes_of_the_standard() {
        let expected = [
            &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            b"\x05_mqtt\x04_tcp\x07example\x03org\0",
            &[0, 33, 0, 1],
        ];
        assert_eq!(encode(7, NAME).unwrap(), expected.concat());
        let long = "a".repeat(64);
        for bad in [long.as_str(), &"a.".repeat(200)] {
            assert!(matches!(encode(7, bad), Err(SrvError::Name(_))), "{bad}");
        }
    }

    #[test]
    fn answers() {
        let one = reply(7, "_MQTT._tcp.Example.org.", &[(1, 2, 3, "a.example.org")]);
        let expected = Target {
            priority: 1,
            weight: 2,
            port: 3,
            host: "a.example.org".to_owned(),
        };
        assert_eq!(read(&one), Answer::Targets(vec![expected]));
        let no_record = Answer::Final(SrvError::NoRecord);
        assert_eq!(read(&reply(7, NAME, &[])), no_record);
        assert_eq!(
            read(&reply(7, NAME, &[(0, 0, 0, ".")])),
            Answer::Final(SrvError::NotOffered)
        );
        let mut other_type = reply(7, NAME, &[]);
        let address = RData::A(A { address: 1 });
        let name = Name::new(NAME).unwrap();
        other_type
            .answers
            .push(ResourceRecord::new(name, CLASS::IN, 60, address));
        assert_eq!(read(&other_type), no_record);
        let mut unknown = reply(7, NAME, &[]);
        *unknown.rcode_mut() = RCODE::NameError;
        assert_eq!(read(&unknown), no_record);
        *unknown.rcode_mut() = RCODE::Refused;
        assert_eq!(read(&unknown), Answer::Failed("Refused".to_owned()));
        let mut cut = reply(7, NAME, &[]);
        cut.set_flags(PacketFlag::TRUNCATION);
        assert_eq!(read(&cut), Answer::Truncated);
    }

    /// Somebody who guesses must guess the identifier and the question.
    #[test]
    fn what_is_no_answer_to_the_question() {
        let good = &[(1, 2, 3, "a.example.org")];
        assert_eq!(read(&reply(8, NAME, good)), Answer::Stray);
        assert_eq!(read(&reply(7, "_mqtt._tcp.example.com", good)), Answer::Stray);
        assert_eq!(decode(7, NAME, &encode(7, NAME).unwrap()), Answer::Stray);
        let bytes = reply(7, NAME, good).build_bytes_vec().unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode(7, NAME, &bytes[..end]), Answer::Stray, "{end}");
        }
        // Many records, none of which is there.
        let mut bytes = bytes;
        bytes[6..8].copy_from_slice(&[0xff, 0xff]);
        assert!(!is_plausible(&bytes));
        assert_eq!(decode(7, NAME, &bytes), Answer::Stray);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(
            head in any::<[u8; 8]>(),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let _ = decode(7, NAME, &tail);
            let mut bytes = reply(7, NAME, &[(1, 2, 3, "a.example.org"), (1, 2, 3, "b.example.org")])
                .build_bytes_vec_compressed()
                .unwrap();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = decode(7, NAME, &bytes);
            let _ = decode(7, NAME, &[&[0, 7, 0x80, 0], head.as_slice(), tail.as_slice()].concat());
        }
    }
}
