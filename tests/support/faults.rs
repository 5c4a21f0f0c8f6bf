//! Faults around a registry that is otherwise right: at the level of requests (a layer around its routes), and at the
//! level of bytes (a proxy in front of it, which is also how a distant registry is simulated).

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::Instant,
};

use super::registry::{Wrap, wait_for};

// ── requests ──

/// Is what goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this status instead of doing anything.
    Status(u16),
    /// Answers this status with an error of this code.
    Refuse(u16, &'static str),
    /// Answers 429 with this `Retry-After`.
    TooMany(&'static str),
    /// Does it, then answers this status: the client cannot know that it was done.
    DoneBut(u16),
    /// Waits before doing it.
    Delay(Duration),
    /// Announces the whole body, sends this many bytes, and closes the connection.
    Truncate(usize),
    /// Announces the whole body, sends this many bytes, and then nothing for ever.
    Stall(usize),
    /// Flips a bit of the byte at this place of the body, if it is there.
    Flip(usize),
    /// Ignores `Range`: answers 200 with everything.
    IgnoreRange,
    /// Leaves a header of the answer out.
    Without(&'static str),
    /// Sets a header of the answer.
    Header(&'static str, &'static str),
}

/// Says when a fault happens: to requests of this method whose path and query hold this text, not to the first `skip`
/// of them, and to `times` after that.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: &'static str,
    pub path: String,
    pub skip: usize,
    pub times: usize,
    pub fault: Fault,
}

impl Rule {
    /// Makes a fault happen once, to the first such request.
    pub fn once(method: &'static str, path: impl Into<String>, fault: Fault) -> Rule {
        Rule { method, path: path.into(), skip: 0, times: 1, fault }
    }

    /// Makes a fault happen to every such request.
    pub fn always(method: &'static str, path: impl Into<String>, fault: Fault) -> Rule {
        Rule { times: usize::MAX, ..Rule::once(method, path, fault) }
    }

    /// Makes it happen that often.
    pub fn times(self, times: usize) -> Rule {
        Rule { times, ..self }
    }

    /// Spares the first ones.
    pub fn after(self, skip: usize) -> Rule {
        Rule { skip, ..self }
    }
}

/// Counts the faults that happened.
#[derive(Clone, Debug, Default)]
pub struct Happened(Arc<AtomicUsize>);

impl Happened {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Puts faults around the routes of a registry; see [`super::registry::Setup::wrap`]. The first rule that applies wins.
pub fn by_rule(rules: Vec<Rule>) -> (Wrap, Happened) {
    let seen: Vec<AtomicUsize> = rules.iter().map(|_| AtomicUsize::new(0)).collect();
    around(move |request| {
        let target = request.uri().to_string();
        rules.iter().zip(&seen).find_map(|(rule, seen)| {
            if request.method() != rule.method || !target.contains(&rule.path) {
                return None;
            }
            let nth = seen.fetch_add(1, Ordering::SeqCst);
            (nth >= rule.skip && nth - rule.skip < rule.times).then(|| rule.fault.clone())
        })
    })
}

/// Puts faults around the routes of a registry: each request meets one with this probability, chosen by a generator
/// that starts from `seed`. Nothing that happens is more than a hiccup: whoever tries again gets through.
pub fn by_chance(seed: u64, probability: f64) -> (Wrap, Happened) {
    let chance = Chance::new(seed);
    around(move |_| {
        if chance.fraction() >= probability {
            return None;
        }
        Some(match chance.below(6) {
            0 => Fault::Status(500),
            1 => Fault::Status(503),
            2 => Fault::TooMany("0"),
            3 => Fault::DoneBut(502),
            _ => Fault::Truncate(chance.below(4096) as usize),
        })
    })
}

fn around(choose: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> (Wrap, Happened) {
    let happened = Happened::default();
    let counter = happened.clone();
    let choose = Arc::new(choose);
    let wrap: Wrap = Box::new(move |router| {
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let fault = choose(&request);
            if fault.is_some() {
                counter.0.fetch_add(1, Ordering::SeqCst);
            }
            async move {
                match fault {
                    None => next.run(request).await,
                    Some(fault) => inflict(fault, request, next).await,
                }
            }
        }))
    });
    (wrap, happened)
}

