//! The machines of a cluster: are there any, can they run the images, can their runtimes use a mirror.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    registry::Push,
    report::{Check, id, some_of},
};
use crate::{
    cluster::{Cluster, Selection, condition},
    oci::Platform,
};

/// Conditions of a node that say that it will not take much more.
const PRESSURES: &[&str] = &["DiskPressure", "MemoryPressure", "PIDPressure"];
/// The first containerd that reads `certs.d/HOST/hosts.toml` (containerd docs/hosts.md).
const CONTAINERD_HOSTS: (u32, u32) = (1, 5);
/// How far kubelets may be behind the API server (kubernetes.io/releases/version-skew-policy).
const KUBELET_SKEW: u32 = 3;

struct Machine {
    name: String,
    platform: Option<Platform>,
    runtime: String,
    kubelet: String,
    ready: bool,
    pressures: Vec<&'static str>,
    cordoned: bool,
}

fn machine(node: &Value) -> Machine {
    let text = |pointer: &str| node.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let is = |name: &str| condition(node, name).is_some_and(|(status, ..)| status == "True");
    let info = |field: &str| text(&format!("/status/nodeInfo/{field}")).to_owned();
    let platform = format!("{}/{}", info("operatingSystem"), info("architecture"));
    Machine {
        name: text("/metadata/name").to_owned(),
        platform: platform.parse().ok(),
        runtime: info("containerRuntimeVersion"),
        kubelet: info("kubeletVersion"),
        ready: is("Ready"),
        pressures: PRESSURES.iter().copied().filter(|name| is(name)).collect(),
        cordoned: node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false),
    }
}

pub(super) async fn check(cluster: &Cluster, pushes: &[Push]) -> Vec<Check> {
    let machines: Vec<Machine> = match cluster.list("v1", "Node", &Selection::default()).await {
        Ok(nodes) => nodes.iter().map(machine).collect(),
        Err(error) => {
            let ids = [id::NODES, id::PLATFORMS, id::RUNTIMES];
            return ids.into_iter().map(|id| Check::unchecked(id, error.to_string())).collect();
        }
    };
    if machines.is_empty() {
        let mut checks = vec![Check::failure(id::NODES, "the cluster has no nodes").remedy("join at least one node")];
        checks.extend([id::PLATFORMS, id::RUNTIMES].map(|id| Check::unchecked(id, "needs a node")));
        return checks;
    }
    let mut checks = vec![ready(&machines)];
    checks.extend(platforms(&machines, pushes));
    checks.extend(runtimes(&machines, cluster.version().numbers()));
    checks
}

fn ready(machines: &[Machine]) -> Check {
    let usable = machines.iter().filter(|one| one.ready && !one.cordoned).count();
    let mut wrong: Vec<String> = Vec::new();
    for one in machines {
        match (one.ready, one.cordoned) {
            (false, _) => wrong.push(format!("{} is not ready", one.name)),
            (true, true) => wrong.push(format!("{} is cordoned", one.name)),
            _ => {}
        }
        if !one.pressures.is_empty() {
            wrong.push(format!("{} has {}", one.name, one.pressures.join(", ")));
        }
    }
    let total = machines.len();
    let remedy = "look at kubectl describe node: the conditions say why";
    match (usable, wrong.is_empty()) {
        (0, _) => {
            Check::failure(id::NODES, format!("none of {total} nodes can take pods: {}", some_of(wrong))).remedy(remedy)
        }
        (_, false) => Check::warning(id::NODES, format!("{usable} of {total} nodes can take pods: {}", some_of(wrong)))
            .remedy(remedy),
        (_, true) => Check::ok(id::NODES, format!("all {total} nodes are ready")),
    }
}

fn platforms(machines: &[Machine], pushes: &[Push]) -> Vec<Check> {
    let mut there: BTreeMap<String, Platform> = BTreeMap::new();
    for one in machines.iter().filter(|one| !one.cordoned) {
        there.extend(one.platform.clone().map(|platform| (platform.to_string(), platform)));
    }
    let images: Vec<&Push> = pushes.iter().filter(|push| !push.platforms.is_empty()).collect();
    if images.is_empty() || there.is_empty() {
        return vec![Check::unchecked(
            id::PLATFORMS,
            "no image with a known platform, or no node that says what it is",
        )];
    }
    let runs = |push: &Push, on: &Platform| push.platforms.iter().any(|carried| on.takes(carried) || carried.takes(on));
    let mut nowhere = BTreeSet::new();
    let mut partly: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for push in &images {
        let lacking: Vec<&String> = there.iter().filter(|(_, on)| !runs(push, on)).map(|(name, _)| name).collect();
        if lacking.len() == there.len() {
            nowhere.insert(&push.source);
        } else {
            for name in lacking {
                partly.entry(name).or_default().insert(&push.source);
            }
        }
    }
    let nodes = some_of(there.keys());
    let mut checks = Vec::new();
    if !nowhere.is_empty() {
        let text =
            format!("the nodes are {nodes}, and these images are carried for none of that: {}", some_of(nowhere));
        checks.push(
            Check::failure(id::PLATFORMS, text)
                .remedy("add the platform under `platforms` in bundle.yaml and make the archive anew"),
        );
    }
    for (name, images) in partly {
        let text = format!("on {name} nodes these images will not run: {}", some_of(images));
        checks.push(
            Check::warning(id::PLATFORMS, text)
                .remedy("add the platform under `platforms` in bundle.yaml, or keep the pods away by a node selector (kubernetes.io/arch)"),
        );
    }
    if checks.is_empty() {
        checks.push(Check::ok(id::PLATFORMS, format!("all {} images run on the nodes: {nodes}", images.len())));
    }
    checks
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let mut next = || parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    Some((next()?, next()?))
}

