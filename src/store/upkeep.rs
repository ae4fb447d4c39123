//! The regular maintenance of the store: merging small blocks, and deleting what is past its retention.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use vitals_core::ids::UnixNanos;
use vitals_core::store::Store;

/// The time between two maintenances.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// Maintains the store, on a thread that may block, until `stop` resolves. `clock` tells the time.
pub async fn maintain_regularly(store: Arc<dyn Store>, clock: fn() -> UnixNanos, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(MAINTENANCE_INTERVAL) => {}
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.maintain(clock())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the store could not be maintained; trying again"),
            Err(error) => tracing::error!(%error, "the store's maintenance failed; trying again"),
        }
    }
}
