//! The service account of a pod, for a program that runs inside the cluster
//! (kubernetes.io/docs/tasks/run-application/access-api-from-pod).

use std::path::PathBuf;

use super::{
    ConfigProblem, Error,
    kubeconfig::{Access, Proof},
};
use crate::{
    files,
    net::{Environment, Pem, Url},
};

/// Where kubelet mounts the token, the authority and the namespace.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Returns the pod's own cluster when this runs in a pod with a service account.
pub(super) fn find(environment: &Environment) -> Result<Option<Access>, Error> {
    let (Some(host), Some(port)) =
        (environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT"))
    else {
        return Ok(None);
    };
    let folder = PathBuf::from(FOLDER);
    let token = folder.join("token");
    if !files::is_file(&token) {
        return Ok(None);
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let server = Url::parse(&format!("https://{host}:{port}")).map_err(|_| Error::Config {
        file: PathBuf::from("KUBERNETES_SERVICE_HOST"),
        problem: ConfigProblem::Server("of this pod".to_owned()),
    })?;
    let namespace = files::read_limited(&folder.join("namespace"), 1024)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    Ok(Some(Access {
        file: folder.clone(),
        context: "in-cluster".to_owned(),
        namespace,
        server,
        server_name: None,
        ca: Some(Pem::File(folder.join("ca.crt"))),
        insecure: false,
        proxy: None,
        client: None,
        proof: Proof::TokenFile(token),
        impersonate: Vec::new(),
    }))
}
