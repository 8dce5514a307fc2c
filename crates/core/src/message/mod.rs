//! Header fields of messages (RFC 9110 section 5): their names, their values, and what can be asked of them or done to
//! them.
//!
//! The data plane knows fields by these types alone. Which memory a field stands in is decided in this folder, so that it
//! can change here: today they are a thin layer over [`http::HeaderMap`], which is named only where a library asks for it.
//! Which fields are whose is told in [`crate::fields`].
//!
//! ```
//! use portcullis_core::message::names::{ACCEPT, VIA};
//! use portcullis_core::message::{FieldName, FieldValue, HasFields, Several};
//!
//! const X_TENANT: FieldName = FieldName::from_static("x-tenant");
//!
//! let mut request = http::Request::new(());
//! let mut fields = request.fields_mut();
//! fields.set(X_TENANT, FieldValue::from_static("one"));
//! fields.set(X_TENANT, FieldValue::from_static("two"));
//! fields.add(VIA, FieldValue::from_static("1.1 a"));
//! fields.add(VIA, FieldValue::from_static("1.1 b"));
//!
//! let fields = request.fields();
//! assert_eq!(fields.text(X_TENANT), Some("two"));
//! // What has to stand there once is asked for so.
//! assert!(fields.only(X_TENANT).is_ok_and(|value| value.is_some_and(|value| value == "two")));
//! assert_eq!((fields.only(VIA), fields.only(ACCEPT)), (Err(Several), Ok(None)));
//! // The first of several, and all of them.
//! assert!(fields.get(VIA).is_some_and(|value| value == "1.1 a"));
//! assert_eq!(fields.all(VIA).filter_map(|value| value.text()).collect::<Vec<_>>(), ["1.1 a", "1.1 b"]);
//! // Lines of the same name are together, in the order in which they came.
//! let lines: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
//! assert_eq!(lines, [("x-tenant", &b"two"[..]), ("via", b"1.1 a"), ("via", b"1.1 b")]);
//!
//! request.fields_mut().remove(VIA);
//! assert_eq!(request.fields().len(), 1);
//! ```

mod fields;
mod name;
pub mod names;
mod value;

pub use fields::{FieldMap, Fields, FieldsMut, HasFields, Names, Several, Values};
pub use name::{FieldName, InvalidName, Name, NameKey};
pub use value::{FieldValue, InvalidValue, Value};
