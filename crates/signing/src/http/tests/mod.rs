//! Tests of HTTP Message Signatures as a whole: the examples of the RFCs, what must be refused, and properties.

mod forms;
mod fuzz;
mod keys;
mod properties;
mod refusals;
mod requirements;
mod vectors;

use super::{KnownFields, Request, Response, Signatures, SigningKey, VerifyingKey};

/// A secret for tests.
const SECRET: &[u8] = b"a secret that only tests know of";

fn secret_keys() -> (SigningKey, VerifyingKey) {
    (SigningKey::hmac(SECRET).expect("long enough"), VerifyingKey::hmac(SECRET).expect("long enough"))
}

/// The signature base of a request, or why there is none.
fn base_of(request: &Request<'_>, components: &str) -> Result<String, String> {
    base_with(request, components, &KnownFields::STANDARD)
}

fn base_with(request: &Request<'_>, components: &str, known: &KnownFields<'_>) -> Result<String, String> {
    let input = format!("s=({components})");
    let signatures =
        Signatures::parse(&[("signature-input", input)], &super::Limits::default()).map_err(|flaw| flaw.to_string())?;
    let base = signatures.get("s").expect("there").base(request, known).map_err(|error| error.to_string())?;
    Ok(base.as_str().to_owned())
}

/// The value of one component of a request.
#[track_caller]
fn value_of(request: &Request<'_>, component: &str) -> String {
    let base = base_of(request, component).expect("a base");
    let line = base.lines().next().expect("a line").to_owned();
    line.strip_prefix(component).and_then(|rest| rest.strip_prefix(": ")).expect("the component").to_owned()
}

/// The signature base of a response, or why there is none.
fn base_of_response(response: &Response<'_>, components: &str) -> Result<String, String> {
    let input = format!("s=({components})");
    let signatures =
        Signatures::parse(&[("signature-input", input)], &super::Limits::default()).map_err(|flaw| flaw.to_string())?;
    let base = signatures.get("s").expect("there").base(response, &KnownFields::STANDARD);
    base.map(|base| base.as_str().to_owned()).map_err(|error| error.to_string())
}
