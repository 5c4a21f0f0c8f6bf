//! A look at the certificates that a server shows, whether they are to be trusted or not: nothing is sent to it, and what
//! is learnt is for messages only.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;

/// How many certificates of a chain are kept; real ones have two to four.
const MAX_CHAIN: usize = 10;

/// Returns the certificates that a server shows, its own first, in DER; none when it cannot be reached directly or
/// speaks no TLS. Ends before anything is sent over the connection.
pub async fn certificates_of(host: &str, port: u16, limit: Duration) -> Vec<Vec<u8>> {
    let recorder =
        Arc::new(Recorder { seen: Mutex::default(), provider: Arc::new(rustls::crypto::ring::default_provider()) });
    let look = async {
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()?;
        let config = ClientConfig::builder_with_provider(recorder.provider.clone())
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(recorder.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port)).await.ok()?;
        // A server that wants a client certificate breaks off, after it has shown its own.
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
    };
    let _ = tokio::time::timeout(limit, look).await;
    let mut seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut seen)
}

/// Takes any certificate and remembers it. Used for looking only: no connection that it let through carries a request.
#[derive(Debug)]
struct Recorder {
    seen: Mutex<Vec<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain.map(|der| der.to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
