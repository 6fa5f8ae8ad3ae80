//! What happens to a client, in the words and in the order of LuatOS.

use martlet_client::{Incoming, Lost, ReasonCode, Violation};
use mlua::{IntoLua, IntoLuaMulti, Lua, MultiValue, Value};

/// What a callback is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// The server has agreed.
    ConAck,
    /// The answer to a SUBSCRIBE: whether, and its code.
    SubAck(bool, u8),
    /// The answer to an UNSUBSCRIBE.
    UnsubAck,
    /// A message.
    Recv(Box<Incoming>),
    /// A message has its end, by its identifier; 0 at QoS 0.
    Sent(u16),
    /// The answer to a ping.
    Pong,
    /// The connection is over, or there was none.
    Disconnect(i64),
    /// And none follows by itself.
    Close,
    /// Why.
    Error(&'static str, i64),
}

impl Event {
    /// What a callback gets behind the client.
    pub(crate) fn values(self, lua: &Lua) -> mlua::Result<MultiValue> {
        match self {
            Self::ConAck => "conack".into_lua_multi(lua),
            Self::SubAck(is_granted, code) => ("suback", is_granted, code).into_lua_multi(lua),
            Self::UnsubAck => "unsuback".into_lua_multi(lua),
            Self::Recv(message) => {
                let metas = lua.create_table_with_capacity(0, 4)?;
                metas.raw_set("message_id", message.packet_id.map_or(0, std::num::NonZero::get))?;
                metas.raw_set("qos", message.qos.as_u8())?;
                metas.raw_set("retain", u8::from(message.retain))?;
                metas.raw_set("dup", u8::from(message.dup))?;
                let topic = lua.create_string(message.topic.as_str())?;
                let payload = lua.create_string(&message.payload)?;
                ("recv", topic, payload, metas).into_lua_multi(lua)
            }
            Self::Sent(id) => ("sent", id).into_lua_multi(lua),
            Self::Pong => "pong".into_lua_multi(lua),
            Self::Disconnect(code) => ("disconnect", code).into_lua_multi(lua),
            Self::Close => "close".into_lua_multi(lua),
            Self::Error(what, code) => {
                let code: Value = code.into_lua(lua)?;
                ("error", what, code).into_lua_multi(lua)
            }
        }
    }
}

/// The end of a connection, or of an attempt: what is told of it, `closes` if no other follows by itself.
pub(super) fn of_end(cause: &Lost, was_writing: bool, closes: bool) -> Vec<Event> {
    let mut events = Vec::with_capacity(3);
    let ends = |events: &mut Vec<Event>, code| {
        events.push(Event::Disconnect(code));
        if closes {
            events.push(Event::Close);
        }
    };
    match cause {
        Lost::Unreachable { .. } | Lost::Login { .. } => {
            events.push(Event::Error("connect", 0));
            ends(&mut events, 0);
        }
        Lost::NoAnswer { .. } => {
            events.push(Event::Error("timeout", 0));
            ends(&mut events, 0);
        }
        Lost::Io { .. } if was_writing => {
            events.push(Event::Error("tx", 0));
            ends(&mut events, 0);
        }
        Lost::Refused(refusal) => {
            ends(&mut events, refusal.code.into());
            events.push(Event::Error("conack", refusal.code.into()));
        }
        Lost::Violation(violation) => {
            ends(&mut events, 0);
            events.push(Event::Error("connect", number(*violation)));
        }
        Lost::Disconnected { .. } => ends(&mut events, -2),
        Lost::PingTimeout { .. } | Lost::NotMqtt { .. } | Lost::Store(_) => {
            ends(&mut events, 0);
            events.push(Event::Error("other", 0));
        }
        _ => ends(&mut events, 0),
    }
    events
}

/// The number that LuatOS has for it.
fn number(violation: Violation) -> i64 {
    match violation {
        Violation::SecondConnAck => 95,
        Violation::BeforeConnAck => 96,
        Violation::Qos3 => 98,
        Violation::PacketTooLarge => 100,
        _ => 99,
    }
}

/// What a SUBACK says.
pub(super) fn of_suback(reason: ReasonCode) -> Event {
    let code = reason.as_u8();
    Event::SubAck(code <= 2, code)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use martlet_client::{PropertiesBuf, Refusal, Version};

    use super::*;

    fn told(cause: &Lost, was_writing: bool) -> String {
        let words = of_end(cause, was_writing, true)
            .into_iter()
            .map(|event| match event {
                Event::Disconnect(code) => format!("disconnect {code}"),
                Event::Close => "close".to_owned(),
                Event::Error(what, code) => format!("error {what} {code}"),
                other => panic!("{other:?}"),
            });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_end_in_the_order_of_luatos() {
        let text = || "no".to_owned();
        let refusal = Refusal {
            reason: ReasonCode::NotAuthorized,
            version: Version::V3_1_1,
            code: 5,
            properties: PropertiesBuf::new(),
        };
        let gone = Lost::Io {
            kind: ErrorKind::BrokenPipe,
            text: text(),
        };
        let left = Lost::Disconnected {
            reason: ReasonCode::SessionTakenOver,
            properties: PropertiesBuf::new(),
        };
        let table = [
            (
                Lost::Unreachable { text: text() },
                "error connect 0, disconnect 0, close",
            ),
            (
                Lost::NoAnswer { after_ms: 1 },
                "error timeout 0, disconnect 0, close",
            ),
            (Lost::Refused(refusal), "disconnect 5, close, error conack 5"),
            (Lost::Closed, "disconnect 0, close"),
            (gone.clone(), "disconnect 0, close"),
            (left, "disconnect -2, close"),
            (Lost::ByUs, "disconnect 0, close"),
            (
                Lost::PingTimeout { after_ms: 1 },
                "disconnect 0, close, error other 0",
            ),
            (
                Lost::NotMqtt { began: text() },
                "disconnect 0, close, error other 0",
            ),
            (
                Lost::Violation(Violation::SecondConnAck),
                "disconnect 0, close, error connect 95",
            ),
            (
                Lost::Violation(Violation::BeforeConnAck),
                "disconnect 0, close, error connect 96",
            ),
            (
                Lost::Violation(Violation::Qos3),
                "disconnect 0, close, error connect 98",
            ),
            (
                Lost::Violation(Violation::Truncated),
                "disconnect 0, close, error connect 99",
            ),
            (
                Lost::Violation(Violation::PacketTooLarge),
                "disconnect 0, close, error connect 100",
            ),
        ];
        for (cause, wanted) in table {
            assert_eq!(told(&cause, false), wanted, "{cause:?}");
        }
        assert_eq!(told(&gone, true), "error tx 0, disconnect 0, close");
        // Where another connection follows, nothing is closed.
        assert_eq!(of_end(&Lost::Closed, false, false), [Event::Disconnect(0)]);
    }

    #[test]
    fn what_a_suback_says() {
        assert_eq!(of_suback(ReasonCode::Success), Event::SubAck(true, 0));
        assert_eq!(of_suback(ReasonCode::GrantedQos2), Event::SubAck(true, 2));
        assert_eq!(of_suback(ReasonCode::Unspecified), Event::SubAck(false, 0x80));
    }
}
