//! Calls that go on when their caller leaves, until the platform stops.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug, Default)]
pub(crate) struct Detached {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Detached {
    /// Does the work to its end even if nobody waits for it any more; there is nothing when the platform ended it.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = self.ending.clone().run_until_cancelled_owned(work);
        self.tasks.spawn(work).await.ok().flatten()
    }

    /// Waits for all that is being done.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Drops what is still being done.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.finished().await;
    }
}
