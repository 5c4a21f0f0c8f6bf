//! A rendering as the text that `helm template` prints.

use super::{Error, glob, manifest::split, render::Rendered};

/// What `helm template` prints besides the manifests.
#[derive(Clone, Debug, Default)]
pub struct Show {
    /// With the files of `crds/`.
    pub include_crds: bool,
    /// Without hooks.
    pub no_hooks: bool,
    /// Without test hooks.
    pub skip_tests: bool,
    /// Only what these templates made; patterns of paths below the chart.
    pub show_only: Vec<String>,
}

/// Returns what `helm template` prints.
///
/// # Errors
/// [`Error::NoSuchTemplate`] when a pattern of `show_only` matches nothing.
pub fn to_helm_template_output(rendered: &Rendered, show: &Show) -> Result<String, Error> {
    let sizes = rendered.manifests.iter().chain(rendered.hooks.iter().map(|hook| &hook.manifest));
    let size: usize = sizes.map(|manifest| manifest.template.len() + manifest.text.len() + 20).sum();
    let mut out = String::with_capacity(size);
    let put = |out: &mut String, source: &str, text: &str| {
        for part in ["---\n# Source: ", source, "\n", text, "\n"] {
            out.push_str(part);
        }
    };
    if show.include_crds {
        rendered.crds.iter().for_each(|crd| put(&mut out, &crd.path, &crd.text));
    }
    rendered.manifests.iter().for_each(|manifest| put(&mut out, &manifest.template, &manifest.text));
    // helm trims what comes before the hooks.
    out.truncate(out.trim_end().len());
    out.push('\n');
    if !show.no_hooks {
        for hook in rendered.hooks.iter().filter(|hook| !(show.skip_tests && hook.is_test())) {
            put(&mut out, &hook.manifest.template, &hook.manifest.text);
        }
    }
    if show.show_only.is_empty() {
        return Ok(out);
    }
    let parts: Vec<&str> = split(&out).into_iter().map(|(start, end)| &out[start..end]).collect();
    let mut shown = String::new();
    for pattern in &show.show_only {
        let mut missing = true;
        for part in &parts {
            let source = part.find("# Source: ").and_then(|at| {
                let line = part[at + 10..].lines().next()?;
                Some(line.split_once('/')?.1)
            });
            if source.is_some_and(|source| glob::shell_match(pattern, source) == Some(true)) {
                shown.push_str(&format!("---\n{part}\n"));
                missing = false;
            }
        }
        if missing {
            return Err(Error::NoSuchTemplate(pattern.clone()));
        }
    }
    Ok(shown)
}
