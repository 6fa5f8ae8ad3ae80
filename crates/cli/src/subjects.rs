//! What `martlet help` explains besides commands and errors: the letters of `-F`, the properties of `-D`, and
//! by [`directives`](crate::directives) the configuration.

use std::fmt::Write;

use martlet_codec::property::ValueType;
use martlet_codec::{PacketType, Place, PropertyId};

use crate::format::SPECIFIERS;

/// The text of a subject.
pub(crate) fn find(subject: &str) -> Option<String> {
    match subject {
        "config" => Some(crate::directives::all()),
        "format" | "-F" => Some(format()),
        "properties" | "-D" | "--property" => Some(properties()),
        _ => None,
    }
}

/// `-F`
pub(crate) fn format() -> String {
    let mut text = String::from("-F FORMAT prints each message with these replaced:\n");
    for (letter, meaning) in SPECIFIERS.iter().filter(|(_, meaning)| !meaning.is_empty()) {
        let _ = writeln!(text, "  %{letter}  {meaning}");
    }
    text += concat!(
        "  @Y  and other letters of strftime: the time in parts; @N nanoseconds, @@ an at sign\n",
        "  \\n  end of line; also \\\\ \\0 \\a \\e \\r \\t \\v\n",
        "Between % and the letter may stand: - to align to the left, 0 to pad with zeros, a width, and behind\n",
        "a dot the longest part that is shown of %t %C %R %I, or the digits behind the point of %f %d.\n",
        "A payload is cut to its width. Example: -F '@H:@M:@S %-20t %p'\n",
    );
    text
}

/// `-D`
pub(crate) fn properties() -> String {
    let mut text = String::from(
        "-D COMMAND NAME VALUE adds a property to a packet, -D COMMAND user-property KEY VALUE a pair:\n",
    );
    for (command, place) in COMMANDS {
        let names = PropertyId::ALL.iter().filter(|id| id.allowed_in(*place));
        // A client does not say which subscription a message matches.
        let names = names.filter(|id| **id != PropertyId::SubscriptionIdentifier || *command != "publish");
        let names: Vec<String> = names.map(|id| format!("{}{}", id.name(), kind(*id))).collect();
        let _ = writeln!(text, "  {command}: {}", names.join(", "));
    }
    text
}

const COMMANDS: &[(&str, Place)] = &[
    ("connect", Place::Packet(PacketType::Connect)),
    ("publish", Place::Packet(PacketType::Publish)),
    ("will", Place::Will),
    ("subscribe", Place::Packet(PacketType::Subscribe)),
    ("unsubscribe", Place::Packet(PacketType::Unsubscribe)),
    ("disconnect", Place::Packet(PacketType::Disconnect)),
];

fn kind(id: PropertyId) -> &'static str {
    match id.value_type() {
        ValueType::Flag => " (0 or 1)",
        ValueType::U16
        | ValueType::NonZeroU16
        | ValueType::U32
        | ValueType::NonZeroU32
        | ValueType::Varint => " (number)",
        ValueType::Text | ValueType::TopicName | ValueType::Binary | ValueType::Pair => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let properties = find("-D").unwrap();
        assert!(
            properties
                .contains("publish: payload-format-indicator (0 or 1), message-expiry-interval (number)")
        );
        assert!(properties.contains("\n  unsubscribe: user-property\n"));
        let format = find("format").unwrap();
        assert!(format.contains("\n  %t  topic\n") && !format.contains("%X  \n"));
        assert_eq!(find("nothing"), None);
    }
}
