//! Content in memory: a source, and images made of bytes that a seed decides.

use std::collections::HashMap;

use airgap_bundler::{
    error::Side,
    oci::{Descriptor, Digest, media_type},
    registry::RawManifest,
    store::{Error, Reader, Source},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Gives blobs from memory in pieces.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub blobs: HashMap<Digest, Bytes>,
    /// The size of the pieces.
    pub piece: usize,
}

impl Memory {
    pub fn add(&mut self, media_type: &str, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        self.blobs.insert(descriptor.digest, bytes);
        descriptor
    }

    pub fn bytes(&self, digest: &Digest) -> Bytes {
        self.blobs[digest].clone()
    }
}

impl Source for Memory {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, Error> {
        let missing = Error::Missing { side: Side::Source, digest: blob.digest };
        let whole = self.blobs.get(&blob.digest).ok_or(missing)?;
        let to = (to as usize).min(whole.len());
        let part = whole.slice((from as usize).min(to)..to);
        let piece = self.piece.max(1 << 10);
        let pieces: Vec<_> =
            (0..part.len()).step_by(piece).map(|at| part.slice(at..part.len().min(at + piece))).collect();
        Ok(stream::iter(pieces).map(Ok).boxed())
    }
}

/// Bytes that do not compress and that a seed decides.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// An image with its layers in a source; the manifest comes apart.
pub fn image(memory: &mut Memory, seed: u64, layers: &[usize]) -> RawManifest {
    let config = memory.add(media_type::CONFIG, format!("{{\"seed\":{seed}}}"));
    let layers: Vec<Descriptor> = layers
        .iter()
        .enumerate()
        .map(|(n, length)| memory.add(media_type::LAYER_GZIP, noise(seed * 100 + n as u64, *length)))
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    let raw = RawManifest::new(media_type::MANIFEST, manifest.to_string().into_bytes());
    memory.blobs.insert(raw.descriptor.digest, raw.bytes.clone());
    raw
}
