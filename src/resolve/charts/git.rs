//! Charts in git repositories, through the installed `git`: one commit, into a bare repository, read as a tar.
//!
//! ```text
//!  git+https://HOST/ORG/REPO[.git][//FOLDER][?ref=REF]      a chart in a folder of a repository
//!  git+https://HOST/ORG/REPO[//FOLDER]@REF                  the same
//!  git+https://HOST/ORG/REPO@FOLDER?ref=REF                 the same, as the plugin helm-git writes it
//! ```
//!
//! # Invariants
//! - Nothing is checked out: no hook, no filter and no submodule of the repository runs or is followed.
//! - Arguments are never options: addresses and names are checked, and stand behind `--` where git allows it.
//! - Git asks nobody for a password, and speaks https, ssh, and to repositories on this machine; nothing else.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{Error, once::Once};
use crate::{
    error::Kind,
    files::{self, Limits, Scratch},
    net::{Environment, Url, printable},
    tree::{RelPath, Tree},
};

/// How long git may take: large repositories over slow lines take minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of what git complains about is read.
const MAX_COMPLAINT: u64 = 64 << 10;
/// What of git's own variables is passed on: how it proves who the user is and whom it trusts. Others say where a repository
/// is, which is true for whoever called this program, such as a hook, and not here.
const PASSED: &[&str] = &[
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_SSH",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
];
/// How much of a list of tags is read: a hundred thousand of them.
const MAX_TAGS: u64 = 16 << 20;
/// The longest name of a branch or tag that is passed on; file systems end names there.
const MAX_REF: usize = 255;

/// Where a chart is in a git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// What git is given.
    url: String,
    /// The folder of the chart; none at the top.
    pub(super) folder: Option<RelPath>,
    /// The branch, tag or commit.
    pub(super) reference: String,
}

/// A commit that was fetched.
pub(super) struct Commit {
    repository: PathBuf,
    url: String,
    /// Its id.
    pub(super) id: String,
    environment: Environment,
    _folder: Arc<Scratch>,
}

/// Fetches repositories.
#[derive(Default)]
pub(super) struct Git {
    commits: Once<Arc<Commit>>,
}

impl Address {
    /// Reads an address.
    pub(super) fn parse(written: &str) -> Result<Address, Error> {
        let bad = |why| Error::Address { written: printable(written, 200), why };
        let rest = written.strip_prefix("git+").ok_or_else(|| bad("no address that begins with git+"))?;
        let mut url = Url::parse(rest).map_err(|_| bad("no address of a git repository"))?;
        let allowed = match url.scheme() {
            "https" => url.username().is_empty() && url.host_str().is_some(),
            "ssh" => url.host_str().is_some_and(|host| !host.starts_with('-')) && !url.username().starts_with('-'),
            "file" => url.host_str().is_none(),
            _ => return Err(bad("git+https://, git+ssh:// and git+file:// are fetched")),
        };
        if !allowed || url.password().is_some() {
            return Err(bad("it must name a host and hold no password: git's own credential helpers keep those"));
        }
        let mut reference = None;
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "ref" => reference = Some(value.into_owned()),
                // Of the plugin helm-git; how it fetches and packs does not matter here.
                "sparse" | "depupdate" | "package" | "cacheKey" => {}
                _ => return Err(bad("after ? only `ref` is known")),
            }
        }
        let path = url.path().to_owned();
        let (mut repository, mut folder) = match path.trim_start_matches('/').split_once("//") {
            Some((repository, folder)) => (format!("/{repository}"), folder.to_owned()),
            None => (path.clone(), String::new()),
        };
        let tail = if folder.is_empty() { &mut repository } else { &mut folder };
        if let Some(at) = tail.rfind('@') {
            let behind = tail.split_off(at)[1..].to_owned();
            match reference {
                None => reference = Some(behind),
                Some(_) if folder.is_empty() => folder = behind,
                Some(_) => return Err(bad("it names a branch, tag or commit twice")),
            }
        }
        let folder = folder.trim_matches('/');
        let folder = match folder {
            "" => None,
            text => Some(text.parse().map_err(|_| bad("what follows // must be a folder of the repository"))?),
        };
        let reference = reference.filter(|text| !text.is_empty()).unwrap_or_else(|| "HEAD".to_owned());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/+-".contains(&byte);
        if reference.len() > MAX_REF
            || reference.starts_with(['-', '/', '.', '+'])
            || reference.contains("..")
            || !reference.bytes().all(plain)
        {
            return Err(bad("no name of a branch, tag or commit"));
        }
        url.set_query(None);
        url.set_fragment(None);
        url.set_path(&repository);
        Ok(Address { url: url.to_string(), folder, reference })
    }

    /// Returns the address with the commit that was taken.
    pub(super) fn source(&self, folder: Option<&RelPath>, commit: &str) -> String {
        let folder = folder.map(|folder| format!("//{folder}")).unwrap_or_default();
        format!("git+{}{folder}?ref={}#{commit}", self.url, self.reference)
    }

    /// Returns the address of a folder of the repository.
    pub(super) fn of_folder(&self, folder: Option<&RelPath>) -> String {
        let folder = folder.map(|folder| format!("//{folder}")).unwrap_or_default();
        format!("git+{}{folder}?ref={}", self.url, self.reference)
    }

    /// Returns the commit that a source of this address names.
    pub(super) fn commit_of<'s>(&self, source: &'s str) -> Option<&'s str> {
        let (address, commit) = source.split_once('#')?;
        let same = Address::parse(address).ok()? == *self;
        (same && is_commit(commit)).then_some(commit)
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Git {
    /// Fetches a commit: `pinned`, when it is given, else what the name in the address stands for now.
    pub(super) async fn fetch(
        &self,
        address: &Address,
        pinned: Option<&str>,
        environment: &Environment,
    ) -> Result<Arc<Commit>, Error> {
        let wanted = pinned.unwrap_or(&address.reference).to_owned();
        let key = format!("{} {wanted}", address.url);
        let (url, environment) = (address.url.clone(), environment.clone());
        self.commits.get(&key, files::blocking(move || fetch(url, &wanted, environment).map(Arc::new))).await
    }
}

