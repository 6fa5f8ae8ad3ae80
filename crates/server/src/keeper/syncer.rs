//! Syncs on a thread of their own, where acknowledgements leave that wait for none.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use martlet_journal::{RealDisk, SyncJob, Synced};
use martlet_store::Urgency;

use super::EngineBell;

/// The thread, which has one sync to do or none.
pub(super) struct Syncer {
    jobs: SyncSender<SyncJob<RealDisk>>,
    done: Receiver<Synced>,
    is_busy: bool,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// Starts it; it rings when a sync is done.
    pub(super) fn start(bell: Arc<EngineBell>) -> Self {
        let (jobs, work) = sync_channel::<SyncJob<RealDisk>>(1);
        let (finish, done) = sync_channel(1);
        let run = move || {
            for job in work {
                if finish.send(job.run()).is_err() {
                    return;
                }
                bell.ring(Urgency::Now);
            }
        };
        let thread = std::thread::Builder::new()
            .name("sync".to_owned())
            .spawn(run)
            .expect("the system starts a thread");
        Self {
            jobs,
            done,
            is_busy: false,
            thread,
        }
    }

    /// Begins a sync. The last one must have been taken.
    pub(super) fn begin(&mut self, job: SyncJob<RealDisk>) {
        self.jobs.send(job).expect("the thread waits for it");
        self.is_busy = true;
    }

    /// The sync that is done, if one is.
    pub(super) fn take_done(&mut self) -> Option<Synced> {
        let synced = self.done.try_recv().ok();
        self.is_busy &= synced.is_none();
        synced
    }

    /// Ends the thread, and waits for the sync that is under way.
    pub(super) fn stop(self) -> Option<Synced> {
        let synced = self.is_busy.then(|| self.done.recv().ok());
        drop(self.jobs);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        synced.flatten()
    }
}
