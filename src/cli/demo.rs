//! `bundle demo`: the whole journey on this machine, by the same commands that users type.

mod images;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use super::{Context, Failure, OutputError, ui};
use crate::{
    error::{Classify, Kind, Side},
    event::Silent,
    files::{self, Scratch},
    net::{Environment, Settings},
    oci::{Descriptor, Host, Reference},
    registry::{By, Credentials, RawManifest, Registries, Remote},
    serve::{self, Data, Options, Running},
    store::{Memory, Sink},
};
use images::DemoImage;

/// Show the whole journey on this machine, without any network: from a spec to images in a registry.
///
/// Two small registries listen on 127.0.0.1, one in place of the public ones and one inside. Every command is shown as
/// you would type it, with its output. Takes seconds, and leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work in this folder, which must be new or empty, and leave everything there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Says why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// This program cannot be started a second time.
    #[error("cannot run {what}: {cause}")]
    Spawn {
        what: String,
        #[source]
        cause: io::Error,
    },
    /// A command did not end as it must.
    #[error("`{command}` ended with {ended}, where {expected} was expected")]
    Ended { command: String, ended: String, expected: i32 },
    /// The images of the demo could not be made.
    #[error("the images of the demo could not be made: {0}")]
    Images(io::Error),
    /// A name of the demo is none.
    #[error(transparent)]
    Name(#[from] crate::oci::ReferenceError),
    /// An image did not arrive.
    #[error("{0} did not arrive")]
    Absent(String),
}

impl Classify for DemoError {
    fn kind(&self) -> Kind {
        match self {
            DemoError::Spawn { cause, .. } => Kind::of_io(cause),
            DemoError::Ended { .. } | DemoError::Images(_) | DemoError::Name(_) | DemoError::Absent(_) => {
                Kind::Internal
            }
        }
    }
}

/// The files that a user would write, as they are in `bundle-specs/demo`.
const FILES: [(&str, &str); 4] = [
    (SPEC, include_str!("../../bundle-specs/demo/bundle.yaml")),
    ("manifests/web.yaml", include_str!("../../bundle-specs/demo/manifests/web.yaml")),
    ("manifests/agent.yaml", include_str!("../../bundle-specs/demo/manifests/agent.yaml")),
    ("dashboards/web.json", include_str!("../../bundle-specs/demo/dashboards/web.json")),
];
const SPEC: &str = "bundle.yaml";
const ARCHIVE: &str = "demo-1.0.0.bundle.tar";
const CHANGED: &str = "changed.bundle.tar";
/// Opens the private key of the demo; only the commands of the demo are given it.
const PASSPHRASE: &str = "demo";
/// The width of the story; what commands print is indented by [`INDENT`].
const WIDTH: usize = 80;
const INDENT: &str = "  ";
/// What would lead the commands of the demo away from it: proxies, logins, another passphrase.
const FOREIGN: [&str; 16] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "REGISTRY_AUTH_FILE",
    "DOCKER_CONFIG",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "BUNDLE_PASSWORD_FILE",
    "SOURCE_DATE_EPOCH",
    "SSL_CERT_FILE",
];
/// The largest file of the demo is its archive.
const MAX_BYTES: u64 = 64 << 20;

impl Args {
    pub async fn run(self, _: &Context) -> Result<(), Failure> {
        let started = Instant::now();
        let mut scratch = None;
        let folder = match &self.keep {
            Some(folder) => {
                files::make_empty_folder(folder)?;
                folder.clone()
            }
            None => scratch.insert(Scratch::new("bundle-demo")?).path().to_owned(),
        };
        let demo = Demo { folder: std::path::absolute(&folder).map_err(OutputError)?, steps: 0.into() };
        demo.tell(
            "This is the whole journey of a deployment into a place without internet. It runs \
             on this machine and needs no network: two small registries listen on 127.0.0.1 \
             and end with the demo.",
        )?;
        demo.journey().await?;
        let seconds = ui::duration(started.elapsed());
        match &self.keep {
            None => demo.tell(&format!(
                "\nThat was the whole journey, in {seconds}. Nothing of it is left on this machine; `bundle demo --keep DIR` \
                 keeps the files to look at."
            ))?,
            Some(folder) => {
                let folder = folder.display();
                demo.tell(&format!(
                    "\nThat was the whole journey, in {seconds}. Everything is in {folder}. The passphrase of demo.key is \
                     \"{PASSPHRASE}\". The registries are gone, but their content is there, so you can go on:"
                ))?;
                let archive = format!("{folder}/{ARCHIVE}");
                demo.command(&["bundle", "serve", &archive, "--key", &format!("{folder}/demo.pub")])?;
                demo.command(&["bundle", "serve", "--data", &format!("{folder}/registry-inside")])?;
            }
        }
        // Kept until here: it goes with everything in it.
        drop(scratch);
        Ok(())
    }
}

/// A registry of the demo.
struct Place {
    running: Running,
    host: Host,
    registries: Registries,
}

