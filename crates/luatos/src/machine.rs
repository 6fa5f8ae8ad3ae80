//! The one thread of a runtime: its bus, its timers, its sockets, and how it waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use mlua::{Function, Lua, MultiValue};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::clock::Clock;
use crate::inner_broker::InnerBroker;
use crate::limits;
use crate::mqtt::Device;
use crate::settings::Settings;
use crate::timers::Timers;

/// What Lua is to do.
pub(crate) enum Note {
    /// A timer of that number is due; how many times more it will be.
    Timer(i64, i64),
    /// A function is to be called, if it is still there.
    Call(Call),
}

/// Finds a function and what it is called with, when it is called.
pub(crate) type Call = Box<dyn FnOnce(&Lua) -> mlua::Result<Option<(Function, MultiValue)>>>;

/// The one thread of a runtime.
pub(crate) struct Machine {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) timers: RefCell<Timers>,
    bus: RefCell<VecDeque<Note>>,
    /// Rung when something comes on the bus.
    bell: Notify,
    /// Told when the bus has room again.
    pub(crate) room: Notify,
    handled: Cell<u32>,
    devices: RefCell<Vec<Weak<Device>>>,
    /// Where time jumps.
    broker: Option<RefCell<InnerBroker>>,
    runtime: Runtime,
    tasks: LocalSet,
}

impl Machine {
    pub(crate) fn new(settings: Settings) -> std::io::Result<Self> {
        let broker = settings.virtual_time.then(|| RefCell::new(InnerBroker::new(0)));
        Ok(Self {
            broker,
            clock: Clock::new(settings.virtual_time),
            settings,
            timers: RefCell::default(),
            bus: RefCell::default(),
            bell: Notify::new(),
            room: Notify::new(),
            handled: Cell::new(0),
            devices: RefCell::default(),
            runtime: Builder::new_current_thread().enable_all().build()?,
            tasks: LocalSet::new(),
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Puts something on the bus.
    pub(crate) fn post(&self, note: Note) {
        self.bus.borrow_mut().push_back(note);
        self.bell.notify_one();
    }

    /// Puts a call on the bus.
    pub(crate) fn call(
        &self,
        call: impl FnOnce(&Lua) -> mlua::Result<Option<(Function, MultiValue)>> + 'static,
    ) {
        self.post(Note::Call(Box::new(call)));
    }

    /// Whether servers may go on.
    pub(crate) fn has_room(&self) -> bool {
        self.bus.borrow().len() < limits::BUS_MESSAGES_MAX
    }

    pub(crate) fn add(&self, device: &Rc<Device>) {
        let mut devices = self.devices.borrow_mut();
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Rc::downgrade(device));
    }

    /// All clients that are there.
    pub(crate) fn devices(&self) -> Vec<Rc<Device>> {
        self.devices.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn_local(task);
    }

    /// Whether clients connect through the network.
    pub(crate) fn has_sockets(&self) -> bool {
        self.broker.is_none()
    }

    /// The next thing to do, waiting at most so long; none: nothing came.
    pub(crate) fn receive(&self, wait_ms: Option<u64>) -> Option<Note> {
        let end_ms = wait_ms.map(|ms| self.now_ms().saturating_add(ms));
        loop {
            if self.handled.get() >= limits::MESSAGES_PER_TURN {
                self.turn(Duration::ZERO);
            }
            self.look_at_limit();
            self.move_due_timers();
            if let Some(note) = self.pop() {
                return Some(note);
            }
            let now_ms = self.now_ms();
            if end_ms.is_some_and(|end_ms| end_ms <= now_ms) {
                return None;
            }
            let until = [end_ms, self.timers.borrow().next_ms(), self.limit_ms()];
            let until_ms = until.into_iter().flatten().min();
            match &self.broker {
                None => {
                    self.turn(until_ms.map_or(Duration::MAX, |at| {
                        Duration::from_millis(at.saturating_sub(now_ms))
                    }));
                }
                Some(broker) => self.jump(&mut broker.borrow_mut(), until_ms),
            }
        }
    }

    /// Does all that can be done now; if that is nothing, it is the next time at which there is something.
    fn jump(&self, broker: &mut InnerBroker, until_ms: Option<u64>) {
        let devices = self.devices();
        broker.turn(self.now_ms(), &devices);
        if !self.bus.borrow().is_empty() {
            return;
        }
        let of_devices = devices.iter().filter_map(|device| device.deadline_ms());
        let Some(next_ms) = of_devices.chain(until_ms).min() else {
            if self.settings.is_program {
                // Nothing will ever happen again.
                self.exit(0);
            }
            return;
        };
        let next_ms = broker
            .deadline_ms()
            .map_or(next_ms, |of_broker| of_broker.min(next_ms));
        self.clock.jump(next_ms.max(self.now_ms() + 1));
    }

    fn limit_ms(&self) -> Option<u64> {
        let (limit, _) = self.settings.time_limit?;
        u64::try_from(limit.as_millis()).ok()
    }

    /// Ends the process when its time is over.
    pub(crate) fn look_at_limit(&self) {
        if let Some((_, over)) = self.settings.time_limit
            && self.limit_ms().is_some_and(|limit_ms| limit_ms <= self.now_ms())
        {
            self.exit(over());
        }
    }

    fn pop(&self) -> Option<Note> {
        let mut bus = self.bus.borrow_mut();
        let note = bus.pop_front()?;
        self.handled.set(self.handled.get() + 1);
        if bus.len() + 1 == limits::BUS_MESSAGES_MAX / 2 {
            self.room.notify_waiters();
        }
        Some(note)
    }

    fn move_due_timers(&self) {
        let now_ms = self.now_ms();
        while let Some((id, repeats)) = self.timers.borrow_mut().pop(now_ms) {
            self.bus.borrow_mut().push_back(Note::Timer(id, repeats));
        }
    }

    /// Lets the connections do what they can, and waits at most so long for the bus.
    pub(crate) fn turn(&self, wait_max: Duration) {
        self.handled.set(0);
        if let Some(broker) = &self.broker {
            // Inside of a turn that hands on what has happened there is nothing more to do.
            if let Ok(mut broker) = broker.try_borrow_mut() {
                broker.turn(self.now_ms(), &self.devices());
            }
            return;
        }
        self.runtime.block_on(self.tasks.run_until(async {
            if wait_max.is_zero() {
                // Twice: what one look at the sockets has woken runs in the second.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            } else if wait_max == Duration::MAX {
                self.bell.notified().await;
            } else {
                let _ = tokio::time::timeout(wait_max, self.bell.notified()).await;
            }
        }));
    }

    /// Ends the process.
    pub(crate) fn exit(&self, status: i32) -> ! {
        use std::io::Write;
        self.finish();
        // What cannot be written has nobody to read it.
        let _ = std::io::stdout().flush();
        std::process::exit(status)
    }

    /// The program ends: what was published leaves, if that goes soon.
    pub(crate) fn finish(&self) {
        if !self.has_sockets() {
            return;
        }
        let end_ms = self.now_ms() + limits::FINISH_MS;
        while self.now_ms() < end_ms && self.devices().iter().any(|device| device.has_output()) {
            self.turn(Duration::ZERO);
            self.turn(Duration::from_millis(1));
        }
    }
}