impl Git {
    /// Lists the tags of a repository.
    pub(super) async fn tags(&self, address: &Address, environment: &Environment) -> Result<Vec<String>, Error> {
        let (url, environment) = (address.url.clone(), environment.clone());
        files::blocking(move || {
            let listed = run(&environment, None, &["ls-remote", "--tags", "--refs", "--", &url], MAX_TAGS);
            let listed = listed.map_err(|(why, kind)| Error::Git {
                doing: "ls-remote",
                url: printable(&url, 200),
                why,
                kind,
            })?;
            let listed = String::from_utf8_lossy(&listed);
            Ok(listed.lines().filter_map(|line| Some(line.split_once("refs/tags/")?.1.to_owned())).collect())
        })
        .await
    }
}

fn fetch(url: String, wanted: &str, environment: Environment) -> Result<Commit, Error> {
    let folder = Scratch::new("bundle-git")?;
    let repository = folder.path().join("repository");
    let run = |doing, arguments: &[&str], place: Option<&Path>| {
        run(&environment, place, arguments, 1 << 20).map_err(|(why, kind)| Error::Git {
            doing,
            url: printable(&url, 200),
            why,
            kind,
        })
    };
    let target = repository.to_string_lossy().into_owned();
    run("init", &["init", "--quiet", "--bare", "--template=", "--", &target], None)?;
    let inside = Some(repository.as_path());
    let options = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", &url, wanted];
    run("fetch", &options, inside)?;
    let id = run("rev-parse", &["rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}"], inside)?;
    let id = String::from_utf8_lossy(&id).trim().to_owned();
    if !is_commit(&id) {
        let why = "it did not say which commit came".to_owned();
        return Err(Error::Git { doing: "rev-parse", url: printable(&url, 200), why, kind: Kind::Corrupt });
    }
    Ok(Commit { repository, url, id, environment, _folder: Arc::new(folder) })
}

impl Commit {
    /// Reads a folder of the commit.
    pub(super) fn tree(&self, folder: Option<&RelPath>, limits: &Limits) -> Result<Tree, Error> {
        let what = match folder {
            Some(folder) => format!("{}:{folder}", self.id),
            None => self.id.clone(),
        };
        // Headers and padding come on top of the content.
        let limit = limits.bytes + limits.files as u64 * 4096;
        let tar = run(&self.environment, Some(&self.repository), &["archive", "--format=tar", &what], limit);
        let tar = tar.map_err(|(why, kind)| Error::Git { doing: "archive", url: self.place(folder), why, kind })?;
        Ok(files::read_tarball(Path::new(&self.place(folder)), &tar[..], limits)?.tree)
    }

    /// Tells whether the commit has a folder.
    pub(super) fn has(&self, folder: &RelPath) -> bool {
        let what = format!("{}:{folder}", self.id);
        let kind = run(&self.environment, Some(&self.repository), &["cat-file", "-t", &what], 100);
        kind.is_ok_and(|kind| kind.starts_with(b"tree"))
    }

