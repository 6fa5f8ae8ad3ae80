//! A client: what it was told, its engine, and what is made of the engine's events.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use martlet_client::engine::{self, Engine, Token};
use martlet_client::{
    Bytes, Durability, FileStore, Kept, Lost, Message, Options, PacketId, PropertiesBuf, PublishError, Qos,
    ReasonCode, RequestError, Store, Subscribe, Unsubscribe,
};
use mlua::{AnyUserData, Function, IntoLua};
use tokio::sync::Notify;

use super::event::{self, Event};
use super::link;
use super::setup::{self, Setup};
use crate::limits;
use crate::log;
use crate::machine::Machine;

/// The numbers of `mqttc:state()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum State {
    /// There is no connection.
    Disconnect = 0,
    /// The socket connects.
    Connecting = 1,
    /// The socket is connected, MQTT is not.
    Connected = 2,
    /// MQTT is.
    Ready = 3,
}

/// A client.
pub(crate) struct Device {
    pub(super) setup: RefCell<Setup>,
    pub(super) callback: RefCell<Option<Function>>,
    /// What Lua has of it: kept until it is closed.
    pub(super) object: RefCell<Option<AnyUserData>>,
    engine: RefCell<Option<Engine>>,
    /// What keeps messages across connections and runs, where the script has named a folder.
    store: RefCell<Option<FileStore>>,
    /// What makes the next connection by TLS cheaper.
    pub(super) kept: RefCell<Kept>,
    /// Identifiers of messages without an end.
    ids: RefCell<HashMap<Token, u16>>,
    /// What follows when our DISCONNECT has left.
    then: Cell<Then>,
    is_closed: Cell<bool>,
    /// Whether the connection is to be cut without a word.
    is_cut: Cell<bool>,
    /// Whether the last failure was that of a write.
    pub(super) was_writing: Cell<bool>,
    has_task: Cell<bool>,
    /// Told when there is something to do for the connection.
    pub(super) wake: Notify,
    machine: Weak<Machine>,
}

/// What follows when our DISCONNECT has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Rest,
    /// The next connection, at that time.
    ConnectAt(u64),
}

impl Device {
    pub(super) fn new(machine: &Rc<Machine>, setup: Setup) -> Rc<Self> {
        let device = Rc::new(Self {
            setup: RefCell::new(setup),
            callback: RefCell::default(),
            object: RefCell::default(),
            engine: RefCell::default(),
            store: RefCell::default(),
            kept: RefCell::default(),
            ids: RefCell::default(),
            then: Cell::new(Then::Rest),
            is_closed: Cell::new(false),
            is_cut: Cell::new(false),
            was_writing: Cell::new(false),
            has_task: Cell::new(false),
            wake: Notify::new(),
            machine: Rc::downgrade(machine),
        });
        if machine.settings.trace {
            device.setup.borrow_mut().logs_packets = true;
        }
        machine.add(&device);
        device
    }

    pub(super) fn machine(&self) -> Option<Rc<Machine>> {
        self.machine.upgrade()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.machine().map_or(0, |machine| machine.now_ms())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Why nothing is sent where no connection is to follow.
    fn is_over(&self) -> &'static str {
        if self.is_closed() {
            "the client is closed"
        } else {
            OFFLINE
        }
    }

    /// Does something with the engine, and hands on what it says.
    pub(crate) fn with<T>(self: &Rc<Self>, act: impl FnOnce(&mut Engine, u64) -> T) -> Option<T> {
        let now_ms = self.now_ms();
        let result = act(self.engine.borrow_mut().as_mut()?, now_ms);
        self.keep(now_ms);
        self.drain();
        Some(result)
    }

    /// Looks at the engine.
    fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> Option<T> {
        self.engine.borrow().as_ref().map(look)
    }

    pub(crate) fn has_output(&self) -> bool {
        self.look(|engine| engine.has_connection() && !engine.output().is_empty())
            .unwrap_or(false)
    }

    pub(super) fn state(&self) -> State {
        if let Then::ConnectAt(at_ms) = self.then.get()
            && at_ms <= self.now_ms()
        {
            return State::Connecting;
        }
        self.look(|engine| match engine {
            engine if engine.is_online() => State::Ready,
            engine if engine.is_leaving() => State::Disconnect,
            engine if engine.has_connection() => State::Connected,
            engine if engine.is_dialing() => State::Connecting,
            _ => State::Disconnect,
        })
        .unwrap_or(State::Disconnect)
    }

