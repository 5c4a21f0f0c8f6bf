//! Sees to it that nothing is put into a repository twice at the same time.
//!
//! Several images of one repository share manifests, and all signatures of an archive share one bundle. docker-registry
//! rewrites its link to a digest whenever that is put again, and whoever reads the link in this moment finds it empty: a
//! look-up then ends with 500 and a manifest with `DIGEST_INVALID`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::oci::{Digest, Repository};

/// Filled by whoever puts the thing.
type Cell = Arc<OnceCell<()>>;

/// Remembers what was put where.
#[derive(Debug, Default)]
pub(super) struct Once {
    done: Mutex<HashMap<(Repository, Digest), Cell>>,
}

impl Once {
    /// Puts a digest into a repository unless that was done; waits while somebody else does it.
    ///
    /// # Errors
    /// Those of `put`; then the next one tries.
    pub async fn put<E>(
        &self,
        repository: &Repository,
        digest: Digest,
        put: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        let cell = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.entry((repository.clone(), digest)).or_default().clone()
        };
        cell.get_or_try_init(|| put).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn one_puts_and_the_others_wait() {
        let (once, running, puts) = (Once::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let repository: Repository = "a/b".parse().unwrap();
        let put = || async {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            // The first one fails.
            if puts.fetch_add(1, Ordering::SeqCst) == 0 { Err("refused") } else { Ok(()) }
        };
        let digest = Digest::sha256(b"x");
        let all = (0..5).map(|_| once.put(&repository, digest, put()));
        let ended = futures_util::future::join_all(all).await;
        assert_eq!(ended.iter().filter(|end| end.is_err()).count(), 1);
        assert_eq!(puts.load(Ordering::SeqCst), 2);
        let other: Repository = "a/c".parse().unwrap();
        once.put(&other, digest, put()).await.unwrap();
        assert_eq!(puts.load(Ordering::SeqCst), 3);
    }
}
