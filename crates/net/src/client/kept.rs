//! What a client keeps from one connection to the next.

use std::time::Instant;

use super::tls::{ClientTls, LoadedTls, TlsError};
use crate::limits::TLS_KEPT_FOR;
use crate::tls::fingerprint::Fingerprint;

/// What a client keeps from one connection to the next, so that a server that knows it takes it up again with half
/// a handshake (TLS resumption). Files are looked at each time, and if they changed, nothing that rests on them is kept.
#[derive(Debug, Default)]
pub struct Kept(Option<Tls>);

#[derive(Debug)]
struct Tls {
    /// What it was loaded by.
    tls: ClientTls,
    /// What the files held.
    files: Fingerprint,
    since: Instant,
    loaded: LoadedTls,
}

impl Tls {
    fn is_good_for(&self, tls: &ClientTls, files: &Fingerprint) -> bool {
        self.tls == *tls && self.files == *files && self.since.elapsed() < TLS_KEPT_FOR
    }
}

impl Kept {
    /// TLS with the files as they are now. They are read on a thread for what may take long.
    pub(crate) async fn load(&mut self, tls: &ClientTls) -> Result<LoadedTls, TlsError> {
        let (tls, kept) = (tls.clone(), self.0.take());
        let read = tokio::task::spawn_blocking(move || {
            // What cannot be read here is told by who reads it for what is in it. Files that change meanwhile are
            // others next time.
            let Ok(files) = tls.fingerprint() else {
                return tls.load().map(|loaded| (None, loaded));
            };
            if let Some(kept) = kept.filter(|kept| kept.is_good_for(&tls, &files)) {
                let loaded = kept.loaded.clone();
                return Ok((Some(kept), loaded));
            }
            let loaded = tls.load()?;
            let kept = Tls {
                tls,
                files,
                since: Instant::now(),
                loaded: loaded.clone(),
            };
            Ok((Some(kept), loaded))
        });
        let (kept, loaded) = read
            .await
            .map_err(|error| TlsError::Settings(error.to_string()))??;
        self.0 = kept;
        Ok(loaded)
    }

    /// TLS has failed: the next connection begins anew, with the system's certificates as they are then.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}
