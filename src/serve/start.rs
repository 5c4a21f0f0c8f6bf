//! Sockets: accepting, TLS, limits against clients that are slow on purpose, and a stop that lets requests finish.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, Sleep},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    archive::Time,
    error::{Classify, Kind},
    files::FolderError,
};

use super::{
    access::Access,
    api::{self, Peer, Watch},
    backend::{Backend, Policy},
};

/// Says how a registry is served.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Certificate and key; without them the registry speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Who may use it.
    pub access: Access,
    /// What it accepts.
    pub policy: Policy,
    /// What it endures.
    pub limits: Limits,
    /// When the charts were made, for the index of the Helm repository; otherwise each says it itself.
    pub charts_created: Option<Time>,
    /// Who is told of requests.
    pub watch: Option<Watch>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            access: Access::Open,
            policy: Policy::default(),
            limits: Limits::default(),
            charts_created: None,
            watch: None,
        }
    }
}

/// Holds what TLS needs, in PEM.
#[derive(Clone)]
pub struct Tls {
    /// The certificate, followed by those between it and the root.
    pub certificates: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
    /// Roots of client certificates; when given, clients must present one.
    pub client_roots: Option<Vec<u8>>,
}

/// Says what a registry endures from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections are open at once; further ones wait in the system's queue.
    pub connections: usize,
    /// How long a client may take for the head of a request, for a TLS handshake, and between two requests.
    pub head: Duration,
    /// How long a client may be silent within a body, or not take what it asked for.
    pub silence: Duration,
    /// How long requests may go on after the registry was told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Each may hold about 2 MiB of buffers.
            connections: 1024,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// Says why a registry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be used.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A PEM text holds no usable certificate or key.
    #[error("the {what} cannot be read: {cause}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// Why.
        #[source]
        cause: pem::Error,
    },
    /// A PEM text holds no certificate at all.
    #[error("the {0} hold no certificate in PEM")]
    NoCertificate(&'static str),
    /// Certificate and key cannot be used together.
    #[error("certificate and key cannot be used: {0}")]
    Tls(#[source] rustls::Error),
    /// The roots of client certificates cannot be used.
    #[error("the roots of client certificates cannot be used: {0}")]
    ClientRoots(#[source] rustls::server::VerifierBuilderError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] FolderError),
    /// Another process serves the directory.
    #[error("{} is being served by another process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The directory holds something else.
    #[error("{} was written by another version; serve it with that one, or take an empty directory", .0.display())]
    Format(PathBuf),
}

impl Classify for StartError {
    fn kind(&self) -> Kind {
        match self {
            StartError::Listen { .. } | StartError::InUse(_) => Kind::Unavailable,
            StartError::Disk(error) => error.kind(),
            _ => Kind::Usage,
        }
    }
}

/// Is a registry that answers; dropping it stops it at once.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    secure: bool,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Returns the address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its URL, without a slash at the end.
    pub fn local_url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.addr)
    }

    /// Stops accepting, lets requests finish within the grace period, then cuts what is left.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // A task that panicked has stopped, too.
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves a backend.
///
/// # Errors
/// The address or the certificate cannot be used.
pub async fn start<B: Backend>(options: Options, backend: B) -> Result<Running, StartError> {
    let router = api::router(&options, backend);
    listen(&options, router).await
}

/// Serves routes; the address, TLS and the limits come from the options.
///
/// # Errors
/// The address or the certificate cannot be used.
pub async fn listen(options: &Options, router: Router) -> Result<Running, StartError> {
    let tls = options.tls.as_ref().map(acceptor).transpose()?;
    let failed = |cause| StartError::Listen { addr: options.addr, cause };
    let listener = TcpListener::bind(options.addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (stop, stopping) = watch::channel(false);
    let secure = tls.is_some();
    let task = tokio::spawn(accept(listener, tls, router, options.limits, stopping));
    Ok(Running { addr, secure, stop, task: Some(task) })
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("certificates", &tls.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key).map_err(|cause| StartError::Pem { what: "key", cause })?;
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(StartError::Tls)?;
    let builder = match &tls.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let mut store = rustls::RootCertStore::empty();
            for root in certificates("roots of client certificates", roots)? {
                store.add(root).map_err(StartError::Tls)?;
            }
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(StartError::ClientRoots)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|cause| StartError::Pem { what, cause })?;
    if found.is_empty() { Err(StartError::NoCertificate(what)) } else { Ok(found) }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream, peer) = tokio::select! {
            () = told(&mut stopping) => break,
            (place, accepted) = next => match accepted {
                Ok((stream, peer)) => (place, stream, peer),
                Err(_) => {
                    // Out of descriptors, or the client is gone: nothing to answer. A moment later there may be room.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Answers are written in large pieces; waiting for more to send helps nobody.
        let _ = stream.set_nodelay(true);
        let (router, tls, stopping) = (router.clone(), tls.clone(), stopping.clone());
        connections.spawn(async move {
            let _place = place;
            match tls {
                None => talk(stream, peer, router, limits, stopping).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(limits.head, tls.accept(stream)).await {
                        talk(stream, peer, router, limits, stopping).await;
                    }
                }
            }
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits until the registry shall stop, or nobody holds it any more.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn talk<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: T,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let stream = Patient { inner: stream, patience: limits.silence, waiting: None };
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that ends in an error has no one left to be told.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told(&mut stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Gives up on a peer that does not take what is sent to it.
struct Patient<T> {
    inner: T,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    fn judge<R>(&mut self, context: &mut Context<'_>, outcome: Poll<std::io::Result<R>>) -> Poll<std::io::Result<R>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let until = Instant::now() + self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(std::io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(context, outcome)
    }
}