    /// Begins to connect. The error: why not.
    pub(super) fn connect(self: &Rc<Self>) -> Result<(), String> {
        if self.is_closed() {
            return Err("the client is closed".to_owned());
        }
        if self.state() != State::Disconnect {
            return Err("it is connected, or on its way".to_owned());
        }
        let now_ms = self.now_ms();
        if self.look(Engine::is_leaving).unwrap_or(false) {
            // Its DISCONNECT leaves first.
            self.then.set(Then::ConnectAt(now_ms));
        } else {
            self.begin(Duration::ZERO)?;
            // It is on its way from here on.
            self.with(Engine::task);
        }
        self.start_task();
        self.wake.notify_one();
        Ok(())
    }

    /// The next attempt is due after that time.
    fn begin(self: &Rc<Self>, wait: Duration) -> Result<(), String> {
        let options = self.setup.borrow().engine_options()?;
        options.check().map_err(|error| error.to_string())?;
        let now_ms = self.now_ms();
        let is_stored = self.setup.borrow().store.is_some();
        if is_stored {
            // Made anew, because what it was told may have changed. What no store has goes along.
            let unsent = self.with(|engine, _| {
                engine.close(&Lost::ByUs);
                engine.leftover().unsent
            });
            self.open_stored(options)?;
            self.with(|engine, now_ms| {
                for message in unsent.unwrap_or_default() {
                    // There was room for it before.
                    let _ = engine.publish(now_ms, message);
                }
                engine.start(now_ms + u64::try_from(wait.as_millis()).unwrap_or(0), true);
            });
        } else {
            let mut engine = self.engine.borrow_mut();
            if let Some(engine) = engine.as_mut() {
                engine.close(&Lost::ByUs);
                engine.leftover();
                engine.reopen(now_ms, options, wait);
            } else {
                let mut begun = Engine::new(options, seed());
                begun.start(now_ms, true);
                *engine = Some(begun);
            }
        }
        self.then.set(Then::Rest);
        Ok(())
    }

    /// With a store messages are taken before there was a connection, too.
    fn prepare_store(self: &Rc<Self>) -> Result<(), String> {
        let is_stored = self.setup.borrow().store.is_some();
        if is_stored && self.look(Engine::is_leaving) == Some(true) {
            // Its DISCONNECT leaves first.
            if let Some(machine) = self.machine() {
                machine.turn(Duration::ZERO);
            }
            self.with(|engine, _| engine.close(&Lost::ByUs));
        }
        let is_open = self.look(|engine| engine.closed().is_none()) == Some(true);
        if is_stored && !is_open && !self.is_closed() {
            let options = self.setup.borrow().engine_options()?;
            self.open_stored(options)?;
        }
        Ok(())
    }

    /// An engine that goes on with what the store has.
    fn open_stored(&self, options: Options) -> Result<(), String> {
        let (folder, client_id) = {
            let setup = self.setup.borrow();
            (setup.store.clone().unwrap_or_default(), setup.client_id.clone())
        };
        // The one before it has the folder.
        *self.store.borrow_mut() = None;
        let opened = FileStore::open(folder, Durability::Fsync);
        let mut store = opened.map_err(|error| error.to_string())?;
        let contents = store.open(&client_id).map_err(|error| error.to_string())?;
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut engine = Engine::new(options, seed());
        engine.restore(contents, u64::try_from(wall.as_millis()).unwrap_or(0));
        let mut ids = self.ids.borrow_mut();
        ids.clear();
        for pending in engine.pending() {
            ids.insert(pending.token, pending.packet_id.map_or(0, PacketId::get));
        }
        *self.engine.borrow_mut() = Some(engine);
        *self.store.borrow_mut() = Some(store);
        Ok(())
    }

    /// Keeps what the engine wants kept; what waited for that leaves then.
    fn keep(&self, now_ms: u64) {
        let mut store = self.store.borrow_mut();
        let Some(open) = store.as_mut() else { return };
        while let Some(engine) = self.engine.borrow_mut().as_mut()
            && let Some(batch) = engine.store_batch()
        {
            match open.keep(&batch.ops) {
                Ok(refused) => engine.store_done(now_ms, &batch, refused),
                Err(error) => {
                    engine.store_failed(now_ms, error);
                    *store = None;
                    return;
                }
            }
        }
        if self.is_closed() && self.look(|engine| engine.closed().is_some()) == Some(true) {
            // Whoever comes next may have it.
            *store = None;
        }
    }

    fn start_task(self: &Rc<Self>) {
        if let Some(machine) = self.machine()
            && machine.has_sockets()
            && !self.has_task.replace(true)
        {
            machine.spawn(link::run(Rc::clone(self)));
        }
    }

