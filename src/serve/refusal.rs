//! Why a request is not fulfilled, and how that is said on the wire (distribution specification, "Error Codes").

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    error::{Classify, Kind},
    files::FolderError,
    oci::{Digest, DigestError, ManifestError, Tag},
    store,
};

use super::span;

/// Says why a request is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The repository name breaks a rule.
    #[error("{0:?} is no repository name")]
    NameInvalid(String),
    /// There is no such repository.
    #[error("repository {0} is not known")]
    NameUnknown(String),
    /// The tag breaks a rule.
    #[error("{0:?} is no tag")]
    TagInvalid(String),
    /// There is no such manifest.
    #[error("manifest {0} is not known")]
    ManifestUnknown(String),
    /// There is no such blob in the repository.
    #[error("blob {0} is not known in this repository")]
    BlobUnknown(Digest),
    /// A digest is malformed or uses an algorithm that is not accepted.
    #[error(transparent)]
    DigestSyntax(DigestError),
    /// A request that must name a digest does not.
    #[error("the parameter `digest` is missing")]
    DigestMissing,
    /// The bytes that came are not the announced ones.
    #[error("the content hashes to {actual}, not to {expected}")]
    DigestMismatch {
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// There is no such upload.
    #[error("there is no such upload; start again")]
    UploadUnknown,
    /// Another request is writing to the same upload.
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// The body of the request broke off.
    #[error("the body broke off")]
    Interrupted,
    /// The chunk does not start where the upload ends.
    #[error("the upload holds {held} bytes; the next chunk must start there")]
    OutOfOrder {
        /// How many bytes the upload holds.
        held: u64,
        /// Where to go on.
        location: String,
    },
    /// A header speaks of another number of bytes than came.
    #[error("the headers speak of {announced} bytes, {actual} came")]
    SizeInvalid {
        /// What the headers say.
        announced: u64,
        /// What came.
        actual: u64,
    },
    /// A header is malformed.
    #[error("the header `{0}` is malformed")]
    Header(&'static str),
    /// A parameter is malformed.
    #[error("the parameter `{0}` is malformed")]
    Parameter(&'static str),
    /// The range lies outside of the blob.
    #[error("the blob has {size} bytes; the range lies outside")]
    Range {
        /// The size of the blob.
        size: u64,
    },
    /// The manifest names content that the repository does not hold.
    #[error("the manifest names {}, which this repository does not hold", list(.0))]
    ContentUnknown(Vec<Digest>),
    /// The manifest cannot be read.
    #[error(transparent)]
    ManifestInvalid(ManifestError),
    /// The manifest is too large.
    #[error("a manifest may have at most {0} bytes")]
    TooLarge(usize),
    /// The tag exists and must not be changed.
    #[error("tag {0} exists and cannot be changed")]
    Immutable(Tag),
    /// The content changed since the client looked at it (`If-Match`).
    #[error("the tag has changed in the meantime")]
    Changed,
    /// The operation is not offered.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    NoEndpoint,
    /// The client must log in.
    #[error("authentication is required")]
    Unauthorized,
    /// The disk failed or is full.
    #[error(transparent)]
    Disk(#[from] FolderError),
    /// The place that holds the content failed.
    #[error(transparent)]
    Source(#[from] store::Error),
    /// Our own records cannot be read.
    #[error("the record {record} is damaged")]
    Damaged {
        /// Which one, relative to the data directory.
        record: String,
    },
    /// A task was stopped in the middle of its work.
    #[error("the work was stopped")]
    Stopped,
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

impl Refusal {
    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NameInvalid(_)
            | Refusal::TagInvalid(_)
            | Refusal::DigestSyntax(_)
            | Refusal::DigestMissing
            | Refusal::DigestMismatch { .. }
            | Refusal::Interrupted
            | Refusal::SizeInvalid { .. }
            | Refusal::Header(_)
            | Refusal::Parameter(_)
            | Refusal::ContentUnknown(_)
            | Refusal::ManifestInvalid(_) => StatusCode::BAD_REQUEST,
            Refusal::NameUnknown(_)
            | Refusal::ManifestUnknown(_)
            | Refusal::BlobUnknown(_)
            | Refusal::UploadUnknown
            | Refusal::NoEndpoint => StatusCode::NOT_FOUND,
            Refusal::UploadBusy | Refusal::Immutable(_) => StatusCode::CONFLICT,
            Refusal::Changed => StatusCode::PRECONDITION_FAILED,
            Refusal::OutOfOrder { .. } | Refusal::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Unsupported(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
            Refusal::Disk(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Disk(_) | Refusal::Source(_) | Refusal::Damaged { .. } | Refusal::Stopped => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Returns the error code of the specification; `UNKNOWN`, which registries use for failures of their own, where it
    /// has none.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NameInvalid(_) => "NAME_INVALID",
            Refusal::NameUnknown(_) => "NAME_UNKNOWN",
            Refusal::TagInvalid(_) | Refusal::ManifestInvalid(_) => "MANIFEST_INVALID",
            Refusal::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            Refusal::BlobUnknown(_) => "BLOB_UNKNOWN",
            Refusal::DigestSyntax(_) | Refusal::DigestMissing | Refusal::DigestMismatch { .. } => "DIGEST_INVALID",
            Refusal::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Refusal::UploadBusy
            | Refusal::Interrupted
            | Refusal::OutOfOrder { .. }
            | Refusal::Header(_)
            | Refusal::Range { .. } => "BLOB_UPLOAD_INVALID",
            Refusal::SizeInvalid { .. } | Refusal::TooLarge(_) => "SIZE_INVALID",
            Refusal::ContentUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            Refusal::Immutable(_) | Refusal::Changed => "DENIED",
            Refusal::Unsupported(_) | Refusal::Parameter(_) | Refusal::NoEndpoint => "UNSUPPORTED",
            Refusal::Unauthorized => "UNAUTHORIZED",
            Refusal::Disk(_) | Refusal::Source(_) | Refusal::Damaged { .. } | Refusal::Stopped => "UNKNOWN",
        }
    }

    fn is_ours(&self) -> bool {
        self.status().is_server_error()
    }
}

impl Classify for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Refusal::Disk(error) => error.kind(),
            Refusal::Source(error) => error.kind(),
            Refusal::Damaged { .. } => Kind::Corrupt,
            Refusal::Stopped => Kind::Internal,
            _ => Kind::NotFound,
        }
    }
}

/// Carries the true cause of a failure of ours to whoever watches requests; the client is told less.
#[derive(Clone, Debug)]
pub(super) struct Trouble(pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors: Vec<serde_json::Value> = match &self {
            Refusal::ContentUnknown(digests) => digests
                .iter()
                .map(|digest| {
                    serde_json::json!({
                        "code": self.code(),
                        "message": "the manifest names content that this repository does not hold",
                        "detail": {"digest": digest},
                    })
                })
                .collect(),
            // Paths of the server are none of the client's business.
            refusal if refusal.is_ours() => {
                let message = if refusal.status() == StatusCode::INSUFFICIENT_STORAGE {
                    "the registry has no space left"
                } else {
                    "the registry failed; its log says why"
                };
                vec![serde_json::json!({"code": self.code(), "message": message})]
            }
            refusal => vec![serde_json::json!({"code": self.code(), "message": refusal.to_string()})],
        };
        let body = serde_json::json!({ "errors": errors }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut add = |name: header::HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        };
        match &self {
            Refusal::OutOfOrder { held, location } => {
                add(header::RANGE, span::arrived(*held));
                add(header::LOCATION, location.clone());
            }
            Refusal::Range { size } => add(header::CONTENT_RANGE, format!("bytes */{size}")),
            _ => {}
        }
        if self.is_ours() {
            response.extensions_mut().insert(Trouble(self.to_string()));
        }
        response
    }
}
