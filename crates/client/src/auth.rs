//! Who a client says it is, where that is not fixed once and for all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// User name and password of one attempt to connect.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user_name: Option<String>,
    /// The password; without a user name only in version 5.
    pub password: Option<Bytes>,
}

impl Login {
    /// A user name and a password.
    pub fn new(user_name: impl Into<String>, password: impl Into<Bytes>) -> Self {
        Self {
            user_name: Some(user_name.into()),
            password: Some(password.into()),
        }
    }
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

pub(crate) type LoginFuture = Pin<Box<dyn Future<Output = Result<Login, String>> + Send>>;

/// See [`Options::credentials`](crate::Options::credentials).
pub(crate) type CredentialsProvider = Arc<dyn Fn(u32) -> LoginFuture + Send + Sync>;

/// See [`Options::authenticator`](crate::Options::authenticator).
pub(crate) type Authenticator = Arc<dyn Fn(Option<&[u8]>) -> Result<Bytes, String> + Send + Sync>;
