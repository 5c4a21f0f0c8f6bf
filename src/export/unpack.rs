//! Unpacks the files of an archive into a folder.
//!
//! # Invariants
//! - Nothing is written outside the folder: paths of an archive cannot escape, and no link on the way is followed.
//! - A file has its name only when every byte of it is what the inventory says.
//! - What is there and says something else stays, unless it may be replaced; this is found out before anything is written.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use serde::Serialize;

use super::Error;
use crate::{
    archive::{Archive, FileEntry, Role, Time},
    error::Side,
    files::{self, Positional, blocking},
    oci::{Descriptor, Digest},
    store::{self, Source},
};

/// How much of a file that is there already is read at once.
const READ: u64 = 1 << 20;

/// One file that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnpackedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// Whether it was there already.
    pub kept: bool,
    /// When its content is too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_until: Option<Time>,
}

/// Unpacks the files of the entries with these names, all when none is named, into `folder`.
///
/// # Errors
/// [`Error::InTheWay`] when files are there and say something else, unless they may be replaced; [`Error::UnknownFiles`];
/// errors of the archive and of the disk. A damaged file is not given its name.
pub async fn unpack(
    archive: &Archive,
    names: &[String],
    folder: &Path,
    replace: bool,
) -> Result<Vec<UnpackedFile>, Error> {
    let wanted = choose(archive.inventory().files.iter(), names)?;
    let found = wanted.iter().map(|file| (file.path.clone(), file.digest, file.size)).collect::<Vec<_>>();
    let place = folder.to_owned();
    let kept = blocking(move || -> Result<Vec<bool>, Error> {
        let mut kept = Vec::with_capacity(found.len());
        let mut other = Vec::new();
        for (path, digest, size) in found {
            let path = files::way_below(&place, &path)?;
            let same = match Positional::open(&path) {
                Ok(file) => is_same(&file, &digest, size)?,
                Err(error) if error.is_missing() => false,
                Err(error) => return Err(error.into()),
            };
            if !same && files::exists(&path) {
                other.push(path);
            }
            kept.push(same);
        }
        match other.is_empty() || replace {
            true => Ok(kept),
            false => Err(Error::InTheWay(other)),
        }
    })
    .await?;
    let mut unpacked = Vec::with_capacity(wanted.len());
    for (file, kept) in wanted.into_iter().zip(kept) {
        let path = folder.join(file.path.as_str());
        if !kept {
            let (place, below) = (folder.to_owned(), file.path.clone());
            blocking(move || files::make_way_below(&place, &below)).await?;
            write(archive, file, &path).await?;
        }
        let FileEntry { size, digest, fresh_until, .. } = file;
        unpacked.push(UnpackedFile { path, size: *size, digest: *digest, kept, fresh_until: *fresh_until });
    }
    Ok(unpacked)
}

/// Takes the files of the named entries: an entry is the first part of a path.
fn choose<'a>(files: impl Iterator<Item = &'a FileEntry>, names: &[String]) -> Result<Vec<&'a FileEntry>, Error> {
    let all: Vec<&FileEntry> = files.filter(|file| file.role == Role::File).collect();
    let is_of = |file: &FileEntry, name: &str| {
        file.path.as_str().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let unknown: Vec<String> = names.iter().filter(|name| !all.iter().any(|file| is_of(file, name))).cloned().collect();
    if !unknown.is_empty() {
        let mut known: Vec<String> =
            all.iter().map(|file| file.path.as_str().split('/').next().unwrap_or_default().to_owned()).collect();
        known.dedup();
        return Err(Error::UnknownFiles { unknown, known });
    }
    Ok(all.into_iter().filter(|file| names.is_empty() || names.iter().any(|name| is_of(file, name))).collect())
}

fn is_same(file: &Positional, digest: &Digest, size: u64) -> Result<bool, files::Error> {
    if file.len()? != size {
        return Ok(false);
    }
    let mut hasher = digest.algorithm().hasher();
    let mut buffer = vec![0; usize::try_from(READ.min(size)).unwrap_or(0)];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(READ.min(size - at)).unwrap_or(0);
        file.read_exact_at(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(hasher.finish() == *digest)
}

async fn write(archive: &Archive, file: &FileEntry, path: &Path) -> Result<(), Error> {
    let descriptor = Descriptor::new("application/octet-stream", file.digest, file.size);
    let mut reader = archive.source().open(&descriptor, 0, file.size).await?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = Positional::open_exclusive(&path.with_file_name(name))?;
    partial.set_len(0)?;
    let mut hasher = file.digest.algorithm().hasher();
    let mut at = 0;
    while let Some(bytes) = reader.try_next().await? {
        hasher.update(&bytes);
        partial.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    let actual = hasher.finish();
    if actual != file.digest {
        files::remove(partial.path())?;
        return Err(store::Error::Corrupt { side: Side::Source, expected: file.digest, actual }.into());
    }
    partial.sync()?;
    Ok(files::rename_durably(partial.path(), path)?)
}