async fn inflict(fault: Fault, mut request: Request, next: Next) -> Response {
    let status = |code| StatusCode::from_u16(code).unwrap();
    match fault {
        Fault::Status(code) => {
            drain(request).await;
            status(code).into_response()
        }
        Fault::Refuse(code, word) => {
            drain(request).await;
            let body = serde_json::json!({"errors": [{"code": word, "message": "as the test wants it"}]});
            (status(code), [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Fault::TooMany(after) => {
            drain(request).await;
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, after)]).into_response()
        }
        Fault::DoneBut(code) => {
            next.run(request).await;
            status(code).into_response()
        }
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Fault::IgnoreRange => {
            request.headers_mut().remove(header::RANGE);
            next.run(request).await
        }
        Fault::Without(name) => {
            let mut response = next.run(request).await;
            response.headers_mut().remove(name);
            response
        }
        Fault::Header(name, value) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            response
        }
        Fault::Truncate(bytes) => {
            // What was sent so far must leave first: a server drops what is buffered when a body fails.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::ErrorKind::ConnectionReset.into())
            });
            cut(next.run(request).await, bytes, broken)
        }
        Fault::Stall(bytes) => cut(next.run(request).await, bytes, stream::pending()),
        Fault::Flip(place) => {
            let (parts, body) = next.run(request).await.into_parts();
            let mut at = 0;
            let stream = body.into_data_stream().map(move |piece| {
                let piece = piece?;
                let mut bytes = piece.to_vec();
                if let Some(byte) = place.checked_sub(at).and_then(|inside| bytes.get_mut(inside)) {
                    *byte ^= 1;
                }
                at += bytes.len();
                Ok::<_, axum::Error>(Bytes::from(bytes))
            });
            Response::from_parts(parts, Body::from_stream(stream))
        }
    }
}

async fn drain(request: Request) {
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

fn cut(
    response: Response,
    bytes: usize,
    then: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Response {
    let (mut parts, body) = response.into_parts();
    // An answer without a length would end cleanly; with one, the client sees that something is missing.
    if !parts.headers.contains_key(header::CONTENT_LENGTH) && parts.status != StatusCode::NO_CONTENT {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
    }
    let head = body.into_data_stream().scan(bytes, |left, piece| {
        let piece = piece.ok().map(|mut piece| {
            piece.truncate(*left);
            *left -= piece.len();
            piece
        });
        std::future::ready(piece.filter(|piece| !piece.is_empty()).map(Ok))
    });
    Response::from_parts(parts, Body::from_stream(head.chain(then)))
}

// ── bytes ──

/// Says what a line between client and registry is like.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The time for a round trip; opening a connection costs one.
    pub round_trip: Duration,
    /// How many bytes may be under way in one direction of a connection.
    pub window: usize,
    /// Where the generator of faults starts.
    pub seed: u64,
    /// How probable it is that a connection meets a fault.
    pub probability: f64,
    /// Which faults there are.
    pub breaks: &'static [Break],
    /// A fault happens after at most this many bytes from the registry.
    pub within: u64,
}

/// Is what goes wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Both ends see a reset.
    Reset,
    /// The client sees an orderly end.
    Close,
    /// Nothing comes any more.
    Stall,
    /// A bit is flipped, be it in a head or in a body.
    Flip,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            round_trip: Duration::ZERO,
            window: 64 << 20,
            seed: 1,
            probability: 0.0,
            breaks: &[Break::Reset, Break::Close],
            within: 1 << 20,
        }
    }
}

impl Line {
    /// A distant registry: 20 ms for a round trip, 2 MiB under way in a connection.
    pub fn distant() -> Line {
        Line { round_trip: Duration::from_millis(20), window: 2 << 20, ..Line::default() }
    }
}

