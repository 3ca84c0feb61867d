//! What looks at bytes and changes none.

mod digest;
mod hexdump;

pub use self::{
    digest::Digest,
    hexdump::{Direction, Hexdump},
};