fn runtimes(machines: &[Machine], server: Option<(u32, u32)>) -> Vec<Check> {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in machines {
        seen.entry(one.runtime.as_str()).or_default().push(one.name.as_str());
    }
    let mut checks = Vec::new();
    for (runtime, names) in &seen {
        let (kind, version) = runtime.split_once("://").unwrap_or((runtime, ""));
        let old = kind == "containerd" && numbers(version).is_some_and(|version| version < CONTAINERD_HOSTS);
        if old {
            let text = format!("containerd {version} on {} does not read certs.d/HOST/hosts.toml", some_of(names));
            checks.push(
                Check::failure(id::RUNTIMES, text)
                    .remedy("upgrade to containerd 1.7 or 2, or rewrite the manifests (bundle rewrite)"),
            );
        } else if kind.is_empty() || version.is_empty() {
            checks.push(Check::unchecked(id::RUNTIMES, format!("{} do not say what runs containers", some_of(names))));
        }
    }
    if let Some(server) = server {
        let behind = machines.iter().filter(|one| {
            numbers(&one.kubelet)
                .is_some_and(|kubelet| kubelet.0 == server.0 && kubelet.1 + KUBELET_SKEW < server.1 || kubelet > server)
        });
        let behind: Vec<String> = behind.map(|one| format!("{} ({})", one.name, one.kubelet)).collect();
        if !behind.is_empty() {
            let text =
                format!("kubelets that the API server {}.{} does not support: {}", server.0, server.1, some_of(behind));
            checks.push(Check::warning(id::RUNTIMES, text).remedy("upgrade these nodes"));
        }
    }
    if checks.is_empty() {
        let all =
            seen.iter().map(|(runtime, names)| format!("{} ({} nodes)", runtime.replace("://", " "), names.len()));
        checks.push(Check::ok(id::RUNTIMES, some_of(all)));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oci::Descriptor, preflight::Outcome};
    use serde_json::json;

    fn node(name: &str, architecture: &str, runtime: &str, ready: bool) -> Machine {
        machine(&json!({"metadata": {"name": name}, "status": {
            "nodeInfo": {"operatingSystem": "linux", "architecture": architecture, "containerRuntimeVersion": runtime, "kubeletVersion": "v1.34.1"},
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}, {"type": "DiskPressure", "status": "False"}]}}))
    }

    fn push(name: &str, platforms: &[&str]) -> Push {
        let root = Descriptor::of("application/vnd.oci.image.manifest.v1+json", name.as_bytes());
        Push {
            source: name.to_owned(),
            repository: name.parse().unwrap(),
            blobs: vec![root.clone()],
            root,
            sparse: false,
            derived: false,
            platforms: platforms.iter().map(|platform| platform.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn images_are_held_against_the_nodes() {
        let machines =
            [node("a", "amd64", "containerd://1.7.27", true), node("b", "arm64", "containerd://2.1.0", true)];
        let both = [push("x", &["linux/amd64", "linux/arm64"])];
        assert_eq!(platforms(&machines, &both)[0].outcome, Outcome::Ok);
        let half = platforms(&machines, &[push("x", &["linux/amd64"])]);
        assert!(half[0].outcome == Outcome::Warning && half[0].message.contains("linux/arm64"), "{half:?}");
        let none = platforms(&machines, &[push("x", &["linux/s390x"])]);
        assert_eq!(none[0].outcome, Outcome::Failure);
        // The variant that arm64 always has does not stand in the way.
        assert_eq!(platforms(&machines[1..], &[push("x", &["linux/arm64/v8"])])[0].outcome, Outcome::Ok);
    }

    #[test]
    fn readiness_and_runtimes_are_told() {
        assert_eq!(ready(&[node("a", "amd64", "", true)]).outcome, Outcome::Ok);
        assert_eq!(ready(&[node("a", "amd64", "", true), node("b", "amd64", "", false)]).outcome, Outcome::Warning);
        assert_eq!(ready(&[node("b", "amd64", "", false)]).outcome, Outcome::Failure);
        let old = runtimes(&[node("a", "amd64", "containerd://1.4.3", true)], Some((1, 34)));
        assert!(old[0].outcome == Outcome::Failure && old[0].message.contains("hosts.toml"), "{old:?}");
        assert_eq!(runtimes(&[node("a", "amd64", "cri-o://1.33.0", true)], Some((1, 34)))[0].outcome, Outcome::Ok);
        assert_eq!(
            runtimes(&[node("a", "amd64", "containerd://2.1.0", true)], Some((1, 38)))[0].outcome,
            Outcome::Warning
        );
        assert_eq!(runtimes(&[node("a", "amd64", "", true)], None)[0].outcome, Outcome::CouldNotCheck);
    }
}
