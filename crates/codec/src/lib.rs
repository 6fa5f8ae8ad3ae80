//! placeholder, see below
#![allow(dead_code)]
pub mod filter;
pub mod text;
pub mod topic;
pub mod version;
pub use filter::{Filter, FilterBuf};
pub use topic::{BadTopic, Topic, TopicBuf};
pub use version::Version;