impl Place {
    async fn start(folder: &Path) -> Result<Place, Failure> {
        // Nobody needs this after a power cut.
        let running = serve::start(Options::default(), Data::open(folder, false)?).await?;
        let host: Host = running.addr().to_string().parse().map_err(DemoError::Name)?;
        let settings = Settings::of_environment(Environment::default());
        let registries = Registries::new(settings, Credentials::none(), Arc::new(Silent))?;
        Ok(Place { running, host, registries })
    }

    /// Returns where an image of another registry is in this one.
    fn repository(&self, image: &Reference, side: Side) -> Result<Remote, Failure> {
        let name = format!("{}/{}", image.host, image.repository).parse().map_err(DemoError::Name)?;
        Ok(self.registries.repository(&self.host, &name, side))
    }

    async fn fill(&self, image: &DemoImage) -> Result<(), Failure> {
        let remote = self.repository(&image.reference, Side::Target)?;
        for (descriptor, bytes) in &image.content {
            let root = descriptor.digest == image.root.digest;
            if descriptor.media_type.is_manifest() {
                let manifest = RawManifest { descriptor: descriptor.clone(), bytes: bytes.clone() };
                let tag = image.reference.tag.as_ref().filter(|_| root);
                remote.put_manifest(&manifest, tag).await?;
            } else {
                let memory = Memory::new();
                memory.set(descriptor.digest, bytes.clone());
                remote.put(descriptor, &memory, &|_| {}).await?;
            }
        }
        Ok(())
    }

    async fn find(&self, image: &Reference) -> Result<Option<Descriptor>, Failure> {
        let Some(tag) = &image.tag else { return Ok(None) };
        Ok(self.repository(image, Side::Source)?.head(&By::Tag(tag.clone())).await?)
    }
}

struct Demo {
    folder: PathBuf,
    steps: std::cell::Cell<u32>,
}

impl Demo {
    async fn journey(&self) -> Result<(), Failure> {
        let images = images::all().map_err(DemoError::Images)?;
        let outside = Place::start(&self.folder.join("registry-outside")).await?;
        let inside = Place::start(&self.folder.join("registry-inside")).await?;
        for image in &images {
            outside.fill(image).await?;
        }
        let target = inside.host.to_string();

        self.step("What you write", "A spec names your manifests, and what they do not name. The last lines are for this demo: they let a registry on this machine stand in for the public ones. Images keep their names; only the place they are pulled from changes.")?;
        self.write_files(&outside.host)?;
        self.command(&["cat", SPEC])?;
        let spec = self.read(SPEC)?;
        self.show(&String::from_utf8_lossy(&spec))?;

        self.step("A key pair", "The private key signs and stays outside. The public key goes inside, once.")?;
        self.bundle(&["keygen", "--output-key-prefix", "demo"]).await?;

        self.step("What is needed, exactly", "Every image that the manifests name is found and pinned to a digest. The lock file is yours to review and to keep in version control.")?;
        self.bundle(&["resolve", SPEC]).await?;

        self.step("Why is it needed?", "Every image comes with its reason, down to the line that names it.")?;
        self.bundle(&["why", "busybox", SPEC]).await?;

        self.step(
            "One signed file",
            "Everything is pulled in one pass, straight to its place in one archive, and signed.",
        )?;
        self.bundle(&["create", SPEC, "--key", "demo.key"]).await?;

        self.step("The way inside", "From here on there is no outside: the registry that stood for it is stopped. The archive and the public key are all that crosses over.")?;
        outside.running.shutdown().await;
        self.bundle(&["verify", ARCHIVE, "--key", "demo.pub"]).await?;

        self.step("What is in it?", "Kilobytes are read for this, however large an archive is.")?;
        self.bundle(&["inspect", ARCHIVE, "--key", "demo.pub"]).await?;

        self.step("Into the registry inside", "Signature first, then the bytes, and tags last.")?;
        let load = ["load", ARCHIVE, "--key", "demo.pub", "--to", &target];
        self.bundle(&load).await?;

        self.step("Once more", "Loading again changes nothing: what is there already is not sent.")?;
        self.bundle(&load).await?;

        self.step(
            "If somebody changes one bit",
            "A copy of the archive with one bit changed is refused, and the damage is named.",
        )?;
        self.change_a_bit()?;
        self.bundle_ends(5, &["verify", CHANGED, "--key", "demo.pub"]).await?;

        self.step("Did it arrive?", "The registry inside is asked for every tag. The digests are those of upstream, bit for bit; `docker.io/library/nginx:1.27` is now found behind the name of your registry.")?;
        let mut rows = Vec::new();
        for image in &images {
            let found = inside.find(&image.reference).await?;
            let same = found.filter(|found| found.digest == image.root.digest);
            let found = same.ok_or_else(|| DemoError::Absent(image.reference.to_string()))?;
            rows.push(vec![format!("{target}/{}", image.reference), format!("sha256:{}…", found.digest.short())]);
        }
        self.show(&ui::table(&["image", "digest, as upstream"], rows))?;
        inside.running.shutdown().await;
        Ok(())
    }

