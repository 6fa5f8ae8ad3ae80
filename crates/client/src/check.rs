//! Whether options can be said on the wire.

use bytes::Bytes;
use martlet_codec::packet::PacketType;
use martlet_codec::{Place, Properties, PropertiesBuf, PropertyId, Violation};
use martlet_session::Speech;

use crate::error::StoreError;
use crate::limits;
use crate::options::Options;

/// Options that cannot be said on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A field of CONNECT is longer than the format allows.
    #[error("the {field} has {bytes} bytes, the limit is 65535")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A string that is refused on the wire.
    #[error("the {field} has a control character")]
    Text {
        /// The field.
        field: &'static str,
    },
    /// Version 3 has no password without a user name [MQTT3-3.1.2-22].
    #[error("MQTT 3 allows a password only together with a user name")]
    PasswordWithoutUserName,
    /// A store belongs to a client identifier.
    #[error("a store needs a client identifier: call client_id with a name of this client's own")]
    StoreWithoutClientId,
    /// The store cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Properties that the server would refuse.
    #[error("properties of {of}: {}{violation}", property.map(|id| format!("{}: ", id.name())).unwrap_or_default())]
    Properties {
        /// `CONNECT` or `the will`.
        of: &'static str,
        /// The one that is wrong, if it is one alone.
        property: Option<PropertyId>,
        /// What is wrong with them.
        violation: Violation,
    },
    /// Version 3 cannot say this, and the [protocol](Options::protocol) allows no other.
    #[error("{} of {of} needs MQTT 5, but the options ask for MQTT 3 only", property.name())]
    NeedsVersion5 {
        /// `CONNECT` or `the will`.
        of: &'static str,
        /// What cannot be said.
        property: PropertyId,
    },
    /// More servers than a client tries.
    #[error("there are more than {maximum} servers")]
    TooManyServers {
        /// The limit.
        maximum: usize,
    },
}

impl Options {
    /// Whether all of it can be said on the wire, in at least one of the versions that are to be spoken.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.check_fields()?;
        if self.servers() > limits::SERVERS_MAX {
            let maximum = limits::SERVERS_MAX;
            return Err(OptionsError::TooManyServers { maximum });
        }
        if self.store.is_some() && self.client_id.is_empty() {
            return Err(OptionsError::StoreWithoutClientId);
        }
        let connect = Place::Packet(PacketType::Connect);
        check_properties("CONNECT", &self.properties, connect)?;
        if let Some(will) = &self.will {
            check_properties("the will", &will.properties, Place::Will)?;
        }
        // The first is the newest.
        if Speech::of(self.protocol.first()).properties {
            Ok(())
        } else {
            self.check_version_3()
        }
    }

    fn check_fields(&self) -> Result<(), OptionsError> {
        let text = |field, text: &str| {
            if text.len() > limits::FIELD_BYTES_MAX {
                return Err(OptionsError::TooLong {
                    field,
                    bytes: text.len(),
                });
            }
            martlet_codec::text::check(text.as_bytes())
                .map(|_| ())
                .map_err(|_| OptionsError::Text { field })
        };
        text("client identifier", &self.client_id)?;
        text("user name", self.user_name.as_deref().unwrap_or_default())?;
        let binary = |field, bytes: Option<&Bytes>| match bytes.map(Bytes::len) {
            Some(bytes) if bytes > limits::FIELD_BYTES_MAX => Err(OptionsError::TooLong { field, bytes }),
            _ => Ok(()),
        };
        binary("password", self.password.as_ref())?;
        binary("will payload", self.will.as_ref().map(|w| &w.payload))
    }

    fn check_version_3(&self) -> Result<(), OptionsError> {
        if self.password.is_some() && self.user_name.is_none() {
            return Err(OptionsError::PasswordWithoutUserName);
        }
        let asked = self.properties.as_properties();
        let unsaid = asked.iter().map(|(id, _)| id).find(|id| match id {
            // The client keeps that limit by itself.
            PropertyId::MaximumPacketSize => false,
            // A session that never ends is what version 3 has, and what a store asks for where nobody else does.
            PropertyId::SessionExpiryInterval => {
                let is_meant = self.store.is_some() || !self.clean_start;
                !is_meant || asked.session_expiry_s() != Some(u32::MAX)
            }
            PropertyId::TopicAliasMaximum => asked.topic_alias_maximum() != Some(0),
            _ => true,
        });
        let of_will = self.will.as_ref().and_then(|will| {
            let mut properties = will.properties.as_properties().iter();
            properties.next().map(|(id, _)| id)
        });
        match (unsaid, of_will) {
            (Some(property), _) => Err(OptionsError::NeedsVersion5 {
                of: "CONNECT",
                property,
            }),
            (None, Some(property)) => Err(OptionsError::NeedsVersion5 {
                of: "the will",
                property,
            }),
            (None, None) => Ok(()),
        }
    }
}

