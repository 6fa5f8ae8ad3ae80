//! The layers of a connection that nobody's runtime carries: what [`dial`](super::dial()) does about them, step by step.

use super::Route;
use super::dial::{DialError, authority};
use super::tls::Witness;
use crate::fault::Fault;
use crate::got::Got;
use crate::layers::Layers;
use crate::websocket::Request;

/// Layers that have yet to agree with the other side.
#[derive(Debug)]
pub struct Opening {
    layers: Layers,
    witness: Option<Witness>,
    /// Of the server, for errors.
    address: String,
    is_first: bool,
}

impl Opening {
    /// What goes over the socket of that route; `None`: MQTT itself. Reads the files of TLS.
    ///
    /// # Errors
    /// What is wrong with them, or cannot be asked for.
    pub fn new(route: &Route) -> Result<Option<Self>, DialError> {
        let address = route.place.to_string();
        let begin = |tls: &super::ClientTls| tls.load()?.begin(route.place.host());
        let begun = route.tls.as_ref().map(begin).transpose();
        let begun = begun.map_err(|source| DialError::Tls {
            address: address.clone(),
            source,
        })?;
        let (tls, witness) = begun.unzip();
        let tls = tls.map(Into::into);
        let layers = match &route.websocket {
            None if tls.is_none() => return Ok(None),
            None => Layers::new(tls, None),
            Some(asked) => {
                let host = authority(&route.place, tls.is_some());
                let request = Request::new(&host, &asked.path, &asked.headers);
                Layers::with_request(tls, request.map_err(DialError::Request)?)
            }
        };
        Ok(Some(Self {
            layers,
            witness,
            address,
            is_first: true,
        }))
    }

    /// What is to be sent lies there.
    pub fn layers(&mut self) -> &mut Layers {
        &mut self.layers
    }

    /// Whether there is something to be sent.
    pub fn has_unsent(&self) -> bool {
        self.layers.has_unsent()
    }

    /// Takes in what came; nothing: the other side has closed.
    ///
    /// # Errors
    /// They do not agree. What is to be said about that lies in the layers.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Err(Fault::Closed);
        }
        let got = Got::of(bytes);
        let expects_tls = self.layers.is_handshaking() && std::mem::take(&mut self.is_first);
        // Into nothing: what belongs to MQTT waits inside.
        match self.layers.receive(bytes, &mut []) {
            Err(_) if expects_tls && got != Got::Tls => Err(Fault::Mismatch { expected: "TLS", got }),
            end => end.map(|_| ()),
        }
    }

    /// Whether they have agreed: from now on MQTT flows.
    pub fn is_open(&self) -> bool {
        self.layers.is_open()
    }

    /// The layers, once they are open.
    pub fn into_layers(self) -> Layers {
        self.layers
    }

    /// Why they never will be.
    pub fn explain(self, fault: Fault) -> DialError {
        let Self {
            layers,
            witness,
            address,
            ..
        } = self;
        match witness {
            Some(witness) if layers.is_handshaking() => DialError::Tls {
                address,
                source: witness.explain(fault),
            },
            _ => DialError::WebSocket {
                address,
                source: fault,
            },
        }
    }
}
