//! Logins are checked by threads of their own: a hash takes tens of milliseconds, and no shard waits for it.
//!
//! What waits is bounded by count and by bytes; beyond, a login is refused at once. A login whose connection has gone is
//! not checked. The threads give way to shards, so a storm of logins makes logins slow and nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use martlet_broker::{ConnId, Login, Revoked, Shared, Verdict};
use martlet_users::{Users, Verdict as Found};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::config::{Config, Finding, PasswordFile};
use crate::inbox::{Inbox, Item};
use crate::limits::{LOGIN_THREADS_DEFAULT_MAX, LOGINS_BYTES_MAX};

/// The threads, and what they share with shards.
pub(crate) struct Logins {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

/// Where shards leave logins.
pub(crate) struct Desk {
    waiting: Mutex<Waiting>,
    /// Something waits, or all is over.
    came: Condvar,
    waiting_max: usize,
    is_over: AtomicBool,
    sources: Vec<Source>,
    /// Changed as a whole when files are read again.
    known: RwLock<Known>,
    inboxes: Arc<[Inbox]>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Waiting {
    list: VecDeque<Waits>,
    bytes: usize,
}

/// A login that waits.
struct Waits {
    shard: u16,
    conn: ConnId,
    listener: u16,
    user_name: Box<str>,
    password: Box<[u8]>,
    /// Gone when the connection is.
    wanted: Weak<()>,
}

impl Waits {
    fn bytes(&self) -> usize {
        self.user_name.len() + self.password.len()
    }
}

/// A password file and the listeners that it is for.
struct Source {
    file: PasswordFile,
    listeners: Vec<u16>,
}

/// Who may come in.
struct Known {
    generation: u64,
    /// By source.
    users: Vec<Arc<Users>>,
}

impl Logins {
    /// Reads all password files, and tells of all that is wrong with them. None: no listener has users.
    pub(crate) fn read(config: &Config) -> Result<Option<Files>, Vec<Finding>> {
        let mut files = Files {
            sources: Vec::new(),
            users: Vec::new(),
        };
        let mut findings = Vec::new();
        for (listener, number) in config.listeners.iter().zip(0..) {
            let Some(file) = &listener.password_file else {
                continue;
            };
            let known = files
                .sources
                .iter_mut()
                .find(|source| source.file.path == file.path);
            if let Some(source) = known {
                source.listeners.push(number);
                continue;
            }
            files.sources.push(Source {
                file: file.clone(),
                listeners: vec![number],
            });
            match file.read() {
                Ok(users) => files.users.push(Arc::new(users)),
                Err(found) => findings.extend(found),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        Ok((!files.sources.is_empty()).then_some(files))
    }

    /// Starts the threads.
    pub(crate) fn start(files: Files, config: &Config, inboxes: &Arc<[Inbox]>, shared: &Arc<Shared>) -> Self {
        let Files { sources, users } = files;
        for (source, users) in sources.iter().zip(&users) {
            tell_read(&source.file, users);
        }
        let desk = Arc::new(Desk {
            waiting: Mutex::default(),
            came: Condvar::new(),
            waiting_max: config.logins_waiting_max as usize,
            is_over: AtomicBool::new(false),
            sources,
            known: RwLock::new(Known { generation: 0, users }),
            inboxes: Arc::clone(inboxes),
            shared: Arc::clone(shared),
        });
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = config.login_threads.map_or_else(
            || cores.clamp(1, LOGIN_THREADS_DEFAULT_MAX),
            |threads| usize::from(threads).max(1),
        );
        let threads = (0..threads).map(|number| {
            let desk = Arc::clone(&desk);
            std::thread::Builder::new()
                .name(format!("login-{number}"))
                .spawn(move || desk.work())
                .expect("the system starts a thread")
        });
        Self {
            threads: threads.collect(),
            desk,
        }
    }

    pub(crate) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Reads the password files again. A file with anything wrong with it changes nothing.
    pub(crate) fn reload(&self) {
        let read: Vec<_> = self
            .desk
            .sources
            .iter()
            .map(|source| source.file.read())
            .collect();
        let mut revoked = Vec::new();
        let mut known = self.desk.known.write();
        for ((source, read), users) in self.desk.sources.iter().zip(read).zip(&mut known.users) {
            let file = source.file.path.display();
            match read {
                Ok(next) => {
                    let next = Arc::new(next);
                    let gone: Vec<Box<str>> = users.changed_in(&next).map(Into::into).collect();
                    tell_read(&source.file, &next);
                    *users = next;
                    if !gone.is_empty() {
                        revoked.push(Arc::new(Revoked {
                            listeners: source.listeners.clone(),
                            users: gone,
                        }));
                    }
                }
                Err(findings) => {
                    for finding in &findings {
                        let code = finding.code.as_str();
                        tracing::error!(code, text = finding.line(), "users.not_read");
                    }
                    tracing::warn!(%file, users = users.len(), text = "the users stay as they were", "users.kept");
                }
            }
        }
        known.generation += 1;
        // First the number, then the word: whoever is on the way between two shards meanwhile is checked again.
        let generation = &self.desk.shared.users_generation;
        generation.store(known.generation, Ordering::Release);
        for revoked in revoked {
            for inbox in &*self.desk.inboxes {
                inbox.push(Item::Revoked(Arc::clone(&revoked)));
            }
        }
    }
}

impl Drop for Logins {
    /// Ends the threads. What waits is dropped.
    fn drop(&mut self) {
        {
            let mut waiting = self.desk.waiting.lock();
            *waiting = Waiting::default();
            self.desk.is_over.store(true, Ordering::Release);
        }
        self.desk.came.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of it was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Password files that were read.
pub(crate) struct Files {
    sources: Vec<Source>,
    users: Vec<Arc<Users>>,
}

fn tell_read(file: &PasswordFile, users: &Users) {
    let path = file.path.display();
    tracing::info!(target: crate::log::NOTICE, file = %path, users = users.len(), "users.read");
    if users.is_empty() {
        let fix = format!("martlet passwd {path} USER");
        tracing::warn!(file = %path, text = "the file has no users, so nobody comes in by it", fix, "users.none");
    }
    if is_open_to_all(&file.path) {
        let fix = format!("chmod o-rwx {path}");
        tracing::warn!(file = %path, text = "every user of this machine may read the hashes", fix, "users.readable");
    }
}

#[cfg(unix)]
fn is_open_to_all(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_: &std::path::Path) -> bool {
    false
}

impl Desk {
    /// Has a login checked as long as somebody wants it; `false`: too many wait already.
    pub(crate) fn submit(&self, shard: u16, conn: ConnId, login: &Login<'_>, wanted: Weak<()>) -> bool {
        let waits = Waits {
            shard,
            conn,
            listener: login.listener,
            user_name: login.user_name.into(),
            password: login.password.into(),
            wanted,
        };
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + waits.bytes();
        let is_full = waiting.list.len() >= self.waiting_max || bytes > LOGINS_BYTES_MAX;
        if is_full && !waiting.list.is_empty() {
            return false;
        }
        waiting.bytes = bytes;
        waiting.list.push_back(waits);
        drop(waiting);
        self.came.notify_one();
        true
    }

    /// Checks one login after the other until all is over.
    fn work(&self) {
        give_way();
        while let Some(waits) = self.next() {
            if waits.wanted.strong_count() > 0 {
                self.check(&waits);
            }
        }
    }

    fn next(&self) -> Option<Waits> {
        let mut waiting = self.waiting.lock();
        loop {
            if self.is_over.load(Ordering::Acquire) {
                return None;
            }
            if let Some(waits) = waiting.list.pop_front() {
                waiting.bytes -= waits.bytes();
                return Some(waits);
            }
            self.came.wait(&mut waiting);
        }
    }

    /// Checks a login and tells its shard. If the users are read again meanwhile it is checked by the new ones: nobody
    /// comes in by users that no longer hold.
    fn check(&self, waits: &Waits) {
        loop {
            let (generation, users) = self.users(waits.listener);
            let found = users.map_or(Found::UnknownUser, |users| {
                users.check(&waits.user_name, &waits.password)
            });
            // As long as this is held, nobody is told of new users.
            let known = self.known.read();
            if known.generation != generation {
                continue;
            }
            let verdict = match found {
                Found::Accepted => Verdict::Accepted { generation },
                Found::UnknownUser => Verdict::UnknownUser,
                Found::WrongPassword => Verdict::WrongPassword,
            };
            self.inboxes[usize::from(waits.shard)].push(Item::Login(waits.conn, verdict));
            return;
        }
    }

    /// The users of a listener, and their generation.
    fn users(&self, listener: u16) -> (u64, Option<Arc<Users>>) {
        let known = self.known.read();
        let source = self
            .sources
            .iter()
            .position(|source| source.listeners.contains(&listener));
        (
            known.generation,
            source.map(|source| Arc::clone(&known.users[source])),
        )
    }
}

/// The thread lets others go first, if the system knows such a thing for threads.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "login threads have the priority of all others");
    }
}

/// A tenth of the weight of a shard, where both want the same core.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::task::Waker;

    use martlet_broker::{ListenerRules, Parcels, Seed, Settings};
    use martlet_users::{PasswordHash, Scheme};

    use super::*;
    use crate::config::Origin;

    /// A desk without threads, on which user `alice` has the password `secret`.
    fn desk(waiting_max: usize) -> Desk {
        let rules = vec![ListenerRules::default()];
        Desk {
            waiting: Mutex::default(),
            came: Condvar::new(),
            waiting_max,
            is_over: AtomicBool::new(false),
            sources: vec![Source {
                file: PasswordFile {
                    path: PathBuf::from("u"),
                    origin: Origin::Default,
                },
                listeners: vec![0],
            }],
            known: RwLock::new(Known {
                generation: 0,
                users: vec![Arc::new(users("secret"))],
            }),
            inboxes: (0..2).map(|_| Inbox::default()).collect(),
            shared: Shared::new(Settings::default(), rules, 2, &mut Seed::new(1)),
        }
    }

    fn users(password: &str) -> Users {
        let hash = PasswordHash::new(Scheme::Sha512, password.as_bytes(), b"saltsaltsalt");
        Users::read(format!("alice:{hash}\n").as_bytes()).unwrap()
    }

    const fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    fn login<'a>(user_name: &'a str, password: &'a [u8]) -> Login<'a> {
        Login {
            listener: 0,
            user_name,
            password,
        }
    }

    impl Desk {
        /// Checks what waits, as a thread would.
        fn work_off(&self) {
            while !self.waiting.lock().list.is_empty() {
                let waits = self.next().expect("something waits");
                if waits.wanted.strong_count() > 0 {
                    self.check(&waits);
                }
            }
        }

        /// What a shard was told: connection and verdict.
        fn verdicts(&self, shard: usize) -> Vec<(u32, Verdict)> {
            let mut items = Vec::new();
            self.inboxes[shard].take(&mut items, &mut Parcels::default(), Waker::noop());
            let verdicts = items.into_iter().map(|item| match item {
                Item::Login(conn, verdict) => (conn.index, verdict),
                item => panic!("{item:?}"),
            });
            verdicts.collect()
        }
    }

    #[test]
    fn each_shard_gets_its_verdicts() {
        let desk = desk(10);
        let wanted = Arc::new(());
        for (shard, index, name, password) in [
            (1, 0, "alice", "secret"),
            (0, 1, "alice", "guess"),
            (1, 2, "bob", "secret"),
        ] {
            let login = login(name, password.as_bytes());
            assert!(desk.submit(shard, conn(index), &login, Arc::downgrade(&wanted)));
        }
        desk.work_off();
        assert_eq!(desk.verdicts(0), [(1, Verdict::WrongPassword)]);
        let accepted = Verdict::Accepted { generation: 0 };
        assert_eq!(desk.verdicts(1), [(0, accepted), (2, Verdict::UnknownUser)]);
        assert_eq!(desk.waiting.lock().bytes, 0);
    }

    #[test]
    fn what_nobody_wants_any_more_is_not_checked() {
        let desk = desk(10);
        let (wanted, unwanted) = (Arc::new(()), Arc::new(()));
        for (index, by) in [(0, &unwanted), (1, &wanted), (2, &unwanted)] {
            assert!(desk.submit(0, conn(index), &login("alice", b"secret"), Arc::downgrade(by)));
        }
        drop(unwanted);
        desk.work_off();
        assert_eq!(desk.verdicts(0), [(1, Verdict::Accepted { generation: 0 })]);
    }

    #[test]
    fn what_waits_is_bounded_by_count_and_by_bytes() {
        let wanted = Arc::new(());
        let submit = |desk: &Desk, password: &[u8]| {
            desk.submit(0, conn(0), &login("alice", password), Arc::downgrade(&wanted))
        };
        let few = desk(2);
        assert_eq!([(); 3].map(|()| submit(&few, b"x")), [true, true, false]);
        few.work_off();
        assert!(submit(&few, b"x"));
        let many = desk(usize::MAX);
        let large = vec![0; LOGINS_BYTES_MAX / 4];
        let taken = (0..10).take_while(|_| submit(&many, &large)).count();
        assert_eq!(taken, 3, "with their names they are a little more than a quarter");
        many.work_off();
        assert!(submit(&many, &vec![0; LOGINS_BYTES_MAX + 1]), "one always passes");
    }

    #[test]
    fn a_listener_without_users_knows_nobody() {
        let desk = desk(10);
        let wanted = Arc::new(());
        let login = Login {
            listener: 7,
            ..login("alice", b"secret")
        };
        assert!(desk.submit(0, conn(0), &login, Arc::downgrade(&wanted)));
        desk.work_off();
        assert_eq!(desk.verdicts(0), [(0, Verdict::UnknownUser)]);
    }
}
