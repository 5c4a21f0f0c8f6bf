//! Small images, an archive of them, and sources that fail.

#![allow(clippy::unwrap_used)]
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use airgap_bundler::{
    archive::{
        Archive, Draft, Error, Finished, Layout, Plan, PlannedAttachment, PlannedChart, PlannedFile, PlannedImage,
        Role, Time, Unverified, Vendored, Writer,
    },
    error::{Classify, Kind, Side},
    event::{Phase, Silent},
    helm::{Package, metadata::Metadata},
    oci::{Descriptor, Digest, Platform, media_type},
    store::{self, Graph, Memory, Policy, Reader, Slots, Source, copy, walk},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Bytes that do not repeat, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Puts an image manifest with these layers into memory.
pub fn image(memory: &Memory, layers: &[Bytes], note: &str) -> Descriptor {
    let config = memory.add(media_type::CONFIG, format!(r#"{{"architecture":"amd64","os":"linux","note":"{note}"}}"#));
    let layers: Vec<Descriptor> =
        layers.iter().map(|layer| memory.add(media_type::LAYER_GZIP, layer.clone())).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    memory.add(media_type::MANIFEST, manifest.to_string())
}

/// Puts an index over image manifests into memory.
pub fn index(memory: &Memory, entries: &[(&Descriptor, &str)]) -> Descriptor {
    let manifests: Vec<Descriptor> = entries
        .iter()
        .map(|(entry, platform)| Descriptor { platform: Some(platform.parse().unwrap()), ..(*entry).clone() })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
    memory.add(media_type::INDEX, index.to_string())
}

/// Two images that share a layer, one of them for two platforms.
pub struct Fixture {
    pub memory: Memory,
    pub web: Descriptor,
    pub tool: Descriptor,
}

impl Fixture {
    pub fn new(layer_bytes: usize) -> Fixture {
        let memory = Memory::new();
        let base = noise(1, layer_bytes);
        let amd = image(&memory, &[base.clone(), noise(2, layer_bytes / 2)], "amd");
        let arm = image(&memory, &[base.clone(), noise(3, layer_bytes / 3 + 1)], "arm");
        let web = index(&memory, &[(&amd, "linux/amd64"), (&arm, "linux/arm64")]);
        let tool = image(&memory, &[base, noise(4, 700), Bytes::new()], "tool");
        Fixture { memory, web, tool }
    }

    /// The same with as few bytes as possible.
    pub fn small() -> Fixture {
        let memory = Memory::new();
        let base = noise(1, 10);
        let web = image(&memory, &[base.clone(), noise(2, 513)], "web");
        let web = index(&memory, &[(&web, "linux/amd64")]);
        let tool = image(&memory, &[base, Bytes::new()], "tool");
        Fixture { memory, web, tool }
    }

    /// As few bytes as possible, and a chart with something put into it, a provenance file and what speaks of it.
    pub async fn layout_with_chart(&self) -> Layout {
        let description = json!({"apiVersion": "v2", "name": "shop", "version": "1.0.0+b", "appVersion": "2"});
        let metadata = Metadata::from_json(&description.to_string()).unwrap();
        // Nobody unpacks it here, and what a compressor writes may change with its version.
        let package = Package::new(metadata, Bytes::from_static(b"tgz"), Some(Bytes::from_static(b"prov")));
        let (root, bytes) = &package.manifest;
        self.memory.set(root.digest, bytes.clone());
        let attached = image(&self.memory, &[], "attached");
        let graph = self.graph(&[]).await;
        let roots = [root.clone(), attached.clone()];
        let chart_graph = walk(&self.memory, &roots, &Policy::default()).await.unwrap();
        let attachment = |tag: Option<&str>| PlannedAttachment {
            subject: root.digest,
            root: attached.digest,
            graph: &chart_graph,
            tag: tag.map(|tag| tag.parse().unwrap()),
        };
        let planned = PlannedChart {
            package: &package,
            graph: &chart_graph,
            source: "./charts/shop".into(),
            vendored: vec![Vendored {
                path: "shop/redis".into(),
                version: "1".into(),
                archive: Digest::sha256(b"redis"),
                source: "oci://example.com/redis:1".into(),
            }],
            attachments: vec![attachment(Some("sha256-x.att")), attachment(None)],
            because: json!([[{"entry": "charts[0]"}]]),
        };
        let draft = Draft::new(Plan { charts: vec![planned], ..self.plan(&graph, 0) }).unwrap();
        let signature = signature(draft.bundle_json());
        draft.seal(vec![("bundle.json.sigstore.json".into(), signature)]).unwrap()
    }

    pub async fn graph(&self, platforms: &[&str]) -> Graph {
        let platforms: Vec<Platform> = platforms.iter().map(|platform| platform.parse().unwrap()).collect();
        walk(&self.memory, &[self.web.clone(), self.tool.clone()], &Policy { platforms }).await.unwrap()
    }

    pub fn draft(&self, graph: &Graph, created: u64) -> Draft {
        Draft::new(self.plan(graph, created)).unwrap()
    }

    fn plan<'a>(&self, graph: &'a Graph, created: u64) -> Plan<'a> {
        let planned = |references: &[&str], root: &Descriptor| PlannedImage {
            references: references.iter().map(|text| text.parse().unwrap()).collect(),
            root: root.digest,
            graph,
            platform: None,
            derived_from: None,
            verified: Vec::new(),
            attachments: Vec::new(),
            because: json!([{"written": references[0], "at": "bundle.yaml:3"}]),
        };
        let content = Bytes::from_static(b"kind: ConfigMap\n");
        Plan {
            name: "demo".into(),
            version: "1.0.0".into(),
            sequence: 7,
            created: Time::from_seconds(created).unwrap(),
            tool: "bundle test".into(),
            lock: Some(Bytes::from_static(b"version: 1\nimages: []\n")),
            images: vec![
                planned(&["quay.io/demo/tool:v1", "docker.io/demo/tool:latest"], &self.tool),
                planned(&["nginx:1.27"], &self.web),
            ],
            files: vec![PlannedFile {
                path: "manifests/a.yaml".parse().unwrap(),
                digest: Digest::sha256(&content),
                size: content.len() as u64,
                role: Role::Kubernetes,
                content: Some(content),
                because: json!(null),
            }],
            ..Plan::default()
        }
    }

    /// A draft with a file that no disk holds.
    pub fn huge(&self, graph: &Graph) -> Draft {
        let files = vec![PlannedFile {
            path: "huge.bin".parse().unwrap(),
            digest: Digest::sha256(b"huge"),
            size: 1 << 60,
            role: Role::File,
            content: None,
            because: json!(null),
        }];
        let image = PlannedImage {
            references: vec!["nginx:1.27".parse().unwrap()],
            root: self.web.digest,
            graph,
            platform: None,
            derived_from: None,
            verified: Vec::new(),
            attachments: Vec::new(),
            because: json!(null),
        };
        Draft::new(Plan { name: "huge".into(), version: "1".into(), files, images: vec![image], ..Plan::default() })
            .unwrap()
    }

    pub async fn layout(&self) -> Layout {
        let graph = self.graph(&[]).await;
        let draft = self.draft(&graph, 0);
        let signature = signature(draft.bundle_json());
        draft.seal(vec![("bundle.json.sigstore.json".into(), signature)]).unwrap()
    }
}

/// Stands for a signature: the digest of what it covers.
pub fn signature(bundle: &[u8]) -> Bytes {
    format!("signed {}", Digest::sha256(bundle)).into()
}

/// Accepts an archive whose one signature is exactly that of its `bundle.json`.
pub fn open(path: &Path) -> Result<Archive, Error> {
    let (archive, ()) = Unverified::open(path)?.admit(|control| {
        let good = [("bundle.json.sigstore.json".to_owned(), signature(&control.bundle))];
        if control.signatures == good {
            Ok(())
        } else {
            Err(Error::NotAnArchive { path: path.to_owned(), why: "its signature is wrong" })
        }
    })?;
    Ok(archive)
}

pub async fn write<S: Source>(source: &S, target: &Path, layout: Layout, slots: &Slots) -> Result<Finished, Error> {
    let writer = Writer::open(target, layout, slots, Arc::new(Silent))?;
    let leaves = writer.layout().leaves();
    copy(source, &writer, &leaves, slots, &Silent, Phase::Pull).await?;
    writer.finish().await
}

/// Writes the fixture's archive into a folder.
pub async fn create(fixture: &Fixture, folder: &Path) -> PathBuf {
    let target = folder.join("demo-1.0.0.bundle.tar");
    write(&fixture.memory, &target, fixture.layout().await, &Slots::new(4)).await.unwrap();
    target
}

/// Writes the fixture's archive with a chart into a folder.
pub async fn create_with_chart(fixture: &Fixture, folder: &Path) -> PathBuf {
    let target = folder.join("demo-1.0.0.bundle.tar");
    write(&fixture.memory, &target, fixture.layout_with_chart().await, &Slots::new(4)).await.unwrap();
    target
}

/// What a faulty source may do to a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Breaks with a transient error.
    Reset,
    /// Ends without an error.
    Cut,
    /// Refuses to open.
    Refuse,
}

