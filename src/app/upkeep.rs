//! What has to be looked after while the gateway runs.

use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::Sessions;
use portcullis_upstream::Upstreams;

/// How often expired sessions are forgotten.
const PRUNE: Duration = Duration::from_secs(600);
/// How often the files of client certificates are looked at.
const REFRESH: Duration = Duration::from_secs(5);

/// Takes up certificates that are shown to services when their files have changed.
pub(super) async fn refresh(upstreams: Upstreams) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let upstreams = upstreams.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || upstreams.refresh()).await {
            tracing::error!(%error, "the client certificates could not be looked at");
        }
    }
}

/// Forgets sessions that have expired.
pub(super) async fn prune(sessions: Arc<Sessions>) {
    loop {
        tokio::time::sleep(PRUNE).await;
        if let Err(error) = sessions.prune().await {
            tracing::warn!(%error, "expired sessions could not be forgotten");
        }
    }
}
