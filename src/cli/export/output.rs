//! Writing the files of an export: into a folder, or to standard output.

use std::path::{Path, PathBuf};

use crate::{
    cli::{Failure, OutputError, ui},
    error::{Classify, Kind},
    export::Sheet,
    files,
};

/// Where the files go.
#[derive(Debug, clap::Args)]
pub(super) struct Into {
    /// Write the files into this folder; without it, they are printed.
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace files that are there and say something else.
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// Files with other content are in the way.
#[derive(Debug, thiserror::Error)]
#[error("{} is there and says something else; nothing was written: --force replaces it", paths.first().map(|path| path.display().to_string()).unwrap_or_default())]
struct InTheWay {
    paths: Vec<PathBuf>,
}

impl Classify for InTheWay {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

impl Into {
    /// Writes all files, or none when one is in the way.
    pub fn write(&self, sheets: &[Sheet]) -> Result<(), Failure> {
        let Some(folder) = &self.output else {
            return print(sheets);
        };
        if !self.force {
            let differs = |sheet: &&Sheet| match files::read_limited(&place(folder, sheet), 64 << 20) {
                Ok(found) => found != sheet.text.as_bytes(),
                Err(error) => !error.is_missing(),
            };
            let paths: Vec<PathBuf> = sheets.iter().filter(differs).map(|sheet| place(folder, sheet)).collect();
            if !paths.is_empty() {
                return Err(InTheWay { paths }.into());
            }
        }
        let mut listed = String::new();
        for sheet in sheets {
            let path = place(folder, sheet);
            files::create_folder(path.parent().unwrap_or(folder))?;
            files::atomic_write(&path, sheet.text.as_bytes())?;
            listed.push_str(&format!("{}\n", path.display()));
        }
        Ok(ui::write_all(listed.as_bytes()).map_err(OutputError)?)
    }
}

fn place(folder: &Path, sheet: &Sheet) -> PathBuf {
    folder.join(sheet.path.as_str())
}

/// Prints one file as it is, several with their names between them.
fn print(sheets: &[Sheet]) -> Result<(), Failure> {
    let text = match sheets {
        [one] => one.text.clone(),
        many => many.iter().map(|sheet| format!("==> {} <==\n{}\n", sheet.path, sheet.text)).collect(),
    };
    Ok(ui::write_all(text.as_bytes()).map_err(OutputError)?)
}
