//! `bundle keygen`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, OutputError, args::Output, env, ui, ui::Ui};
use crate::{
    files,
    trust::{SigningKey, SystemRandomness},
};

/// Make a key pair for signing archives: an encrypted private key that cosign reads too, and its public key.
///
/// The passphrase comes from COSIGN_PASSWORD, from the file that BUNDLE_PASSWORD_FILE names, or is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the keys go: PREFIX.key and PREFIX.pub.
    #[arg(long, value_name = "PREFIX", default_value = "bundle")]
    output_key_prefix: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    private_key: String,
    public_key: String,
    key_id: String,
    fingerprint: String,
}

impl Args {
    pub fn run(self) -> Result<(), Failure> {
        let with = |extension: &str| {
            let mut path = self.output_key_prefix.clone().into_os_string();
            path.push(extension);
            PathBuf::from(path)
        };
        let (private, public) = (with(".key"), with(".pub"));
        // Asking for a passphrase only to refuse afterwards would be rude.
        for path in [&private, &public] {
            if files::exists(path) {
                return Err(files::Error::Exists { path: path.clone() }.into());
            }
        }
        let passphrase = env::new_passphrase(&private)?;
        let key = SigningKey::generate(&mut SystemRandomness)?;
        let public_key = key.public();
        // The private key first: a public key without its other half is of no use to anyone.
        files::create_new_private(&private, key.seal(&passphrase, &mut SystemRandomness)?.as_bytes())?;
        files::create_new(&public, public_key.to_pem().as_bytes())?;
        let made = Made {
            private_key: private.display().to_string(),
            public_key: public.display().to_string(),
            key_id: public_key.id().to_string(),
            fingerprint: public_key.fingerprint(),
        };
        Ui { format: self.output.format }
            .print(&made, || {
                ui::table(
                    &["what", "value"],
                    [
                        vec!["private key".into(), format!("{} (keep it on the connected side)", made.private_key)],
                        vec!["public key".into(), format!("{} (give it to the enclave)", made.public_key)],
                        vec!["fingerprint".into(), made.fingerprint.clone()],
                    ],
                )
            })
            .map_err(OutputError)?;
        Ok(())
    }
}