/// Wraps a source: streams break every so many bytes, a number of times in all.
pub struct Faulty<'a, S> {
    pub inner: &'a S,
    pub every: u64,
    pub fault: Fault,
    pub left: AtomicU64,
    pub opened: AtomicU64,
    pub served: Arc<AtomicU64>,
    /// Flips a bit of the first chunk of this many streams.
    pub corrupt: AtomicU64,
}

impl<'a, S> Faulty<'a, S> {
    pub fn new(inner: &'a S, every: u64, fault: Fault, left: u64) -> Self {
        Faulty { inner, every, fault, left: left.into(), opened: 0.into(), served: Arc::default(), corrupt: 0.into() }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("connection reset")]
pub struct Reset;

impl Classify for Reset {
    fn kind(&self) -> Kind {
        Kind::Unavailable
    }
}

fn take(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl<S: Source> Source for Faulty<'_, S> {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let reset = || store::Error::place(Side::Source, Reset);
        let breaks = to - from > self.every && take(&self.left);
        if breaks && self.fault == Fault::Refuse {
            return Err(reset());
        }
        let whole: Vec<_> = self.inner.open(blob, from, to).await?.collect().await;
        let mut bytes = whole.into_iter().map(|chunk| chunk.unwrap()).fold(Vec::new(), |mut all, chunk| {
            all.extend_from_slice(&chunk);
            all
        });
        if !bytes.is_empty() && take(&self.corrupt) {
            bytes[0] ^= 1;
        }
        let served = self.served.clone();
        let mut chunks: Vec<Result<Bytes, store::Error>> = Vec::new();
        let until = if breaks { self.every as usize } else { bytes.len() };
        for chunk in bytes[..until].chunks(1000) {
            chunks.push(Ok(Bytes::copy_from_slice(chunk)));
        }
        if breaks && self.fault == Fault::Reset {
            chunks.push(Err(reset()));
        }
        Ok(stream::iter(chunks)
            .inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    served.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            })
            .boxed())
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// A source that is far away: each stream starts late and is slow, and may break.
pub struct Far<'a, S> {
    pub inner: &'a S,
    /// How long until the first byte.
    pub first: std::time::Duration,
    /// How long each chunk of 256 KiB takes.
    pub chunk: std::time::Duration,
    /// Every stream with this number (from 1) or a multiple of it breaks after 3 MB; 0 for none.
    pub breaks: u64,
    pub opened: AtomicU64,
    pub served: Arc<AtomicU64>,
}

