//! The rules of all sessions together: who gets a message, and what is kept for those who come later.

pub mod retained;
pub mod router;
