//! `mqtt`, as Lua sees it: functions that are methods of clients too.

mod device;
mod event;
mod link;
mod setup;
mod way;

use std::rc::Rc;

use martlet_client::Qos;
use mlua::{FromLua, Lua, MetaMethod, Table, UserData, UserDataFields, Value};

use crate::api::{Args, Fault, Library, Returned, nothing};
use crate::limits;
use crate::log;
use crate::machine::Machine;
use crate::zbuff;

pub(crate) use device::Device;
use setup::Will;

/// What Lua calls a client.
const CLIENT: &str = "MQTTCTRL*";

/// A client in the hands of Lua.
#[derive(Clone)]
struct Client(Rc<Device>);

/// The functions of the library, which are methods too.
struct Methods(Table);

impl UserData for Client {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", CLIENT);
        fields.add_meta_field_with(MetaMethod::Index, |lua| {
            let methods = lua.app_data_ref::<Methods>();
            Ok(methods.map_or(Value::Nil, |methods| Value::Table(methods.0.clone())))
        });
    }
}

/// Numbers of the states, under both of the names that are documented.
const STATES: [(&str, i64); 9] = [
    ("STATE_DISCONNECT", 0),
    ("STATE_SCONNECT", 1),
    ("STATE_MQTT", 2),
    ("STATE_READY", 3),
    ("MQTT_STATE_DISCONNECT", 0),
    ("MQTT_STATE_CONNECTING", 1),
    ("MQTT_STATE_CONNECTED", 2),
    ("MQTT_STATE_READY", 3),
    ("MQTT_STATE_ERROR", 4),
];

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let mqtt = Library::open(lua, machine, "mqtt")?;
    for (name, number) in STATES {
        mqtt.value(name, number)?;
    }
    for (name, number) in [("VERIFY_NONE", 0), ("VERIFY_OPTION", 1), ("VERIFY_REQUIRED", 2)] {
        mqtt.value(name, number)?;
    }
    mqtt.function("create", create)?;
    mqtt.function("auth", auth)?;
    mqtt.function("keepalive", |_, args| {
        let (default, least, most) = limits::KEEP_ALIVE_S;
        let seconds = args.opt_integer(2, default)?.clamp(least, most);
        client(args)?.0.setup.borrow_mut().keep_alive_s = seconds as u16;
        nothing()
    })?;
    mqtt.function("on", |_, args| {
        let callback = match args.value(2) {
            Value::Function(callback) => Some(callback),
            _ => None,
        };
        *client(args)?.0.callback.borrow_mut() = callback;
        nothing()
    })?;
    mqtt.function("connect", |_, args| {
        let device = client(args)?.0;
        let begun = device.connect();
        if let Err(why) = &begun {
            log::say(args.lua, 'W', "mqtt", &format!("connect: {why}"))?;
        }
        args.returns(begun.is_ok())
    })?;
    mqtt.function("disconnect", |_, args| args.returns(client(args)?.0.disconnect()))?;
    mqtt.function("autoreconn", |_, args| {
        let device = client(args)?.0;
        let mut setup = device.setup.borrow_mut();
        if let Value::Boolean(on) = args.value(2) {
            setup.reconnects = on;
        }
        let (default, least) = limits::RECONNECT_MS;
        let period = args.opt_integer(3, default)?;
        setup.reconnect_ms = period.max(least) as u64;
        nothing()
    })?;
    mqtt.function("publish", publish)?;
    mqtt.function("subscribe", subscribe)?;
    mqtt.function("unsubscribe", unsubscribe)?;
    mqtt.function("will", will)?;
    mqtt.function("close", |_, args| {
        client(args)?.0.close();
        nothing()
    })?;
    mqtt.function("ready", |_, args| {
        args.returns(client(args)?.0.state() == device::State::Ready)
    })?;
    mqtt.function("state", |_, args| args.returns(client(args)?.0.state() as i64))?;
    mqtt.function("debug", |_, args| {
        if let Value::Boolean(on) = args.value(2) {
            client(args)?.0.debug(on);
        }
        nothing()
    })?;
    lua.set_app_data(Methods(mqtt.table));
    Ok(())
}

fn client(args: &Args<'_>) -> Result<Client, Fault> {
    args.object(1, CLIENT)
}

fn create(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let setup = match setup::read(args)? {
        Ok(setup) => setup,
        Err(why) => {
            log::say(args.lua, 'E', "mqtt", &format!("create: {why}"))?;
            return args.returns(Value::Nil);
        }
    };
    let device = Device::new(machine, setup);
    let object = args.lua.create_userdata(Client(Rc::clone(&device)))?;
    *device.object.borrow_mut() = Some(object.clone());
    args.returns(object)
}

