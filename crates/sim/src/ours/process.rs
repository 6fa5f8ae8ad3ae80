//! A process with our client, as long as it lives, and its store, which lives on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::IoSlice;

use martlet_client::engine::{Contents, Engine, Event, StoreBatch, StoreOp, Token, Unacked};
use martlet_client::{Lost, Message, Options, Qos, StoreError, Subscribe, TopicBuf, Unsubscribe, Version};
use martlet_codec::FilterBuf;

use super::WALL_MS;
use super::ledger::Ledger;
use super::plan::ClientPlan;
use crate::history::ConnNo;

/// A client, or the place where one was.
pub(super) struct ClientProcess {
    name: String,
    options: Options,
    version: Version,
    lies: bool,
    pub(super) engine: Option<Engine>,
    /// What is on its disk.
    contents: Contents,
    /// What the store is at.
    batch: Option<StoreBatch>,
    /// Whether the store is about to look for something to do.
    pub(super) keeps: bool,
    pub(super) conn: Option<ConnNo>,
    pub(super) timer_ms: Option<u64>,
    /// Messages of all runs by their tokens.
    pub(super) tokens: HashMap<Token, usize>,
    /// What was offered to the application.
    pub(super) untaken: VecDeque<(usize, Option<Unacked>)>,
    /// Requests without an answer.
    asked: BTreeSet<Token>,
    /// What it has taken, and up to which operation the store must have come for that to hold.
    taken: VecDeque<(u64, usize)>,
}

impl ClientProcess {
    pub(super) fn new(plan: &ClientPlan) -> Self {
        Self {
            name: plan.name.clone(),
            options: plan.options.clone(),
            version: plan.version,
            lies: plan.lies,
            engine: None,
            contents: Contents::default(),
            batch: None,
            keeps: false,
            conn: None,
            timer_ms: None,
            tokens: HashMap::new(),
            untaken: VecDeque::new(),
            asked: BTreeSet::new(),
            taken: VecDeque::new(),
        }
    }

    /// Whether its messages may have properties.
    pub(super) fn speaks_properties(&self) -> bool {
        self.version == Version::V5
    }

    /// The number of the run that is under way.
    pub(super) fn run(&self) -> Option<u64> {
        self.engine.as_ref().map(|_| self.contents.run)
    }

    pub(super) fn start(&mut self, seed: u64, now_ms: u64) {
        self.contents.run = self.contents.next_run();
        let mut engine = Engine::new(self.options.clone(), seed);
        engine.restore(self.contents.clone(), WALL_MS);
        engine.start(now_ms, true);
        let no = self.name.trim_start_matches("ours-");
        let filter = FilterBuf::new(&format!("to/{no}/#")).expect("a filter");
        let asked = engine.subscribe(now_ms, Subscribe::to(filter, Qos::ExactlyOnce));
        self.asked
            .insert(asked.expect("a client that has just started takes a request"));
        self.engine = Some(engine);
        (self.keeps, self.timer_ms) = (false, None);
    }

    /// Asks for something else now and then, and forgets now and then that it has asked: futures that are dropped.
    pub(super) fn ask(&mut self, command: u64, now_ms: u64) {
        let Some(engine) = &mut self.engine else { return };
        let filter = FilterBuf::new("else/#").expect("a filter");
        let asked = match command {
            0 => engine
                .subscribe(now_ms, Subscribe::to(filter, Qos::AtLeastOnce))
                .ok(),
            1 => engine.unsubscribe(now_ms, Unsubscribe::from(filter)).ok(),
            2 | 3 => {
                let topic = TopicBuf::new("nobody/answers").expect("a topic name");
                let request = Message::new(topic, "?").qos(Qos::ExactlyOnce);
                engine.request_response(now_ms, request, 3_000).ok()
            }
            _ => None,
        };
        match asked {
            Some(token) if command == 3 => engine.forget_request(token),
            asked => self.asked.extend(asked),
        }
    }

    /// A request has its answer.
    pub(super) fn answered(&mut self, token: Token, ledger: &mut Ledger) {
        if !self.asked.remove(&token) {
            // The client asks for its response topic by itself.
            ledger.note("an answer that nobody waits for");
        }
    }

    /// The process is gone. Of what its store was at, and was not told to be kept, so many operations are there.
    pub(super) fn kill(&mut self, kept: usize, ledger: &mut Ledger) {
        self.keep_some(kept, ledger);
        self.engine = None;
        self.untaken.clear();
        self.asked.clear();
        self.taken.clear();
    }

