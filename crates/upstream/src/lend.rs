//! Checking out a connection for one call from the connection pool: an idle one, a new one, or the next that comes free.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::attempt::Failed;
use crate::backend::Backend;
use crate::caller_id::CallerId;
use crate::checkout::Checkout;
use crate::connect::{Opened, connect};
use crate::freshness::Freshness;
use crate::pool::{self, Found, Opening, Search, Slot, look};
use crate::pool_key::PoolKey;
use crate::settings::Settings;

/// Lends a caller a connection to a target, out of those of a key of it: one that stands, a new one, or the next that comes
/// free.
pub async fn lend(
    settings: &Settings,
    target: &Backend,
    key: &Arc<PoolKey>,
    wanted: Freshness,
    caller: CallerId,
) -> Result<Checkout, Failed> {
    let search = Search { target, key, wanted, caller };
    match look(settings, &search, None) {
        Found::Idle(connection) => Ok(Checkout::Whole { connection, reused: true }),
        Found::Stream(place) => Ok(Checkout::Stream(place)),
        // Apart: most calls find a connection that stands.
        found => Box::pin(wait(settings, search, found)).await,
    }
}

/// Opens a connection, or waits until one is opened or comes free.
async fn wait(settings: &Settings, search: Search<'_>, mut found: Found) -> Result<Checkout, Failed> {
    let (mut deadline, mut opened_by) = (None, None);
    loop {
        let turn = match found {
            Found::Idle(connection) => return Ok(Checkout::Whole { connection, reused: true }),
            Found::Stream(place) => return Ok(Checkout::Stream(place)),
            Found::Room(slot, opening) => return open(settings, &search, slot, opening).await,
            // Whoever opens it is done in time, or gone. Another one may have to be waited for then, but not for ever.
            Found::Await(opened) => {
                let wait = settings.connect_limit().time + settings.queue_wait;
                let until = *opened_by.get_or_insert_with(|| Instant::now() + wait);
                match timeout_at(until, opened).await {
                    // Whoever opened it may have had less time for that.
                    Ok(Ok(Err(failed))) if failed.is_otherwise_within(settings.connect_limit().time) => None,
                    Ok(Ok(Err(failed))) => return Err(failed),
                    Ok(_) => None,
                    Err(_) => return Err(Failed::busy("no connection was opened in time")),
                }
            }
            Found::Wait(turn) => {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + settings.queue_wait);
                match timeout_at(deadline, turn).await {
                    Ok(Ok(turn)) => Some(turn),
                    Ok(Err(_)) => return Err(Failed::busy("the queue is full of calls of the same caller")),
                    Err(_) => return Err(Failed::busy("no connection came free in time")),
                }
            }
            Found::Full => return Err(Failed::busy("there is no room for a connection, nor in the queue")),
        };
        found = look(settings, &search, turn);
    }
}

async fn open(settings: &Settings, search: &Search<'_>, slot: Slot, opening: Opening) -> Result<Checkout, Failed> {
    let (generation, is_extra) = (search.target.generation(), slot.holder().is_extra());
    match connect(settings, search.target, slot).await {
        Ok(Opened::Http1(connection)) => {
            opening.ended(Ok(1));
            Ok(Checkout::Whole { connection, reused: false })
        }
        Ok(Opened::Http2(shared)) => {
            let most = shared.most_streams();
            let place = pool::join(search.key, generation, shared, search.caller, is_extra);
            opening.ended(Ok(most));
            Ok(Checkout::Stream(place))
        }
        Err(failed) => {
            opening.ended(Err(&failed));
            Err(failed)
        }
    }
}
