//! Wills, and how often each came.

use martlet_codec::Qos;

use crate::fault::{Checked, Fault};
use crate::link::Arrived;
use crate::message::Duty;

/// A will of one connection.
#[derive(Debug)]
pub(crate) struct Will {
    /// The client, and which of its connections.
    pub(crate) name: String,
    pub(crate) qos: Qos,
    pub(crate) duty: Duty,
    pub(crate) came: u32,
    plain: u32,
    connection: u32,
}

impl Will {
    /// It must come and has not.
    pub(crate) fn is_owed(&self) -> bool {
        self.duty == Duty::Must && self.came == 0
    }
}

/// All wills of a run; a will's payload is its number.
#[derive(Debug, Default)]
pub(crate) struct Wills(pub(crate) Vec<Will>);

impl Wills {
    /// A CONNECT is about to carry a will.
    pub(crate) fn make(&mut self, name: String, qos: Qos, duty: Duty) -> usize {
        self.0.push(Will {
            name,
            qos,
            duty,
            came: 0,
            plain: 0,
            connection: 0,
        });
        self.0.len() - 1
    }

    pub(crate) fn has_come(&self, number: usize) -> bool {
        self.0[number].came > 0
    }

    /// How many must come and have not.
    pub(crate) fn owed(&self) -> usize {
        self.0.iter().filter(|will| will.is_owed()).count()
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        let came = self.0.iter().filter(|will| will.came > 0).count();
        (self.0.len() as u64, came as u64)
    }

    /// Whose watcher has it now.
    pub(crate) fn delivered(&mut self, connection: u32, came: &Arrived) -> Checked {
        let text = String::from_utf8_lossy(&came.payload).into_owned();
        let will = text.parse().ok().and_then(|number: usize| self.0.get_mut(number));
        let Some(will) = will else {
            return Err(Fault::new(format!("a will came that nobody made: '{text}'")));
        };
        let here = will.connection == connection && will.came > 0;
        will.came += 1;
        will.plain += u32::from(!came.dup);
        will.connection = connection;
        let name = &will.name;
        if will.duty == Duty::Never {
            return Err(Fault::new(format!(
                "the will of {name} came although its session came back in time"
            )));
        }
        if will.came > 1 && (will.qos == Qos::ExactlyOnce || will.plain > 1 || here) {
            return Err(Fault::new(format!("the will of {name} came {} times", will.came)));
        }
        Ok(())
    }
}
