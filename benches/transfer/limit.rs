//! What this machine could do at most, from its parts: the processor time of each step that no client can leave out.
//!
//! Registry and client share the processors, so the least time for a pull is the sum of what the registry spends on
//! sending and what a client has to spend on receiving, hashing and writing, divided by the number of processors. Each
//! part is measured alone, with the plainest code there is.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::FileExt,
    path::Path,
    sync::Mutex,
};

use sha2::{Digest, Sha256};

use crate::{
    measure::{cpu_of, median},
    place::Registry,
};

/// Processor seconds of each part, for all bytes of an image.
pub struct Limit {
    pub bytes: u64,
    pub registry: f64,
    pub receive: f64,
    pub hash: f64,
    pub write: f64,
}

/// How much is read, hashed and written at once.
const PIECE: usize = 1 << 20;

fn own_thread() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0) / 1e9
}

/// Makes a GET request and returns the body that follows its head.
fn get(registry: &Registry, path: &str) -> (u64, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(registry.address()).unwrap();
    let accept = "application/vnd.oci.image.manifest.v1+json";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::with_capacity(16 << 10, stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            return (length, reader);
        }
    }
}

impl Limit {
    /// Measures the parts for one image of a registry.
    pub fn measure(registry: &Registry, repository: &str, scratch: &Path, rounds: usize) -> Limit {
        let (length, mut body) = get(registry, &format!("/v2/{repository}/manifests/1"));
        let mut manifest = vec![0; usize::try_from(length).unwrap()];
        body.read_exact(&mut manifest).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let layers: Vec<(String, u64)> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (layer["digest"].as_str().unwrap().to_owned(), layer["size"].as_u64().unwrap()))
            .collect();
        let bytes = layers.iter().map(|(_, size)| size).sum();
        let (mut sent, mut received, mut hashed, mut written) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let queue = Mutex::new(layers.clone());
            let cpu = Mutex::new(0.0);
            let before = cpu_of(&registry.id().to_string());
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut piece = vec![0; PIECE];
                        let before = own_thread();
                        loop {
                            let Some((digest, size)) = queue.lock().unwrap().pop() else { break };
                            let (_, mut body) = get(registry, &format!("/v2/{repository}/blobs/{digest}"));
                            let mut left = size;
                            while left > 0 {
                                let read = body.read(&mut piece).unwrap();
                                assert!(read > 0, "the registry sends less than it should");
                                left -= read as u64;
                            }
                        }
                        *cpu.lock().unwrap() += own_thread() - before;
                    });
                }
            });
            sent.push(cpu_of(&registry.id().to_string()) - before);
            received.push(*cpu.lock().unwrap());
            let (mut hasher, piece, before) = (Sha256::new(), vec![7; PIECE], own_thread());
            (0..bytes / PIECE as u64).for_each(|_| hasher.update(&piece));
            std::hint::black_box(hasher.finalize());
            hashed.push(own_thread() - before);
            let path = scratch.join("limit");
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(bytes).unwrap();
            let before = own_thread();
            (0..bytes / PIECE as u64).for_each(|at| file.write_all_at(&piece, at * PIECE as u64).unwrap());
            written.push(own_thread() - before);
            drop(file);
            std::fs::remove_file(path).unwrap();
        }
        let middle = |values: Vec<f64>| median(values.into_iter());
        Limit { bytes, registry: middle(sent), receive: middle(received), hash: middle(hashed), write: middle(written) }
    }

    /// Returns the least time that a pull can take here, in seconds.
    pub fn pull(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (self.registry + self.receive + self.hash + self.write) / cores as f64
    }

    pub fn print(&self) {
        let per_gigabyte = |seconds: f64| seconds / (self.bytes as f64 / 1e9);
        println!("\nprocessor seconds for each gigabyte, each part alone");
        for (part, seconds) in [
            ("registry sends", self.registry),
            ("client receives", self.receive),
            ("sha256", self.hash),
            ("write to a file", self.write),
        ] {
            println!("  {part:<18} {:.3}", per_gigabyte(seconds));
        }
        println!("  => a verified pull of {:.0} MB takes at least {:.3} s", self.bytes as f64 / 1e6, self.pull());
    }
}
