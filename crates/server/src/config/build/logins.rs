//! Who may log in where: users with passwords, and clients that name no user.

use super::super::directive::Mode;
use super::super::draft::Draft;
use super::super::error::{Code, Finding};
use super::super::listener::Listener;
use super::super::users::PasswordFile;
use super::super::value::Value;
use super::{Values, Wanted};

/// Decides it for each listener by its own lines, then by those that hold for all. Once anybody has to be a user, clients
/// without one stay out everywhere unless they are let in by name.
pub(super) fn decide(
    listeners: &mut [Listener],
    wanted: &[Wanted<'_>],
    draft: &Draft,
    mode: Mode,
) -> Option<Finding> {
    let values: Vec<Values<'_>> = wanted
        .iter()
        .map(|wanted| Values {
            layers: vec![&draft.every_listener, wanted.settings, &draft.global],
            mode,
        })
        .collect();
    for (listener, values) in listeners.iter_mut().zip(&values) {
        listener.password_file = password_file(values);
        listener.allow_zero_length_clientid = values.on("allow_zero_length_clientid");
    }
    let beyond = listeners.iter().any(|l| !l.place.bind.is_loopback());
    let has_users = listeners.iter().any(|l| l.password_file.is_some());
    let mut closed = None;
    for (listener, values) in listeners.iter_mut().zip(&values) {
        let said = values
            .bool("listener_allow_anonymous")
            .or_else(|| values.bool("allow_anonymous"));
        listener.allow_anonymous = said.unwrap_or(!beyond && !has_users);
        let knows_clients = listener.tls.as_ref().is_some_and(|tls| tls.identity.is_some());
        let is_open = listener.allow_anonymous || listener.password_file.is_some() || knows_clients;
        if !is_open && closed.is_none() {
            let why = match said {
                Some(_) => "it is closed to clients without a user name",
                None if beyond => {
                    "beyond the loopback, clients need a user name unless 'allow_anonymous true' is set"
                }
                None => {
                    "as there are users elsewhere, clients need a user name unless 'allow_anonymous true' is set"
                }
            };
            closed = Some(nobody_may_connect(listener, why));
        }
    }
    closed
}

fn nobody_may_connect(listener: &Listener, why: &str) -> Finding {
    let message = format!(
        "nobody can log in at {}: {why}, and it has no 'password_file'.",
        listener.place
    );
    Finding::new(Code::NobodyMayConnect, listener.origin.place(), message)
}

fn password_file(values: &Values<'_>) -> Option<PasswordFile> {
    let setting = values.set("password_file")?;
    let Value::Path(path) = &setting.value else {
        panic!("password_file is not a path: {:?}", setting.value)
    };
    Some(PasswordFile {
        path: path.clone(),
        origin: setting.origin.clone(),
    })
}
