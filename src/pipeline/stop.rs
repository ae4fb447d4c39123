//! The end of a service: everything durable, then nothing left running.

use super::Service;

impl Service {
    /// Stops listening, answers what is under way, evaluates and stores what is in the log.
    pub async fn stop(self) {
        // Fails only when nobody listens any more.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener's task failed");
            }
        }
        let finished = tokio::task::spawn_blocking(move || {
            self.log.close();
            // Evaluation waits for its seals; from here on those of a disk that fails are given up.
            self.store.stopping();
            self.evaluator.stop();
            self.store.close();
        });
        if let Err(error) = finished.await {
            tracing::error!(%error, "the service did not stop cleanly; the log is replayed at the next start");
        }
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        self.notifier.stop().await;
    }
}