/// Is a proxy that forwards bytes; dropping it ends all of its connections.
pub struct Proxy {
    addr: SocketAddr,
    task: JoinHandle<()>,
    connections: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
    carried: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a proxy in front of `upstream`.
    pub fn start(upstream: SocketAddr, line: Line) -> Proxy {
        let connections = Arc::new(AtomicUsize::new(0));
        let broken = Arc::new(AtomicUsize::new(0));
        let carried = Arc::new(AtomicU64::new(0));
        let (opened, broke) = (Arc::clone(&connections), Arc::clone(&broken));
        let counter = Arc::clone(&carried);
        let (addr, task) = wait_for(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            (addr, tokio::spawn(forward_all(listener, upstream, line, opened, broke, counter)))
        });
        Proxy { addr, task, connections, broken, carried }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how many connections were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns how many of them met their fault.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::SeqCst)
    }

    /// Returns how many bytes were carried in both directions, heads included.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward_all(
    listener: TcpListener,
    upstream: SocketAddr,
    line: Line,
    opened: Arc<AtomicUsize>,
    broke: Arc<AtomicUsize>,
    carried: Arc<AtomicU64>,
) {
    let chance = Chance::new(line.seed);
    // Ends every connection when the proxy is dropped.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        opened.fetch_add(1, Ordering::SeqCst);
        let fault = (chance.fraction() < line.probability && !line.breaks.is_empty()).then(|| {
            let which = line.breaks[chance.below(line.breaks.len() as u64) as usize];
            (which, chance.below(line.within.max(1)))
        });
        let (broke, carried) = (Arc::clone(&broke), Arc::clone(&carried));
        connections.spawn(async move {
            tokio::time::sleep(line.round_trip).await;
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let up = carry(from_client, to_server, line, None, &carried);
            let down = carry(from_server, to_client, line, fault.map(|fault| (fault, broke)), &carried);
            let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
            tokio::select! {
                // The client closed its side; the answer may still be under way.
                () = &mut up => down.await,
                () = &mut down => {}
            }
        });
    }
}

/// Carries one direction of a connection until it ends or meets its fault.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: Line,
    fault: Option<((Break, u64), Arc<AtomicUsize>)>,
    carried: &AtomicU64,
) {
    let under_way = Arc::new(Semaphore::new(line.window));
    let (sender, mut arriving) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel::<(Instant, usize)>();
    let half = line.round_trip / 2;
    let reader = {
        let under_way = Arc::clone(&under_way);
        async move {
            let most = line.window.min(256 << 10);
            let mut buffer = vec![0; most];
            loop {
                // At least one byte may go; then as many as there is room for.
                let Ok(one) = under_way.acquire().await else { return };
                one.forget();
                let room = under_way.available_permits().min(most - 1);
                let more = under_way.try_acquire_many(room as u32).map(|permits| permits.forget()).is_ok();
                let allowed = 1 + if more { room } else { 0 };
                let count = from.read(&mut buffer[..allowed]).await.unwrap_or(0);
                under_way.add_permits(allowed - count);
                if count == 0 || sender.send((Instant::now() + half, Bytes::copy_from_slice(&buffer[..count]))).is_err()
                {
                    return;
                }
            }
        }
    };
    let writer = async move {
        let mut passed = 0;
        while let Some((at, mut bytes)) = arriving.recv().await {
            if !half.is_zero() {
                tokio::time::sleep_until(at).await;
            }
            let count = bytes.len();
            let meets = |place: u64| (passed..passed + count as u64).contains(&place);
            if let Some(((which, place), broke)) = fault.as_ref().filter(|((_, place), _)| meets(*place)) {
                broke.fetch_add(1, Ordering::SeqCst);
                let inside = (place - passed) as usize;
                if *which == Break::Flip {
                    let mut changed = bytes.to_vec();
                    changed[inside] ^= 1;
                    bytes = changed.into();
                } else {
                    let _ = to.write_all(&bytes[..inside]).await;
                    match which {
                        // A socket that is closed without patience, and without an orderly end of what it writes,
                        // resets the connection.
                        Break::Reset => {
                            let _ = to.as_ref().set_zero_linger();
                            to.forget();
                        }
                        Break::Stall => std::future::pending().await,
                        Break::Close | Break::Flip => {}
                    }
                    return;
                }
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            passed += count as u64;
            carried.fetch_add(count as u64, Ordering::SeqCst);
            let _ = acknowledge.send((Instant::now() + half, count));
        }
        let _ = to.shutdown().await;
    };
    let window = async move {
        while let Some((at, count)) = acknowledged.recv().await {
            if !half.is_zero() {
                tokio::time::sleep_until(at).await;
            }
            under_way.add_permits(count);
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        reader.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = writer => {}
        () = reading => {}
        () = window => {}
    }
}

/// Draws numbers that are the same for the same seed (SplitMix64).
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn fraction(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
