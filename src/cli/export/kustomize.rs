//! `bundle export kustomize`.

use super::input::From;
use crate::{
    cli::{Context, Failure, OutputError, ui},
    names::{Layout, Target},
    oci::{Digest, Reference},
    relocate::{Names, component},
};

/// Write a kustomize component that renames the images: list it under `components` of a kustomization.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    from: From,
    /// Where the images are: HOST[:PORT][/PREFIX], as given to `bundle load`.
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Names in the target, as given to `bundle load`: source, host, flat, or depth=N.
    #[arg(long, value_name = "LAYOUT", default_value = "source")]
    layout: Layout,
    /// Pin every image to its digest that was carried in one version only.
    #[arg(long)]
    digests: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let content = self.from.content(context)?;
        let images: Vec<(Reference, Digest)> =
            content.images.into_iter().map(|image| (image.reference, image.digest)).collect();
        let mut names = Names::new(self.to, self.layout).carrying(images.clone())?;
        let text = component(&images, &mut names, self.digests)?;
        Ok(ui::write_all(text.as_bytes()).map_err(OutputError)?)
    }
}
