//! Work that is done once per run, however many ask for its result at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::Error;

/// Remembers results by key; failures too.
pub(super) struct Once<T>(Mutex<Cells<T>>);

type Cells<T> = HashMap<String, Arc<OnceCell<Result<T, Error>>>>;

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once(Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    /// Returns the result of the first call with this key; those that ask meanwhile wait for it.
    pub(super) async fn get(&self, key: &str, make: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(key.to_owned()).or_default().clone()
        };
        cell.get_or_init(|| make).await.clone()
    }
}
