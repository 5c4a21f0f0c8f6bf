//! Docker Engine: mirrors of Docker Hub in `daemon.json`, and a script for what Docker has no words for.
//!
//! Docker Engine asks mirrors for names of Docker Hub only, and puts the path of a mirror in front of `/v2/`, not behind
//! it as other runtimes do (moby, `registry-mirrors`; paths since 24.0.8 and 25.0).

use super::{Error, MirrorFormat, Plan, Sheet};
use crate::{
    export::{Content, images},
    oci::Reference,
};

/// Returns `daemon.json` when there is something that it can say, the script, the certificate and how to install them.
pub(super) fn files(plan: &Plan<'_>, content: &Content) -> Result<Vec<Sheet>, Error> {
    let registry = plan.registry;
    let host = registry.target.host.to_string();
    let hub = plan.routes.iter().find(|route| route.host() == "docker.io");
    let mirror = hub.and_then(|route| route.path(MirrorFormat::Docker).ok());
    let address = mirror.map(|path| format!("{}/{path}", registry.url()));
    let mut daemon = serde_json::Map::new();
    if let Some(address) = &address {
        daemon.insert("registry-mirrors".into(), serde_json::json!([address]));
    }
    if registry.plain_http {
        daemon.insert("insecure-registries".into(), serde_json::json!([host]));
    }
    let mut sheets = vec![Sheet::fixed("README.txt", readme(plan, &host, mirror.map(|path| path.as_str()), &address))];
    if !daemon.is_empty() {
        let text = format!("{:#}\n", serde_json::Value::Object(daemon));
        sheets.push(Sheet::fixed("daemon.json", text));
    }
    sheets.push(Sheet::fixed("pull-images.sh", script(plan, content)?));
    sheets.extend(plan.ca().map(|ca| Sheet::fixed("ca.crt", ca)));
    Ok(sheets)
}

fn readme(plan: &Plan<'_>, host: &str, path: Option<&str>, address: &Option<String>) -> String {
    let mut text = format!("{}\n\n", plan.origin());
    if plan.ca().is_some() {
        text.push_str(&format!(
            "Trust: install -D -m 0644 ca.crt /etc/docker/certs.d/{host}/ca.crt   (nothing restarts)\n\n"
        ));
    }
    match (address, path) {
        (Some(address), Some(path)) => text.push_str(&format!(
            "Images of Docker Hub: merge daemon.json into /etc/docker/daemon.json, then `systemctl reload docker` (a restart where\n\
             reload is not enough: Docker says so in its log). Docker asks {address}/v2/NAME/…,\n\
             with the path in front of /v2/; that takes Docker 24.0.8, 25.0 or newer. `bundle serve` answers there. In front of any\n\
             other registry, its reverse proxy must turn the path round, in nginx:\n\n\
             \x20   location /{path}/v2/ {{ rewrite ^/{path}/v2/(.*)$ /v2/{path}/$1 last; }}\n\n"
        )),
        _ => text.push_str("Images of Docker Hub: there are none, or the layout has no place for them that Docker can express.\n\n"),
    }
    let others: Vec<&str> =
        plan.routes.iter().map(|route| route.host()).filter(|host| *host != "docker.io" || address.is_none()).collect();
    if !others.is_empty() {
        text.push_str(&format!(
            "Docker has no mirrors for other registries ({}). For their images there are two ways: `sh pull-images.sh` pulls every\n\
             image by its name in the enclave and gives it the name that compose files and manifests use; or let `bundle rewrite`\n\
             change the names. Names by digest alone cannot be given: rewrite those.\n",
            others.join(", ")
        ));
    }
    text
}

fn script(plan: &Plan<'_>, content: &Content) -> Result<String, Error> {
    let registry = plan.registry;
    let mut text = format!(
        "#!/bin/sh\n# {}\n# Pulls every image from the enclave and names it as its source does. Harmless to repeat.\nset -eu\n\n\
         pull() {{ # NAME-IN-THE-ENCLAVE NAME-OF-THE-SOURCE\n  docker pull \"$1\"\n  docker tag \"$1\" \"$2\"\n}}\n\n",
        plan.origin()
    );
    for row in images(content, Some((&registry.target, registry.layout)))? {
        let Some(target) = row.target else { continue };
        let exact = Reference { tag: None, digest: Some(row.digest), ..target };
        match &row.source.tag {
            Some(_) => {
                let name = Reference { digest: None, ..row.source.clone() };
                text.push_str(&format!("pull '{exact}' '{name}'\n"));
            }
            None => {
                text.push_str(&format!("docker pull '{exact}' # {}: a name by digest cannot be given\n", row.source))
            }
        }
    }
    Ok(text)
}