fn auth(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let device = client(args)?.0;
    let mut texts = Vec::with_capacity(3);
    for (n, what, bytes) in [
        (2, "the client identifier", limits::NAME_BYTES),
        (3, "the user name", limits::NAME_BYTES),
        (4, "the password", limits::PASSWORD_BYTES),
    ] {
        let text = args
            .opt_string(n)?
            .map(|text| text.as_bytes().to_vec())
            .unwrap_or_default();
        if text.len() >= bytes {
            let why = format!(
                "auth: {what} has {} bytes, fewer than {bytes} are taken",
                text.len()
            );
            log::say(args.lua, 'E', "mqtt", &why)?;
            return nothing();
        }
        texts.push(text);
    }
    let password = texts.pop().unwrap_or_default();
    let (Ok(user_name), Ok(client_id)) = (
        String::from_utf8(texts.pop().unwrap_or_default()),
        String::from_utf8(texts.pop().unwrap_or_default()),
    ) else {
        log::say(args.lua, 'E', "mqtt", "auth: names are UTF-8")?;
        return nothing();
    };
    // Without a client identifier there is no session to keep.
    let keeps = matches!(args.value(5), Value::Boolean(false)) && !client_id.is_empty();
    let mut setup = device.setup.borrow_mut();
    setup.client_id = client_id;
    setup.user_name = user_name;
    setup.password = password;
    setup.clean_session = !keeps;
    args.returns(true)
}

fn publish(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let device = client(args)?.0;
    let topic = args.string(2)?;
    let buffer = zbuff::argument(args, 3).map(|buffer| buffer.used());
    let payload = match (buffer, args.maybe_string(3)?) {
        (Some(used), _) => used,
        (None, Some(payload)) => payload.as_bytes().to_vec(),
        (None, None) => {
            let got = args.value(3).type_name();
            log::say(
                args.lua,
                'W',
                "mqtt",
                &format!("publish: a {got} is no payload, an empty message is sent in its place"),
            )?;
            Vec::new()
        }
    };
    let qos = qos(args.opt_integer(4, 0)?);
    let retain = args.opt_integer(5, 0)? != 0;
    match device.publish(&topic.as_bytes(), payload, qos, retain) {
        Ok(id) => args.returns(id),
        Err(why) => {
            log::say(args.lua, 'W', "mqtt", &format!("publish: {why}"))?;
            nothing()
        }
    }
}

/// Anything else than 1 and 2 is 0.
fn qos(n: i64) -> Qos {
    match n {
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => Qos::AtMostOnce,
    }
}

fn subscribe(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let device = client(args)?.0;
    let mut asked = Vec::new();
    match args.value(2) {
        Value::Table(topics) => {
            for pair in topics.pairs::<Value, Value>() {
                let (topic, wanted) = pair?;
                let topic = args.lua.coerce_string(topic)?;
                let wanted = args.lua.coerce_integer(wanted)?;
                let (Some(topic), Some(wanted)) = (topic, wanted) else {
                    return Err(args.bad(2, "a table from topics to numbers expected"));
                };
                asked.push((topic.as_bytes().to_vec(), qos(wanted)));
            }
            // The order of a table is nobody's; that of packets is better known.
            asked.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        }
        _ => match args.maybe_string(2)? {
            Some(topic) => asked.push((topic.as_bytes().to_vec(), qos(args.opt_integer(3, 0)?))),
            None => return args.returns(0),
        },
    }
    request(
        args,
        "subscribe",
        asked.iter().map(|(topic, qos)| device.subscribe(topic, *qos)),
    )
}

fn unsubscribe(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let device = client(args)?.0;
    let topics: Vec<Vec<u8>> = match args.value(2) {
        Value::Table(topics) => {
            let mut list = Vec::new();
            for topic in topics.sequence_values::<Value>() {
                let topic = mlua::LuaString::from_lua(topic?, args.lua);
                let topic = topic.map_err(|_| args.bad(2, "an array of topics expected"))?;
                list.push(topic.as_bytes().to_vec());
            }
            list
        }
        _ => match args.maybe_string(2)? {
            Some(topic) => vec![topic.as_bytes().to_vec()],
            None => return nothing(),
        },
    };
    request(
        args,
        "unsubscribe",
        topics.iter().map(|topic| device.unsubscribe(topic)),
    )
}

/// The last identifier, if all of them were sent.
fn request(args: &Args<'_>, what: &str, sent: impl Iterator<Item = Result<u16, String>>) -> Returned {
    let mut last = Value::Nil;
    let mut has_failed = false;
    for id in sent {
        match id {
            Ok(id) => last = Value::Integer(id.into()),
            Err(why) => {
                has_failed = true;
                log::say(args.lua, 'W', "mqtt", &format!("{what}: {why}"))?;
            }
        }
    }
    if has_failed {
        args.returns(Value::Nil)
    } else {
        args.returns(last)
    }
}

fn will(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let device = client(args)?.0;
    let (topic, payload) = (args.string(2)?, args.string(3)?);
    let qos = qos(args.opt_integer(4, 0)?);
    let retain = args.opt_integer(5, 0)? != 0;
    let will = Will::new(&topic.as_bytes(), &payload.as_bytes(), qos, retain);
    match will {
        Ok(will) => {
            device.setup.borrow_mut().will = Some(will);
            args.returns(true)
        }
        Err(why) => {
            log::say(args.lua, 'E', "mqtt", &format!("will: {why}"))?;
            args.returns(false)
        }
    }
}
