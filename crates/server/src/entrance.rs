//! What is between the socket of a listener and MQTT: TLS, WebSocket, and who a client's certificate says that it is.

use std::sync::Arc;
use std::time::SystemTime;

use martlet_net::tls::certificate::{CertificateDer, Description};
use martlet_net::tls::server::{self, ServerConfig};
use martlet_net::websocket::Requirements;
use martlet_net::{Fault, Layers};
use parking_lot::RwLock;

#[cfg(feature = "quic")]
use crate::config::Code;
use crate::config::{Finding, Identity, Listener, Tls};

/// The layers of a listener whose clients do not begin with MQTT.
#[derive(Debug)]
pub(crate) struct Entrance {
    tls: Option<Secured>,
    web: Option<Requirements>,
}

/// TLS with the files as they were last read.
#[derive(Debug)]
struct Secured {
    tls: Tls,
    config: RwLock<Arc<ServerConfig>>,
}

/// What reading the files again came to.
#[derive(Debug, Default)]
pub(crate) struct Reread {
    /// Listeners whose files are new.
    pub(crate) renewed: usize,
    /// What is better known.
    pub(crate) warnings: Vec<Finding>,
    /// What is wrong; those listeners go on with what they have.
    pub(crate) faults: Vec<Finding>,
}

impl Entrance {
    /// What a listener needs; `None` if its clients begin with MQTT. Warnings are added to `warnings`.
    ///
    /// # Errors
    /// All that is wrong with its files.
    pub(crate) fn of(listener: &Listener, warnings: &mut Vec<Finding>) -> Result<Option<Self>, Vec<Finding>> {
        let tls = listener.tls.as_ref().map(|tls| {
            let config = load(tls, warnings)?;
            Ok::<_, Vec<Finding>>(Secured {
                tls: tls.clone(),
                config: RwLock::new(config),
            })
        });
        let tls = tls.transpose()?;
        #[cfg(feature = "quic")]
        if let Some(secured) = tls.as_ref().filter(|_| listener.is_quic)
            && let Err(why) = martlet_net::quic::check(&secured.config.read())
        {
            let place = listener.origin.place();
            return Err(vec![Finding::new(Code::NotInTls, place, format!("{why}."))]);
        }
        let web = listener.websockets.as_ref().map(|web| Requirements {
            head_bytes_max: web.head_bytes_max,
            origins: web.origins.clone(),
        });
        Ok((tls.is_some() || web.is_some()).then_some(Self { tls, web }))
    }

    /// The layers of a new connection.
    pub(crate) fn layers(&self) -> Result<Layers, Fault> {
        let config = self
            .tls
            .as_ref()
            .map(|secured| Arc::clone(&secured.config.read()));
        server::layers(config, self.web.clone())
    }

    /// The TLS of a new connection, with the files as they were last read.
    #[cfg(feature = "quic")]
    pub(crate) fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        self.tls
            .as_ref()
            .map(|secured| Arc::clone(&secured.config.read()))
    }

    /// What speaks first here, for the log.
    pub(crate) fn expects(&self) -> &'static str {
        if self.tls.is_some() { "tls" } else { "websocket" }
    }

    /// Who a client is, if its certificate is to say so and does.
    pub(crate) fn identity(&self, layers: &Layers) -> Option<Box<str>> {
        self.identity_of(layers.peer_certificates())
    }

    /// The same by what it has shown, first its own.
    pub(crate) fn identity_of(&self, shown: &[CertificateDer<'static>]) -> Option<Box<str>> {
        let kind = self.tls.as_ref()?.tls.identity?;
        let about = Description::of(shown.first()?).ok()?;
        let name = match kind {
            Identity::CommonName => about.common_name?,
            Identity::Subject => about.subject,
        };
        (!name.is_empty()).then(|| name.into())
    }

    /// Reads the files again. New connections get what they say now; if they are wrong, what they said before.
    pub(crate) fn reread(&self, into: &mut Reread) {
        let Some(secured) = &self.tls else { return };
        match load(&secured.tls, &mut into.warnings) {
            Ok(config) => {
                *secured.config.write() = config;
                into.renewed += 1;
            }
            Err(mut faults) => into.faults.append(&mut faults),
        }
    }
}

fn load(tls: &Tls, warnings: &mut Vec<Finding>) -> Result<Arc<ServerConfig>, Vec<Finding>> {
    match tls.settings.load(SystemTime::now()) {
        Ok(loaded) => {
            warnings.extend(loaded.warnings.iter().map(|text| tls.warning(text)));
            Ok(loaded.config)
        }
        Err(faults) => Err(faults.iter().map(|fault| tls.finding(fault)).collect()),
    }
}
