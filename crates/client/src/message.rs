//! Messages: what an application publishes, and what it receives.

use std::time::Duration;

use bytes::Bytes;
use martlet_codec::{PacketId, Properties, PropertiesBuf, PropertyId, Qos, TopicBuf, Value};

use crate::error::RespondError;

/// A message to publish, or the will of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it is published.
    pub topic: TopicBuf,
    /// The application message; may be empty, and with `retain` that clears the retained message.
    pub payload: Bytes,
    /// How hard the delivery is tried.
    pub qos: Qos,
    /// Whether the server keeps it for later subscribers.
    pub retain: bool,
    /// Properties of PUBLISH (or of a will). A Topic Alias among them is defined at the first message
    /// with it and stands for the topic name from the second on; it is forgotten with the connection.
    pub properties: PropertiesBuf,
    /// How long the message may wait to be sent for the first time; `None`:
    /// [`Options::time_to_live`](crate::Options::time_to_live) counts.
    pub time_to_live: Option<Duration>,
}

impl Message {
    /// A message of QoS 0 that is not retained and has no properties.
    pub fn new(topic: impl Into<TopicBuf>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: PropertiesBuf::new(),
            time_to_live: None,
        }
    }

    /// The same message at this QoS.
    #[must_use]
    pub const fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// The same message with this RETAIN.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The same message with these properties.
    #[must_use]
    pub fn properties(mut self, properties: PropertiesBuf) -> Self {
        self.properties = properties;
        self
    }

    /// The same message, dropped if it was not sent after that time.
    #[must_use]
    pub const fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }
}

/// A message that came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its topic name; where only an alias came, the name that the alias stands for.
    pub topic: TopicBuf,
    /// The application message.
    pub payload: Bytes,
    /// The QoS at which it came.
    pub qos: Qos,
    /// RETAIN as it came.
    pub retain: bool,
    /// DUP as it came.
    pub dup: bool,
    /// The packet identifier; `None` at QoS 0.
    pub packet_id: Option<PacketId>,
    /// The topic alias that the server used, for information.
    pub topic_alias: Option<u16>,
    /// The properties as they came.
    pub properties: PropertiesBuf,
}

impl Incoming {
    /// The properties, borrowed.
    pub fn properties(&self) -> Properties<'_> {
        self.properties.as_properties()
    }

    /// The response to it, at its QoS: to its response topic, with its correlation data, as section 4.10
    /// of the standard has it. For a response that needs something else besides; [`Client::respond`](crate::Client::respond)
    /// publishes one.
    pub fn response(&self, payload: impl Into<Bytes>) -> Result<Message, RespondError> {
        let asked = self.properties();
        let topic = asked
            .text(PropertyId::ResponseTopic)
            .ok_or(RespondError::NoResponseTopic)?;
        let topic = TopicBuf::new(topic).map_err(RespondError::BadResponseTopic)?;
        let mut response = Message::new(topic, payload).qos(self.qos);
        if let Some(data) = asked.binary(PropertyId::CorrelationData) {
            response
                .properties
                .push(PropertyId::CorrelationData, Value::Binary(data));
        }
        Ok(response)
    }
}

/// The same properties without those.
pub(crate) fn without(properties: &PropertiesBuf, ids: &[PropertyId]) -> PropertiesBuf {
    let mut kept = PropertiesBuf::new();
    for (id, value) in properties.as_properties().iter() {
        if !ids.contains(&id) {
            kept.push(id, value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(build: impl FnOnce(&mut PropertiesBuf)) -> Incoming {
        let mut properties = PropertiesBuf::new();
        build(&mut properties);
        Incoming {
            topic: TopicBuf::new("ask").unwrap(),
            payload: Bytes::new(),
            qos: Qos::ExactlyOnce,
            retain: true,
            dup: false,
            packet_id: PacketId::new(1),
            topic_alias: None,
            properties,
        }
    }

    #[test]
    fn a_response_goes_where_the_request_says_with_what_the_request_says() {
        let asked = request(|p| {
            p.text(PropertyId::ResponseTopic, "reply/to")
                .user_property("k", "v")
                .push(PropertyId::CorrelationData, Value::Binary(&[0, 255]));
        });
        let response = asked.response("42").unwrap();
        assert_eq!(
            (response.topic.as_str(), &response.payload[..]),
            ("reply/to", &b"42"[..])
        );
        assert_eq!((response.qos, response.retain), (Qos::ExactlyOnce, false));
        let mut properties = PropertiesBuf::new();
        properties.push(PropertyId::CorrelationData, Value::Binary(&[0, 255]));
        assert_eq!(response.properties, properties);
        let bare = request(|p| {
            p.text(PropertyId::ResponseTopic, "r");
        });
        assert!(bare.response("").unwrap().properties.as_properties().is_empty());
    }

    #[test]
    fn what_asks_for_no_response_gets_none() {
        let none = request(|_| {}).response("42");
        assert!(matches!(none, Err(RespondError::NoResponseTopic)));
        for topic in ["", "a/+"] {
            let bad = request(|p| {
                p.text(PropertyId::ResponseTopic, topic);
            })
            .response("42");
            assert!(matches!(bad, Err(RespondError::BadResponseTopic(_))), "{topic}");
        }
    }
}