fn check_properties(of: &'static str, properties: &PropertiesBuf, place: Place) -> Result<(), OptionsError> {
    properties
        .check(place)
        .map_err(|violation| OptionsError::Properties {
            of,
            property: wrong_property(properties.as_properties(), place),
            violation,
        })
}

/// Which property keeps these from standing there, if it is one alone.
pub(crate) fn wrong_property(properties: Properties<'_>, place: Place) -> Option<PropertyId> {
    let mut before = PropertiesBuf::new();
    properties
        .iter()
        .find(|(id, value)| {
            let mut alone = PropertiesBuf::new();
            alone.push(*id, *value);
            // Authentication data stand before or behind their method.
            if *id != PropertyId::AuthenticationData && alone.check(place).is_err() {
                return true;
            }
            before.push(*id, *value);
            before.check(place) == Err(Violation::PropertyTwice)
        })
        .map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};
    use std::time::Duration;

    use super::*;
    use crate::message::Message;
    use crate::options::Protocol;
    use crate::topic;

    fn options() -> Options {
        Options::new("h", 1883)
    }

    fn with(build: impl FnOnce(&mut PropertiesBuf)) -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        build(&mut properties);
        properties
    }

    #[test]
    fn what_only_5_can_say_is_an_error_where_only_3_is_spoken() {
        let user = with(|p| {
            p.user_property("a", "b");
        });
        let will = Message::new(topic!("w"), "").properties(user.clone());
        let cases = [
            (
                options().session_expiry(Duration::from_secs(5)),
                "session-expiry-interval of CONNECT",
            ),
            (
                options().session_expiry(Duration::MAX),
                "session-expiry-interval of CONNECT",
            ),
            (
                options().receive_maximum(NonZeroU16::MIN),
                "receive-maximum of CONNECT",
            ),
            (options().topic_alias_maximum(1), "topic-alias-maximum of CONNECT"),
            (options().connect_properties(&user), "user-property of CONNECT"),
            (
                options().authenticator("M", |_| Ok(Bytes::new())),
                "authentication-method of CONNECT",
            ),
            (options().will(will), "user-property of the will"),
        ];
        for (options, what) in cases {
            for protocol in [Protocol::Auto, Protocol::Any, Protocol::V5] {
                assert_eq!(options.clone().protocol(protocol).check(), Ok(()));
            }
            for protocol in [Protocol::AutoV3, Protocol::V3_1_1, Protocol::V3_1] {
                let error = options.clone().protocol(protocol).check().unwrap_err();
                let text = format!("{what} needs MQTT 5, but the options ask for MQTT 3 only");
                assert_eq!(error.to_string(), text);
            }
        }
        // Version 3 has these.
        let kept = options()
            .max_packet_size(NonZeroU32::MIN)
            .topic_alias_maximum(0)
            .client_id("c")
            .store(crate::MemoryStore::new())
            .protocol(Protocol::V3_1_1);
        assert_eq!(kept.check(), Ok(()));
    }

    #[test]
    fn a_wrong_property_is_named() {
        let alias = with(|p| {
            p.user_property("a", "b").number(PropertyId::TopicAlias, 1_u32);
        });
        let error = options().connect_properties(&alias).check().unwrap_err();
        let text = "properties of CONNECT: topic-alias: a property that does not belong in this packet";
        assert_eq!(error.to_string(), text);
        let twice = with(|p| {
            p.text(PropertyId::ContentType, "a")
                .text(PropertyId::ContentType, "b");
        });
        assert_eq!(
            wrong_property(twice.as_properties(), Place::Will),
            Some(PropertyId::ContentType)
        );
    }

    #[test]
    fn there_are_no_more_servers_than_are_tried() {
        let more = |n| (1..n).fold(options(), |options, _| options.or_server("h", 1));
        assert_eq!(more(100).check(), Ok(()));
        for n in [101, 200] {
            assert_eq!(
                more(n).check(),
                Err(OptionsError::TooManyServers { maximum: 100 })
            );
        }
    }

    #[test]
    fn parts_of_seconds_are_not_off() {
        let keep_alive = |ms| options().keep_alive(Duration::from_millis(ms)).keep_alive_s;
        assert_eq!([0, 1, 900, 1_000, 1_001].map(keep_alive), [0, 1, 1, 1, 2]);
        assert_eq!(keep_alive(65_536_000), 65_535);
        let expiry = options().session_expiry(Duration::from_millis(1));
        assert_eq!(expiry.properties.as_properties().session_expiry_s(), Some(1));
    }
}
