//! How the pages of the documentation are followed by a test.

pub mod page;
pub mod place;
pub mod scripts;
