//! What must hold once all options are read, in the order in which mosquitto looks.

use martlet_codec::{PropertyId, Version};

use super::way;
use crate::program::Program;
use crate::settings::Settings;
use crate::wrong::Wrong;

pub(super) fn check(settings: &mut Settings) -> Result<(), Wrong> {
    if settings.will.topic.is_none() {
        if settings.will.payload.is_some() {
            return Err(Wrong::WillWithoutTopic("payload"));
        }
        if settings.will.retain {
            return Err(Wrong::WillWithoutTopic("retain"));
        }
    }
    session(settings)?;
    let is_empty = settings.client_id.as_ref().is_some_and(String::is_empty);
    if is_empty && settings.role.is_mosquitto() && settings.first_version() != Version::V5 {
        return Err(Wrong::EmptyId);
    }
    match settings.role.program {
        Program::Sub => {
            if settings.filters.is_empty() && settings.unsubscribe.is_empty() {
                return Err(Wrong::NoFilter);
            }
            if settings.no_retained && settings.retained_only {
                return Err(Wrong::RetainedOnlyAndNone);
            }
        }
        Program::Pub => {
            if settings.topic.is_none() || settings.input.is_none() {
                return Err(Wrong::NoMessage);
            }
        }
        Program::Rr => {
            let complete =
                settings.topic.is_some() && settings.input.is_some() && settings.response_topic.is_some();
            if !complete {
                return Err(Wrong::NoRequest);
            }
            if has_response_topic(settings) {
                return Err(Wrong::ResponseTopicTwice);
            }
        }
    }
    way::check(settings)?;
    match settings.needs_v5.first().copied() {
        Some(flag) if !settings.role.is_mosquitto() && settings.first_version() != Version::V5 => {
            Err(Wrong::NeedsV5(flag))
        }
        Some(_) if !settings.role.is_mosquitto() => {
            settings.version = Some(Version::V5);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A stored session needs a client identifier that can be named again.
fn session(settings: &mut Settings) -> Result<(), Wrong> {
    let named = settings.client_id.is_some() && settings.id_prefix.is_none();
    if settings.first_version() == Version::V5 {
        if !settings.clean_start && settings.session_expiry_s.is_none() {
            settings.session_expiry_s = Some(u32::MAX);
        }
        if settings.session_expiry_s == Some(u32::MAX) && !named {
            return Err(Wrong::NoIdForExpiry);
        }
    } else if !settings.clean_start && !named {
        return Err(Wrong::NoIdForClean);
    }
    Ok(())
}

fn has_response_topic(settings: &Settings) -> bool {
    let properties = settings.properties.publish.as_properties();
    properties.get(PropertyId::ResponseTopic).is_some()
}
