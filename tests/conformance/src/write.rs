//! A packet as a line.

use std::fmt::Write;

use martlet_codec::{
    Ack, Address, Connect, Packet, Properties, PropertyId, Publish, Qos, ReasonCode, RetainHandling,
    Subscribe, Value,
};

use crate::lex::{bare_or_quoted, quote};

/// The packet in the notation of [`crate::notation`], but for the properties that `show` rejects.
pub fn line_of_shown(packet: &Packet<'_>, show: &dyn Fn(PropertyId) -> bool) -> String {
    let mut out = Line {
        text: String::new(),
        show,
    };
    match packet {
        Packet::Connect(p) => out.connect(p),
        Packet::ConnAck(p) => {
            out.word("connack");
            out.flag(p.session_present, "session");
            out.reason(p.reason);
            out.properties(p.properties);
        }
        Packet::Publish(p) => out.publish(p),
        Packet::PubAck(p) => out.ack("puback", p),
        Packet::PubRec(p) => out.ack("pubrec", p),
        Packet::PubRel(p) => out.ack("pubrel", p),
        Packet::PubComp(p) => out.ack("pubcomp", p),
        Packet::Subscribe(p) => out.subscribe(p),
        Packet::SubAck(p) => {
            out.word("suback");
            out.word(&p.packet_id.to_string());
            p.reasons.iter().for_each(|c| match c.as_u8() {
                n @ 0..=2 => out.word(&n.to_string()),
                _ => out.word(&reason(c)),
            });
            out.properties(p.properties);
        }
        Packet::Unsubscribe(p) => {
            out.word("unsubscribe");
            out.word(&p.packet_id.to_string());
            p.filters
                .iter()
                .for_each(|f| out.word(&bare_or_quoted(f.as_str())));
            out.properties(p.properties);
        }
        Packet::UnsubAck(p) => {
            out.word("unsuback");
            out.word(&p.packet_id.to_string());
            p.reasons.iter().for_each(|c| out.word(&reason(c)));
            out.properties(p.properties);
        }
        Packet::PingReq => out.word("pingreq"),
        Packet::PingResp => out.word("pingresp"),
        Packet::Disconnect(p) => {
            out.word("disconnect");
            out.reason(p.reason);
            out.properties(p.properties);
        }
        Packet::Auth(p) => {
            out.word("auth");
            out.reason(p.reason);
            out.properties(p.properties);
        }
    }
    out.text
}

/// A reason code's name.
pub(crate) fn reason(code: ReasonCode) -> String {
    code.text().replace(' ', "-")
}

struct Line<'a> {
    text: String,
    show: &'a dyn Fn(PropertyId) -> bool,
}

impl Line<'_> {
    fn word(&mut self, word: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.word(key);
        write!(self.text, "={value}").expect("a String takes everything");
    }

    fn flag(&mut self, on: bool, word: &str) {
        if on {
            self.word(word);
        }
    }

    fn reason(&mut self, code: ReasonCode) {
        if code != ReasonCode::Success {
            self.word(&reason(code));
        }
    }

    fn connect(&mut self, p: &Connect<'_>) {
        self.word("connect");
        self.pair("v", &p.version.to_string());
        self.pair("id", &bare_or_quoted(p.client_id));
        self.flag(p.clean_start, "clean");
        self.flag(p.bridge, "bridge");
        if p.keep_alive_s != 0 {
            self.pair("keep_alive", &p.keep_alive_s.to_string());
        }
        if let Some(user_name) = p.user_name {
            self.pair("user", &quote(user_name.as_bytes()));
        }
        if let Some(password) = p.password {
            self.pair("password", &quote(password));
        }
        self.properties(p.properties);
        if let Some(will) = &p.will {
            self.word("will");
            self.word(&bare_or_quoted(will.topic.as_str()));
            self.qos(will.qos);
            self.flag(will.retain, "retain");
            self.properties(will.properties);
            self.word(&quote(will.payload));
        }
    }

    fn qos(&mut self, qos: Qos) {
        if qos != Qos::AtMostOnce {
            self.pair("qos", &qos.as_u8().to_string());
        }
    }

    fn publish(&mut self, p: &Publish<'_>) {
        self.word("publish");
        match p.address {
            Address::Name(topic) | Address::Define(topic, _) => self.word(&bare_or_quoted(topic.as_str())),
            Address::Alias(_) => self.word("\"\""),
        }
        self.qos(p.delivery.qos());
        if let Some(id) = p.delivery.packet_id() {
            self.pair("id", &id.to_string());
        }
        self.flag(p.dup, "dup");
        self.flag(p.retain, "retain");
        self.properties(p.properties);
        self.word(&quote(p.payload));
    }

    fn ack(&mut self, name: &str, p: &Ack<'_>) {
        self.word(name);
        self.word(&p.packet_id.to_string());
        self.reason(p.reason);
        self.properties(p.properties);
    }

    fn subscribe(&mut self, p: &Subscribe<'_>) {
        self.word("subscribe");
        self.word(&p.packet_id.to_string());
        for (filter, options) in p.requests.iter() {
            self.word(&bare_or_quoted(filter.as_str()));
            self.qos(options.qos);
            self.flag(options.no_local, "no_local");
            self.flag(options.retain_as_published, "retain_as_published");
            match options.retain_handling {
                RetainHandling::Always => {}
                RetainHandling::New => self.pair("retain_handling", "1"),
                RetainHandling::Never => self.pair("retain_handling", "2"),
            }
        }
        self.properties(p.properties);
    }

    fn properties(&mut self, properties: Properties<'_>) {
        for (id, value) in properties.iter().filter(|(id, _)| (self.show)(*id)) {
            let value = match value {
                Value::Number(n) => n.to_string(),
                Value::Text(text) => bare_or_quoted(text),
                Value::Binary(bytes) => quote(bytes),
                Value::Pair(name, value) => bare_or_quoted(&format!("{name}:{value}")),
            };
            self.pair(id.name(), &value);
        }
    }
}
