//! How workers ask one another for idle connections.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::pool_mark::PoolMark;

thread_local! {
    /// Takes the demands. Of each pool there is one at most.
    static DEMANDS: RefCell<Option<mpsc::UnboundedSender<Arc<PoolMark>>>> = const { RefCell::new(None) };
}

/// Where other workers say that they would have idle connections of this one. Each demand is met by `give_up`, on this
/// worker.
pub(crate) fn demands(give_up: fn(&Arc<PoolMark>)) -> mpsc::UnboundedSender<Arc<PoolMark>> {
    DEMANDS.with_borrow_mut(|known| match known {
        Some(demands) if !demands.is_closed() => demands.clone(),
        _ => {
            let (demands, mut heard) = mpsc::unbounded_channel::<Arc<PoolMark>>();
            tokio::spawn(async move {
                while let Some(pool) = heard.recv().await {
                    give_up(&pool);
                }
            });
            known.insert(demands).clone()
        }
    })
}