    fn write_files(&self, outside: &Host) -> Result<(), Failure> {
        for (name, text) in FILES {
            let path = self.folder.join(name);
            files::create_folder(path.parent().unwrap_or(&self.folder))?;
            let mut text = text.to_owned();
            if name == SPEC {
                text.push_str(&format!(
                    "\n# Only for this demo: a registry on this machine stands in for these two.\n\
                     registries:\n  docker.io: {{mirror: \"{outside}/docker.io\"}}\n  quay.io: {{mirror: \"{outside}/quay.io\"}}\n"
                ));
            }
            files::create_new(&path, text.as_bytes())?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<bytes::Bytes, Failure> {
        Ok(files::read_limited(&self.folder.join(name), MAX_BYTES)?)
    }

    fn change_a_bit(&self) -> Result<(), Failure> {
        let mut bytes = self.read(ARCHIVE)?.to_vec();
        // The middle of the file is within a layer.
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        Ok(files::create_new(&self.folder.join(CHANGED), &bytes)?)
    }

    async fn bundle(&self, arguments: &[&str]) -> Result<(), Failure> {
        self.bundle_ends(0, arguments).await
    }

    /// Shows a command, runs it, shows what it wrote, and compares how it ended.
    async fn bundle_ends(&self, expected: i32, arguments: &[&str]) -> Result<(), Failure> {
        let shown = self.command(&[&["bundle"], arguments].concat())?;
        let failed = |cause| DemoError::Spawn { what: shown.clone(), cause };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("BUNDLE_STATE_DIR", self.folder.join("state"))
            .env("COSIGN_PASSWORD", PASSPHRASE)
            .env("COLUMNS", (WIDTH - INDENT.len()).to_string())
            .stdin(Stdio::null());
        // One pipe for both streams keeps the order in which a terminal would show them.
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let (status, written) = files::blocking(move || {
            let mut child = command.spawn()?;
            // The command holds the writing end, too; reading ends when nobody does.
            drop(command);
            let mut written = Vec::new();
            io::Read::read_to_end(&mut reader, &mut written)?;
            Ok((child.wait()?, written))
        })
        .await
        .map_err(failed)?;
        self.show(&String::from_utf8_lossy(&written))?;
        if status.code() == Some(expected) {
            return if expected == 0 { Ok(()) } else { self.show(&format!("(exit code {expected})")) };
        }
        let ended = status.code().map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        Err(DemoError::Ended { command: shown, ended, expected }.into())
    }

    fn step(&self, title: &str, text: &str) -> Result<(), Failure> {
        let number = self.steps.get() + 1;
        self.steps.set(number);
        let title = format!("{number}. {title}");
        ui::write_all(format!("\n{}\n", bold(&title)).as_bytes()).map_err(OutputError)?;
        self.tell(text)
    }

    fn tell(&self, text: &str) -> Result<(), Failure> {
        Ok(ui::write_all(wrapped(text, "").as_bytes()).map_err(OutputError)?)
    }

    fn command(&self, words: &[&str]) -> Result<String, Failure> {
        let line = words.join(" ");
        ui::write_all(format!("\n{}\n", bold(&format!("$ {line}"))).as_bytes()).map_err(OutputError)?;
        Ok(line)
    }

    fn show(&self, text: &str) -> Result<(), Failure> {
        Ok(ui::write_all(wrapped(text, INDENT).as_bytes()).map_err(OutputError)?)
    }
}

fn bold(text: &str) -> String {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        let bold = anstyle::Style::new().bold();
        return format!("{bold}{text}{bold:#}");
    }
    text.to_owned()
}

/// Breaks the lines of a text that are longer than [`WIDTH`], as deep as they start.
fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let start: String = line.chars().take_while(|c| *c == ' ').collect();
        let room = WIDTH.saturating_sub(indent.len() + start.len());
        let mut parts = ui::wrapped(line.trim(), room).into_iter();
        out.push_str(format!("{indent}{start}{}", parts.next().unwrap_or_default()).trim_end());
        out.push('\n');
        for part in parts {
            out.push_str(&format!("{indent}{start}{part}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_fits_eighty_columns() {
        let text = wrapped(&"some words of a story ".repeat(30), "");
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(wrapped("a\n\n  b  c", INDENT), "  a\n\n    b  c\n", "what fits stays as it is");
    }

    #[test]
    fn the_images_are_the_same_every_time_and_share_their_base() {
        let (one, two) = (images::all().unwrap(), images::all().unwrap());
        assert_eq!(one.len(), 4);
        assert!(one.iter().zip(&two).all(|(a, b)| a.root == b.root && a.content == b.content));
        let layer = |image: &DemoImage| image.content[0].0.digest;
        assert_eq!(layer(&one[0]), layer(&one[1]));
        assert_ne!(one[0].root, one[1].root);
        // Children come before what names them.
        assert_eq!(one[0].content.last().unwrap().0, one[0].root);
    }
}
