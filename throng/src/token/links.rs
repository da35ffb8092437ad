//! Tokens and jobs that cancel each other.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::CancelToken;
use super::clock::run_aside;
use crate::cause::Cause;
use crate::channel::Receiver;
use crate::job::Job;

impl CancelToken {
    /// Cancels `job` when the token is cancelled, for the same cause: at once if it is already. When the job has ended nothing is left of it here.
    ///
    /// Never parks. For tasks that are to end with a token they do not watch; the other direction is [`Job::token`].
    ///
    /// ```
    /// use throng::{CancelToken, cause, go, sleep, yield_now};
    /// use std::time::Duration;
    ///
    /// throng::run(|| {
    ///     let token = CancelToken::new();
    ///     let worker = go(|| {
    ///         let _ = sleep(Duration::from_secs(3600));
    ///         cause().map(|cause| cause.to_string())
    ///     });
    ///     token.cancels(&worker.job());
    ///     yield_now().unwrap();
    ///     token.cancel_with("the client hung up");
    ///     assert_eq!(worker.join().unwrap().as_deref(), Some("the client hung up"));
    /// });
    /// ```
    pub fn cancels(&self, job: &Job) {
        let cancelled = job.clone();
        let hook = self.on_cancel_now(move |cause| cancelled.cancel_with(cause.clone()));
        job.on_completion(move |_| {
            hook.remove();
        });
    }
}

impl Job {
    /// A new token that is cancelled when the job is, for the same cause, and at the latest when the job has ended. Never parks.
    ///
    /// To hand a job's cancellation to what watches tokens: Go's `errgroup.WithContext`, the context of which is cancelled when the group fails or is done. The other direction is
    /// [`CancelToken::cancels`].
    ///
    /// ```
    /// use throng::{Cancelled, scope};
    ///
    /// throng::run(|| {
    ///     let token = scope(|s| Ok::<_, Cancelled>(s.job().token())).unwrap();
    ///     assert!(token.is_cancelled()); // the scope is over
    /// });
    /// ```
    #[must_use]
    pub fn token(&self) -> CancelToken {
        let token = CancelToken::new();
        let (early, late) = (token.clone(), token.clone());
        self.on_cancelling(move |cause| cancel_from_below(&early, cause));
        self.on_completion(move |_| cancel_from_below(&late, &Cause::Reason(Arc::from("the job has ended"))));
        token
    }

    /// A receiver that never receives anything and is closed when the job has ended: for a [`select!`](macro@crate::select). Never parks. (A handle can be waited for by a `join` arm.)
    #[must_use]
    pub fn done(&self) -> Receiver<()> {
        let (closer, done) = crate::channel::rendezvous();
        self.on_completion(move |_| drop(closer));
        done
    }
}

/// Cancels the token where no user code may run: between tasks.
fn cancel_from_below(token: &CancelToken, cause: &Cause) {
    token.node.cancel_tree(cause).into_iter().flatten().for_each(run_aside);
}