impl<'a, S> Far<'a, S> {
    pub fn new(inner: &'a S, breaks: u64) -> Self {
        let ms = std::time::Duration::from_millis;
        Far { inner, first: ms(20), chunk: ms(5), breaks, opened: 0.into(), served: Arc::default() }
    }
}

impl<S: Source> Source for Far<'_, S> {
    async fn open(&self, blob: &Descriptor, from: u64, to: u64) -> Result<Reader, store::Error> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(self.first).await;
        let whole: Vec<_> = self.inner.open(blob, from, to).await?.collect().await;
        let whole = whole.into_iter().map(|chunk| chunk.unwrap()).next().unwrap();
        let breaks = self.breaks > 0 && number.is_multiple_of(self.breaks) && whole.len() > 3_000_000;
        let usable = if breaks { whole.slice(..3_000_000) } else { whole };
        let (chunk, served) = (self.chunk, self.served.clone());
        let chunks: Vec<Bytes> = (0..usable.len())
            .step_by(256 << 10)
            .map(|at| usable.slice(at..usable.len().min(at + (256 << 10))))
            .collect();
        let paced = stream::iter(chunks).then(move |bytes| {
            let served = served.clone();
            async move {
                tokio::time::sleep(chunk).await;
                served.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
        });
        let end = stream::iter(breaks.then(|| Err(store::Error::place(Side::Source, Reset))));
        Ok(paced.chain(end).boxed())
    }

    fn is_remote(&self) -> bool {
        true
    }
}