    /// Leaves. `false`: there was nothing to leave.
    pub(super) fn disconnect(self: &Rc<Self>) -> bool {
        if self.state() == State::Disconnect {
            return false;
        }
        let (reconnects, period_ms) = {
            let setup = self.setup.borrow();
            (setup.reconnects, setup.reconnect_ms)
        };
        self.with(|engine, now_ms| {
            // An engine that is not closed takes this.
            let _ = engine.disconnect(now_ms, ReasonCode::Success, &PropertiesBuf::new());
        });
        self.then.set(if reconnects {
            Then::ConnectAt(self.now_ms() + period_ms)
        } else {
            Then::Rest
        });
        for event in event::of_end(&Lost::ByUs, false, !reconnects) {
            self.tell(event);
        }
        self.wake.notify_one();
        true
    }

    /// Leaves for good: nothing more is told.
    pub(super) fn close(self: &Rc<Self>) {
        if self.is_closed.replace(true) {
            return;
        }
        *self.callback.borrow_mut() = None;
        *self.object.borrow_mut() = None;
        self.then.set(Then::Rest);
        self.with(|engine, now_ms| {
            let _ = engine.disconnect(now_ms, ReasonCode::Success, &PropertiesBuf::new());
        });
        self.wake.notify_one();
    }

    pub(super) fn debug(&self, on: bool) {
        let logs = on || self.machine().is_some_and(|machine| machine.settings.trace);
        self.setup.borrow_mut().logs_packets = logs;
        if let Some(engine) = self.engine.borrow_mut().as_mut() {
            engine.log_packets(logs);
        }
    }

    /// Cuts the connection without a word, as a network that is gone would.
    pub(crate) fn cut(&self) {
        if self.look(|engine| engine.is_dialing() || engine.has_connection()) == Some(true) {
            self.is_cut.set(true);
            self.wake.notify_one();
        }
    }

    /// Whether it was to be cut, once.
    pub(crate) fn take_cut(&self) -> bool {
        self.is_cut.take()
    }

