//! Acknowledgements of what a client publishes, into its output.

use martlet_codec::{Ack, Packet, PropertiesBuf, PropertyId, ReasonCode};

use super::Link;
use crate::received::{AckKind, Owed};

/// Writes PUBACK, PUBREC or PUBCOMP. Version 3 cannot say that the server did not take a message, and no version that
/// an identifier is not free: then silence and a close are the truth.
pub(super) fn write_ack(link: &mut Link, owed: Owed) -> bool {
    if !can_tell(link, owed) {
        return false;
    }
    if !link.words.is_empty() {
        write_ack_in_words(link, owed);
        return true;
    }
    link.answer(&ack_packet(owed, Ack::new(owed.id, owed.reason)));
    true
}

/// Whether the client can be told what an acknowledgement says.
pub(super) fn can_tell(link: &Link, owed: Owed) -> bool {
    let can_refuse = link.agreed.can_refuse_publish && owed.kind != AckKind::PubComp;
    owed.reason != ReasonCode::QuotaExceeded || can_refuse
}

/// The same where some have a reason string: apart, because nearly all have none.
#[cold]
fn write_ack_in_words(link: &mut Link, owed: Owed) {
    let mut properties = PropertiesBuf::new();
    if let Some(at) = link.words.iter().position(|(of, _)| *of == owed) {
        properties.text(PropertyId::ReasonString, &link.words.remove(at).1);
    }
    let ack = Ack {
        properties: properties.as_properties(),
        ..Ack::new(owed.id, owed.reason)
    };
    link.answer(&ack_packet(owed, ack));
}

fn ack_packet(owed: Owed, ack: Ack<'_>) -> Packet<'_> {
    match owed.kind {
        AckKind::PubAck => Packet::PubAck(ack),
        AckKind::PubRec => Packet::PubRec(ack),
        AckKind::PubComp => Packet::PubComp(ack),
    }
}