    /// Operations that the store is at.
    pub(super) fn unkept(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.ops.len())
    }

    fn keep_some(&mut self, kept: usize, ledger: &mut Ledger) {
        // A store that lies has told of all of it already, and has none of it.
        let kept = if self.lies { 0 } else { kept };
        if let Some(batch) = self.batch.take() {
            for op in &batch.ops[..kept] {
                self.apply(op, ledger);
            }
        }
    }

    fn apply(&mut self, op: &StoreOp, ledger: &mut Ledger) {
        if let StoreOp::Released(token) = op
            && let Some(message) = self.tokens.get(token)
        {
            ledger.released(*message);
        }
        self.contents.apply(op);
    }

    pub(super) fn has_store_work(&self) -> bool {
        self.batch.is_none() && self.engine.as_ref().is_some_and(Engine::has_store_ops)
    }

    /// The store is handed what there is; the run for which.
    pub(super) fn begin_keep(&mut self) -> Option<u64> {
        self.keeps = false;
        if self.batch.is_none() {
            self.batch = self.engine.as_mut()?.store_batch();
            self.batch.as_ref()?;
        }
        self.run()
    }

    /// The store has kept it, but for what it refuses.
    pub(super) fn end_keep(&mut self, now_ms: u64, mut refuses: impl FnMut() -> bool, ledger: &mut Ledger) {
        let (Some(engine), Some(batch)) = (&mut self.engine, self.batch.take()) else {
            return;
        };
        if self.lies {
            engine.store_done(now_ms, &batch, Vec::new());
            // It is kept when the next is told, if nobody is killed before.
            self.batch = Some(batch);
            return self.end_lie(ledger);
        }
        let mut refused = Vec::new();
        for (at, op) in batch.ops.iter().enumerate() {
            if matches!(op, StoreOp::Accepted(_)) && refuses() {
                refused.push((at, error()));
            }
        }
        engine.store_done(now_ms, &batch, refused.clone());
        for (at, op) in batch.ops.iter().enumerate() {
            if !refused.iter().any(|(place, _)| *place == at) {
                self.apply(op, ledger);
            }
        }
    }

    /// Every third batch is forgotten.
    fn end_lie(&mut self, ledger: &mut Ledger) {
        if let Some(batch) = self.batch.take().filter(|batch| batch.ops.len() % 3 != 0) {
            for op in &batch.ops {
                self.apply(op, ledger);
            }
        }
    }

    pub(super) fn store_fails(&mut self, now_ms: u64, kept: usize, ledger: &mut Ledger) {
        self.keep_some(kept, ledger);
        if let Some(engine) = &mut self.engine {
            engine.store_failed(now_ms, error());
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.engine.as_mut()?.poll_event()
    }

    pub(super) fn poll_packet_log(&mut self) -> Option<String> {
        self.engine.as_mut()?.poll_packet_log()
    }

    pub(super) fn timeout(&mut self, now_ms: u64) {
        if let Some(engine) = &mut self.engine
            && engine.deadline().is_some_and(|at_ms| at_ms <= now_ms)
        {
            engine.timeout(now_ms);
        }
    }

    pub(super) fn input(&mut self, now_ms: u64, bytes: &[u8]) {
        if let Some(engine) = &mut self.engine {
            engine.input(now_ms, bytes);
        }
    }

    pub(super) fn lost(&mut self, now_ms: u64) {
        if let Some(engine) = &mut self.engine {
            engine.lost(now_ms, Lost::Closed);
        }
    }

    pub(super) fn take_output(&mut self, now_ms: u64) -> Vec<u8> {
        let Some(engine) = &mut self.engine else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let n = engine.output().slices(&mut slices);
            let before = bytes.len();
            slices[..n]
                .iter()
                .for_each(|slice| bytes.extend_from_slice(slice));
            if bytes.len() == before {
                return bytes;
            }
            engine.written(now_ms, bytes.len() - before);
        }
    }

    /// The application takes the oldest message.
    pub(super) fn take(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let Some((message, unacked)) = self.untaken.pop_front() else {
            return;
        };
        if let Some(unacked) = unacked {
            engine.acknowledge(unacked);
        }
        let (issued, _) = engine.store_progress();
        self.taken.push_back((issued, message));
    }

    /// Tells the ledger what is taken for good.
    pub(super) fn look_for_taken(&mut self, ledger: &mut Ledger) {
        let Some(engine) = &self.engine else { return };
        let (_, answered) = engine.store_progress();
        while let Some((_, message)) = self.taken.pop_front_if(|(until, _)| *until <= answered) {
            ledger.taken(message);
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::is_online)
    }

    /// The version that a packet to it has.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Why it is not at rest, if it is not.
    pub(super) fn unrest(&self) -> Option<String> {
        let Some(engine) = &self.engine else {
            return Some("it is not running".to_owned());
        };
        if !engine.is_online() {
            return Some("it is not connected".to_owned());
        }
        if engine.unfinished() > 0 {
            return Some(format!("{} messages have no end", engine.unfinished()));
        }
        if engine.has_store_ops() || self.batch.is_some() {
            return Some("its store is at work".to_owned());
        }
        if !self.asked.is_empty() {
            return Some(format!("{} requests have no answer", self.asked.len()));
        }
        (!self.untaken.is_empty()).then(|| format!("{} messages are not taken", self.untaken.len()))
    }
}

fn error() -> StoreError {
    StoreError::Full {
        place: "of the simulation".to_owned(),
        text: "the seed says so".to_owned(),
    }
}
