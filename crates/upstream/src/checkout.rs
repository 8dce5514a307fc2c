//! What is lent to a call.

use crate::connection::Connection;
use crate::pool::StreamSlot;

/// A connection, or a place on one, lent to one call.
pub enum Checkout {
    /// The whole of a connection in HTTP/1.1.
    Whole {
        /// The connection.
        connection: Connection,
        /// Whether it has carried a call before.
        reused: bool,
    },
    /// A place on a connection in HTTP/2.
    Stream(StreamSlot),
}