    /// When its engine has something to do.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.look(Engine::deadline).flatten()
    }

    /// Publishes, and tells the identifier; 0 at QoS 0.
    pub(super) fn publish(
        self: &Rc<Self>,
        topic: &[u8],
        payload: Vec<u8>,
        qos: Qos,
        retain: bool,
    ) -> Result<u16, String> {
        let topic = setup::topic(topic)?;
        self.prepare_store()?;
        let message = Message::new(topic, Bytes::from(payload)).qos(qos).retain(retain);
        let accepted = self.with(|engine, now_ms| engine.publish(now_ms, message));
        let accepted = accepted.ok_or(OFFLINE)?.map_err(|error| match error {
            PublishError::Full(_) => "too much waits to be sent".to_owned(),
            PublishError::Closed(_) => self.is_over().to_owned(),
            error => error.to_string(),
        })?;
        let id = accepted.packet_id.map_or(0, std::num::NonZero::get);
        if id != 0 {
            self.ids.borrow_mut().insert(accepted.token, id);
        }
        self.wake.notify_one();
        if self.look(|engine| engine.output().len() >= limits::OUTPUT_BYTES_SOON) == Some(true)
            && let Some(machine) = self.machine()
        {
            machine.turn(Duration::ZERO);
        }
        Ok(id)
    }

    pub(super) fn subscribe(self: &Rc<Self>, filter: &[u8], qos: Qos) -> Result<u16, String> {
        let subscribe = Subscribe::to(setup::filter(filter)?, qos);
        self.request(|engine, now_ms| engine.subscribe(now_ms, subscribe))
    }

    pub(super) fn unsubscribe(self: &Rc<Self>, filter: &[u8]) -> Result<u16, String> {
        let unsubscribe = Unsubscribe::from(setup::filter(filter)?);
        self.request(|engine, now_ms| engine.unsubscribe(now_ms, unsubscribe))
    }

    fn request(
        self: &Rc<Self>,
        ask: impl FnOnce(&mut Engine, u64) -> Result<Token, RequestError>,
    ) -> Result<u16, String> {
        let asked = self.with(|engine, now_ms| {
            let token = ask(engine, now_ms).map_err(|error| match error {
                RequestError::Closed(_) => self.is_over().to_owned(),
                error => error.to_string(),
            })?;
            Ok(engine.packet_id_of(token).map_or(0, std::num::NonZero::get))
        });
        self.wake.notify_one();
        asked.ok_or(OFFLINE)?
    }

    /// Hands on what the engine has said: packets before what follows from them.
    fn drain(self: &Rc<Self>) {
        while let Some(line) = self.next(Engine::poll_packet_log) {
            let name = self.setup.borrow().client_id.clone();
            self.note('D', format!("{name} {line}"));
        }
        while let Some(event) = self.next(Engine::poll_event) {
            self.happened(event);
        }
    }

    fn next<T>(&self, poll: impl FnOnce(&mut Engine) -> Option<T>) -> Option<T> {
        self.engine.borrow_mut().as_mut().and_then(poll)
    }

    fn happened(self: &Rc<Self>, event: engine::Event) {
        match event {
            engine::Event::Connected(_) => self.tell(Event::ConAck),
            engine::Event::Message { message, unacked } => {
                self.tell(Event::Recv(Box::new(message)));
                if let (Some(unacked), Some(engine)) = (unacked, self.engine.borrow_mut().as_mut()) {
                    engine.acknowledge(unacked);
                }
            }
            engine::Event::Published { token, end } => {
                let id = self.ids.borrow_mut().remove(&token);
                if end.is_ok() {
                    self.tell(Event::Sent(id.unwrap_or(0)));
                }
            }
            engine::Event::Subscribed { end: Ok(suback), .. } => {
                let first = suback.reasons.first().copied().unwrap_or(ReasonCode::Unspecified);
                self.tell(event::of_suback(first));
            }
            engine::Event::Unsubscribed { end: Ok(_), .. } => self.tell(Event::UnsubAck),
            engine::Event::Pong => {
                self.tell(Event::Pong);
                self.tell_all_of_pong();
            }
            engine::Event::Refused {
                refusal,
                retry_with: None,
                ..
            } => self.over(&Lost::Refused(refusal)),
            engine::Event::Lost {
                cause,
                retry_with: None,
                ..
            } => self.over(&cause),
            // An end that another event tells of, or nothing that a script could be told.
            _ => {}
        }
    }

    /// A connection is over, or there was none.
    fn over(self: &Rc<Self>, cause: &Lost) {
        let (reconnects, wait) = {
            let setup = self.setup.borrow();
            (setup.reconnects, Duration::from_millis(setup.reconnect_ms))
        };
        let reconnects = reconnects && !self.is_closed();
        self.note('W', format!("{cause}"));
        for event in event::of_end(cause, self.was_writing.take(), !reconnects) {
            self.tell(event);
        }
        let is_open = self.look(|engine| engine.closed().is_none()) == Some(true);
        if is_open && !reconnects {
            // One with a store would by itself.
            self.with(|engine, _| engine.close(&Lost::ByUs));
        }
        if reconnects
            && !is_open
            && let Err(why) = self.begin(wait)
        {
            self.note('E', format!("cannot connect again: {why}"));
        }
    }

    /// Our DISCONNECT has left, or the connection is gone anyway.
    pub(crate) fn left(self: &Rc<Self>) {
        if let Then::ConnectAt(at_ms) = self.then.get() {
            let wait = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
            if let Err(why) = self.begin(wait) {
                self.note('E', format!("cannot connect again: {why}"));
            }
        }
    }

    /// Tells the callback, later.
    fn tell(self: &Rc<Self>, event: Event) {
        let device = Rc::clone(self);
        let Some(machine) = self.machine() else { return };
        machine.call(move |lua| {
            let (Some(callback), Some(object)) =
                (device.callback.borrow().clone(), device.object.borrow().clone())
            else {
                return Ok(None);
            };
            let mut values = event.values(lua)?;
            values.push_front(object.into_lua(lua)?);
            Ok(Some((callback, values)))
        });
    }

    /// The message that everybody may wait for.
    fn tell_all_of_pong(self: &Rc<Self>) {
        let device = Rc::clone(self);
        let Some(machine) = self.machine() else { return };
        machine.call(move |lua| {
            let publish: Option<Function> = lua.globals().get("sys_pub")?;
            let object = device.object.borrow().clone();
            let (Some(publish), Some(object)) = (publish, object) else {
                return Ok(None);
            };
            let name = "MQTT_PONG".into_lua(lua)?;
            let object = object.into_lua(lua)?;
            Ok(Some((publish, [name, object].into_iter().collect())))
        });
    }

    /// A line of the log, later.
    pub(super) fn note(self: &Rc<Self>, letter: char, text: String) {
        let Some(machine) = self.machine() else { return };
        machine.call(move |lua| {
            log::say(lua, letter, "mqtt", &text)?;
            Ok(None)
        });
    }
}

/// Without randomness only the wait between attempts is less random, and there is none here.
fn seed() -> u64 {
    let mut seed = [0; 8];
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

const OFFLINE: &str = "there is no connection";
