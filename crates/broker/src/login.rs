//! Who a client is: what the shard asks, what it is answered, and what it is told when answers no longer hold.

/// A client that names a user and gives a password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The listener that it came by, as an index into the rules.
    pub listener: u16,
    /// The user.
    pub user_name: &'a str,
    /// The password.
    pub password: &'a [u8],
}

impl std::fmt::Debug for Login<'_> {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("listener", &self.listener)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// What became of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is that user, by the users of that generation ([`users_generation`](crate::Shared::users_generation)).
    Accepted {
        /// The generation.
        generation: u64,
    },
    /// There is no user of that name.
    UnknownUser,
    /// There is, with another password.
    WrongPassword,
    /// Nobody had time to look.
    Busy,
}

/// Users who are gone, or have another password: whoever came in as one of them is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The listeners that these users could come by.
    pub listeners: Vec<u16>,
    /// Their names, in order.
    pub users: Vec<Box<str>>,
}

impl Revoked {
    pub(crate) fn concerns(&self, listener: u16, user: &str) -> bool {
        self.listeners.contains(&listener) && self.users.binary_search_by(|name| (**name).cmp(user)).is_ok()
    }
}

/// What a connection knows of its login.
#[derive(Debug)]
pub(crate) enum Known {
    /// It was answered, and its CONNECT is to be looked at again.
    Verdict(Verdict),
    /// It is that user, by the users of that generation.
    User(Box<str>, u64),
}
