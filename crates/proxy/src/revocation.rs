//! Asks, once a second, whether those whose calls go on for long may still call, and whether client certificates that were
//! good in their handshakes still are.

use std::sync::Arc;

use portcullis_wire::revocation;

use crate::node::Node;
use crate::tls::certified;

/// Asks for the calls of this worker, and cuts those whose callers are not welcome any more. Connections whose client
/// certificate is not good any more take no further call.
pub fn ask(node: &Arc<Node>) {
    let now = i64::try_from(node.clock.unix_millis() / 1_000).unwrap_or(i64::MAX);
    let certified = node.tls.as_ref().map_or(Vec::new(), |tls| certified::due(tls, now));
    let judging = (!certified.is_empty()).then(|| {
        let node = Arc::clone(node);
        async move {
            let mut ended = Vec::new();
            for (certified, watch) in certified {
                if node.tls.as_ref().is_some_and(|tls| !tls.admits(&certified, now)) {
                    ended.push(watch);
                }
                // Signatures are verified: calls are served in between.
                tokio::task::yield_now().await;
            }
            ended.iter().for_each(|watch| watch.drain());
        }
    });
    revocation::ask(&node.welcome, judging);
}
