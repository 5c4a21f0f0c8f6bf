//! Reads a blob as a careful client does: resumes after a broken connection, checks the digest, fetches wrong bytes once
//! more.

use airgap_bundler::{
    error::{Classify as _, Side},
    oci::Descriptor,
    store::{Error, Source},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

/// How often a connection may break.
const PATIENCE: usize = 40;

pub async fn blob(source: &impl Source, blob: &Descriptor) -> Result<Bytes, Error> {
    let mut last = None;
    for _ in 0..2 {
        let bytes = once(source, blob).await?;
        let actual = blob.digest.same_algorithm(&bytes);
        if actual == blob.digest {
            return Ok(bytes);
        }
        last = Some(Error::Corrupt { side: Side::Source, expected: blob.digest, actual });
    }
    Err(last.unwrap())
}

async fn once(source: &impl Source, blob: &Descriptor) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    let mut breaks = 0;
    while (whole.len() as u64) < blob.size {
        let mut reader = source.open(blob, whole.len() as u64, blob.size).await?;
        while let Some(part) = reader.next().await {
            match part {
                Ok(part) => whole.extend_from_slice(&part),
                Err(error) if error.kind().is_transient() && breaks < PATIENCE => {
                    breaks += 1;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(whole.freeze())
}
