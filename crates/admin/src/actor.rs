//! Who asks: everybody who passes the door holds the admin token, so it is the address that tells them apart.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use portcullis_core::audit::Actor;
use portcullis_routing::change::Changes;

use crate::state::AdminState;

/// The address at the other end of the connection; the server puts it on every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The operator that makes a request.
pub(crate) struct By(pub(crate) Actor);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.to_canonical());
        Ok(Self(Actor::admin_token(address)))
    }
}

/// Changes that are told as the operator's that makes a request.
pub(crate) struct ChangesBy(pub(crate) Changes);

impl FromRequestParts<Arc<AdminState>> for ChangesBy {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AdminState>) -> Result<Self, Infallible> {
        let By(actor) = By::from_request_parts(parts, state).await?;
        Ok(Self(state.changes.by(actor)))
    }
}
