//! Lending a connection to one call: one that stands, a new one, or the next that comes free.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::attempt::Failed;
use crate::connect::{Opened, connect};
use crate::peer::{Peer, PoolKey};
use crate::pool::{self, Found, Lease, Opening, Slot, Wanted, look};
use crate::settings::Settings;

/// Lends a connection to a target, out of those of a key of it: one that stands, a new one, or the next that comes
/// free.
pub async fn lend(settings: &Settings, target: &Peer, key: &Arc<PoolKey>, wanted: Wanted) -> Result<Lease, Failed> {
    let (mut deadline, mut opened_by) = (None, None);
    loop {
        match look(settings, target, key, wanted) {
            Found::Idle(connection) => return Ok(Lease::Whole { connection, reused: true }),
            Found::Place(place) => return Ok(Lease::Place(place)),
            // Apart: most calls find a connection that stands.
            Found::Room(slot, opening) => return Box::pin(open(settings, target, key, slot, opening)).await,
            // Whoever opens it is done in time, or gone. Another one may have to be waited for then, but not for ever.
            Found::Await(opened) => {
                let wait = settings.connect_timeout + settings.queue_wait;
                let until = *opened_by.get_or_insert_with(|| Instant::now() + wait);
                match timeout_at(until, opened).await {
                    Ok(Ok(Err(failed))) => return Err(failed),
                    Ok(_) => {}
                    Err(_) => return Err(Failed::busy("no connection was opened in time")),
                }
            }
            Found::Wait(turn) => {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + settings.queue_wait);
                if timeout_at(deadline, turn).await.is_err() {
                    return Err(Failed::busy("no connection came free in time"));
                }
            }
            Found::Full => return Err(Failed::busy("there is no room for a connection, nor in the queue")),
        }
    }
}

async fn open(
    settings: &Settings,
    target: &Peer,
    key: &Arc<PoolKey>,
    slot: Slot,
    opening: Opening,
) -> Result<Lease, Failed> {
    let generation = target.generation();
    match connect(settings, target, slot).await {
        Ok(Opened::Http1(connection)) => {
            opening.ended(Ok(1));
            Ok(Lease::Whole { connection, reused: false })
        }
        Ok(Opened::Http2(shared)) => {
            let most = shared.most_streams();
            let place = pool::join(key, generation, shared);
            opening.ended(Ok(most));
            Ok(Lease::Place(place))
        }
        Err(failed) => {
            opening.ended(Err(&failed));
            Err(failed)
        }
    }
}