    fn place(&self, folder: Option<&RelPath>) -> String {
        let folder = folder.map(|folder| format!("//{folder}")).unwrap_or_default();
        format!("{}{folder}", printable(&self.url, 200))
    }
}

/// Runs git and returns what it prints; blocks.
fn run(
    environment: &Environment,
    place: Option<&Path>,
    arguments: &[&str],
    limit: u64,
) -> Result<Vec<u8>, (String, Kind)> {
    let failed = |why: String| (why, Kind::NotFound);
    let mut command = Command::new("git");
    let passed = |name: &str| !name.starts_with("GIT_") || PASSED.contains(&name);
    command.env_clear().envs(environment.iter().filter(|(name, _)| passed(name)));
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "https:ssh:file")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C")
        // A question of ssh would wait for an answer that never comes.
        .env("GIT_SSH_COMMAND", environment.get("GIT_SSH_COMMAND").unwrap_or("ssh -o BatchMode=yes"));
    for setting in ["core.hooksPath=/dev/null", "core.fsmonitor=false", "submodule.recurse=false", "gc.auto=0"] {
        command.args(["-c", setting]);
    }
    if let Some(place) = place {
        command.arg("-C").arg(place);
    }
    let mut child =
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
            |error| match error.kind() {
                std::io::ErrorKind::NotFound => failed("git is not installed, or not in PATH".to_owned()),
                _ => failed(error.to_string()),
            },
        )?;
    let read = |stream: Option<Box<dyn Read + Send>>, limit: u64| {
        let (sender, receiver) = mpsc::channel();
        if let Some(stream) = stream {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.take(limit).read_to_end(&mut bytes);
                let _ = sender.send(bytes);
            });
        }
        receiver
    };
    let output = read(child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>), limit + 1);
    let complaint = read(child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>), MAX_COMPLAINT);
    let bytes = output.recv_timeout(PATIENCE);
    let too_much = bytes.as_ref().is_ok_and(|bytes| bytes.len() as u64 > limit);
    if bytes.is_err() || too_much {
        let _ = child.kill();
    }
    let status = child.wait();
    let Ok(bytes) = bytes else {
        return Err((format!("gave no answer in {} s", PATIENCE.as_secs()), Kind::Unavailable));
    };
    if too_much {
        return Err((format!("there are more than {limit} bytes"), Kind::Usage));
    }
    if status.is_ok_and(|status| status.success()) {
        return Ok(bytes);
    }
    let said = complaint.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.starts_with("fatal:")).or(said.lines().last()).unwrap_or("it failed");
    let absent = [
        "not found",
        "couldn't find",
        "does not exist",
        "does not appear",
        "not a valid",
        "Authentication",
        "could not read",
        "not our ref",
        "denied",
    ];
    let kind = match absent.iter().any(|word| said.contains(word)) {
        true => Kind::NotFound,
        false => Kind::Unavailable,
    };
    Err((printable(line, 300), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (written, url, folder, reference) in [
            ("git+https://h.example/o/r", "https://h.example/o/r", "", "HEAD"),
            ("git+https://h.example/o/r.git//charts/web?ref=v1.2", "https://h.example/o/r.git", "charts/web", "v1.2"),
            ("git+https://h.example/o/r@v1.2", "https://h.example/o/r", "", "v1.2"),
            ("git+https://h.example/o/r//charts/web@main", "https://h.example/o/r", "charts/web", "main"),
            ("git+https://h.example/o/r@charts/web?ref=v1&sparse=0", "https://h.example/o/r", "charts/web", "v1"),
            ("git+ssh://git@h.example/o/r//c@v1", "ssh://git@h.example/o/r", "c", "v1"),
            ("git+file:///srv/r//c", "file:///srv/r", "c", "HEAD"),
        ] {
            let read = Address::parse(written).unwrap();
            let found = (read.url.as_str(), read.folder.as_ref().map_or("", RelPath::as_str), read.reference.as_str());
            assert_eq!(found, (url, folder, reference), "{written}");
            let commit = "a".repeat(40);
            assert_eq!(read.commit_of(&read.source(read.folder.as_ref(), &commit)), Some(commit.as_str()), "{written}");
        }
        for bad in [
            "https://h.example/r",
            "git+http://h.example/r",
            "git+ext::sh -c x",
            "git+https://u:p@h.example/r",
            "git+https://h.example/r?ref=--upload-pack=x",
            "git+https://h.example/r?ref=a..b",
            "git+https://h.example/r?ref=a%0ab",
            "git+https://h.example/r?submodules=1",
            "git+https://h.example/r//a@b?ref=c",
            "git+ssh://-oProxyCommand=x/r",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
