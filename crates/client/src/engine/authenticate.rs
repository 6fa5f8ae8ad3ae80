//! Enhanced authentication: AUTH in both directions, while connecting and again later. The steps
//! themselves are the application's [MQTT5-4.12.0-1].

use bytes::Bytes;
use martlet_codec::{Auth, Packet, PropertiesBuf, PropertyId, ReasonCode, Value, Violation};

use super::{Engine, Event, Phase};
use crate::error::{Lost, Rejected, RequestError};
use crate::limits;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Authentication {
    /// Nobody's: none is under way.
    #[default]
    Idle,
    /// The server's: we have said something.
    Server,
    /// The application's: the server has asked.
    Application,
}

impl Engine {
    /// The data that the next CONNECT begins the authentication with.
    pub fn first_step(&mut self, data: &Bytes) -> Result<(), RequestError> {
        check_data(data)?;
        self.options.remove(PropertyId::AuthenticationData);
        let properties = &mut self.options.properties;
        properties.push(PropertyId::AuthenticationData, Value::Binary(data));
        Ok(())
    }

    /// The application's next step: the answer to [`Event::Challenge`].
    pub fn authenticate(&mut self, now_ms: u64, data: &Bytes) -> Result<(), RequestError> {
        self.now_ms = now_ms;
        if self.authentication != Authentication::Application {
            return Err(Rejected::Authentication.into());
        }
        self.put_auth(ReasonCode::ContinueAuthentication, data)
    }

    /// Authenticates again on a connection that is up; [`Event::Reauthenticated`] tells that it went well,
    /// else the server ends the connection.
    pub fn reauthenticate(&mut self, now_ms: u64, data: &Bytes) -> Result<(), RequestError> {
        self.now_ms = now_ms;
        self.check_open().map_err(RequestError::Closed)?;
        if self.phase != Phase::Online {
            return Err(Rejected::Offline.into());
        }
        if self.authentication != Authentication::Idle || self.auth_method().is_none() {
            return Err(Rejected::Authentication.into());
        }
        self.needs_version_5(true, "re-authentication")?;
        self.put_auth(ReasonCode::ReAuthenticate, data)
    }

    /// The application cannot take the next step: the attempt, or the connection, ends.
    pub fn cannot_authenticate(&mut self, now_ms: u64, text: String) {
        self.now_ms = now_ms;
        if self.is_connected() {
            self.ended(Lost::Login { text });
        }
    }

    pub(super) fn auth_method(&self) -> Option<&str> {
        let asked = self.options.properties.as_properties();
        asked.text(PropertyId::AuthenticationMethod)
    }

    fn put_auth(&mut self, reason: ReasonCode, data: &Bytes) -> Result<(), RequestError> {
        check_data(data)?;
        let mut properties = PropertiesBuf::new();
        properties.text(
            PropertyId::AuthenticationMethod,
            self.auth_method().unwrap_or_default(),
        );
        properties.push(PropertyId::AuthenticationData, Value::Binary(data));
        let properties = properties.as_properties();
        self.wire.packet(&Packet::Auth(Auth { reason, properties }));
        self.authentication = Authentication::Server;
        Ok(())
    }

    pub(super) fn auth_came(&mut self, auth: &Auth<'_>) -> Result<(), Violation> {
        // [MQTT5-4.12.0-7]
        let Some(method) = self.auth_method() else {
            return Err(Violation::AuthWithoutMethod);
        };
        // [MQTT5-4.12.0-5]
        let theirs = auth.properties.text(PropertyId::AuthenticationMethod);
        if self.options.authenticator.is_none() || theirs != Some(method) {
            return Err(Violation::AuthMethodUnknown);
        }
        let is_awaited = self.phase == Phase::Connecting || self.authentication == Authentication::Server;
        match auth.reason {
            ReasonCode::ContinueAuthentication if is_awaited => {
                self.authentication = Authentication::Application;
                let data = auth.properties.binary(PropertyId::AuthenticationData);
                let data = data.map(Bytes::copy_from_slice);
                self.events.push_back(Event::Challenge { data });
                Ok(())
            }
            ReasonCode::Success if is_awaited && self.phase == Phase::Online => {
                self.authentication = Authentication::Idle;
                self.events.push_back(Event::Reauthenticated);
                Ok(())
            }
            _ => Err(Violation::Direction),
        }
    }
}

fn check_data(data: &Bytes) -> Result<(), Rejected> {
    if data.len() > limits::FIELD_BYTES_MAX {
        return Err(Rejected::PacketTooLarge {
            bytes: data.len(),
            maximum: limits::FIELD_BYTES_MAX as u32,
        });
    }
    Ok(())
}
