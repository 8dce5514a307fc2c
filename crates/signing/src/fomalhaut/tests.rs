//! The vectors, and the properties that hold for every message.

mod hostile;
mod properties;
mod vectors;
