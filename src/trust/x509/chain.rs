//! The check that clients make, by the library that this program's own TLS uses.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName as WebName, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Certificate, Error, ServerName};

/// Checks that a server with `chain` (its own certificate first) is believed under every name in it by a client that trusts
/// `roots`.
///
/// # Errors
/// [`Error::Chain`] with what the verifier said.
pub fn verify_server(chain: &[Certificate], roots: &[Certificate], now: Timestamp) -> Result<(), Error> {
    let Some((leaf, between)) = chain.split_first() else {
        return Err(Error::Chain { name: "the server".to_owned(), why: "it has no certificate".to_owned() });
    };
    let refused = |why: String| Error::Chain { name: leaf.name().to_owned(), why };
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(|root| CertificateDer::from(root.der())).collect();
    let anchors: Result<Vec<_>, _> = roots.iter().map(anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|error| refused(format!("a root cannot be used: {error}")))?;
    let between: Vec<CertificateDer<'_>> = between.iter().map(|one| CertificateDer::from(one.der())).collect();
    let der = CertificateDer::from(leaf.der());
    let end = EndEntityCert::try_from(&der).map_err(|error| refused(error.to_string()))?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    end.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, time, KeyUsage::server_auth(), None, None)
        .map_err(|error| refused(error.to_string()))?;
    for name in leaf.names() {
        let asked = match name {
            ServerName::Ip(ip) => WebName::from(*ip),
            // What stands for many names is asked for as one of them.
            ServerName::Dns(name) => {
                let one = name.replacen('*', "any", 1);
                WebName::try_from(one).map_err(|_| refused(format!("{name} is no name of a server")))?
            }
        };
        end.verify_is_valid_for_subject_name(&asked).map_err(|error| refused(format!("{name}: {error}")))?;
    }
    Ok(())
}
