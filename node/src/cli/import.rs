//! `lapis import`: an archive into the store, believed no more than a peer.

use std::{fmt, fs::File, io, ops::ControlFlow, path::PathBuf, time::Instant};

use bytesize::ByteSize;
use lapis_protocol_spec::archive::Header;
use tokio_util::sync::CancellationToken;

use super::{
    CliError, ImportArgs,
    dispatch::{print, table},
    launch::with_runtime,
    offline::{IfAbsent, Offline},
    progress::{Detail, Progress},
};
use crate::{
    archive::{self, ArchiveReader, ImportError, ImportOutcome, Imported, ReadError},
    data_dir::DataDir,
};

/// Why an archive was not taken, or only in part.
#[derive(Debug, thiserror::Error)]
enum ImportFailed {
    #[error("cannot open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Header { path: PathBuf, source: ReadError },
    #[error("{path}: {source}")]
    Refused { path: PathBuf, source: ImportError },
    #[error("{path}: {source}; kept what came before: {kept}")]
    Broken { path: PathBuf, source: ImportError, kept: Kept },
}

/// What an import has brought, in a few words.
#[derive(Debug)]
struct Kept(Imported);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Imported { values, payloads, blobs, .. } = self.0;
        write!(f, "{values} new values, {payloads} payloads, {blobs} blobs")
    }
}

pub(super) fn run(args: &ImportArgs) -> Result<(), CliError> {
    let path = || args.file.clone();
    let file =
        File::open(&args.file).map_err(|source| CliError::bad_input(ImportFailed::Open { path: path(), source }))?;
    let archive = ArchiveReader::open(file)
        .map_err(|source| CliError::bad_input(ImportFailed::Header { path: path(), source }))?;
    fits(args, archive.header())?;
    let offline = Offline::open(&args.dir, IfAbsent::Create)?;
    with_runtime(|stop| async move {
        let ImportOutcome { imported, error } = take(&offline, archive, &stop)?;
        match error {
            None => print(&table(&[
                ("heights", imported.heights.to_string()),
                ("new values", imported.values.to_string()),
                ("mended values", imported.mended.to_string()),
                ("new payloads", imported.payloads.to_string()),
                ("new blobs", imported.blobs.to_string()),
                ("new data", ByteSize(imported.bytes).to_string()),
                ("available", offline.store.watermarks().available.to_string()),
            ])),
            Some(source @ (ImportError::OtherChain { .. } | ImportError::Detached { .. })) => {
                Err(CliError::bad_input(ImportFailed::Refused { path: path(), source }))
            }
            Some(source) => Err(CliError::failed(ImportFailed::Broken { path: path(), source, kept: Kept(imported) })),
        }
    })
}

/// Refuses what can be refused before a store is made where there is none.
fn fits(args: &ImportArgs, header: &Header) -> Result<(), CliError> {
    let refused = |source| CliError::bad_input(ImportFailed::Refused { path: args.file.clone(), source });
    let dir = DataDir::open(&args.dir)?;
    let (found, expected) = (*header.genesis_id(), dir.genesis()?.id());
    if found != expected {
        return Err(refused(ImportError::OtherChain { found, expected }));
    }
    if header.first() > 1 && !dir.store_path().exists() {
        return Err(refused(ImportError::Detached { first: header.first(), tip: 0 }));
    }
    Ok(())
}

fn take(offline: &Offline, archive: ArchiveReader<File>, stop: &CancellationToken) -> Result<ImportOutcome, CliError> {
    let kzg = offline.kzg()?;
    let total = (archive.header().last() - archive.header().first()).saturating_add(1);
    let mut progress = Progress::new("import", total, Instant::now());
    let Offline { store, chain, .. } = offline;
    let outcome = archive::import(store, chain, &kzg, archive, offline.threads(), &mut |imported| {
        let Imported { heights, blobs, bytes, .. } = *imported;
        progress.show(heights, Detail::Moved { blobs, bytes }, Instant::now());
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    Ok(outcome)
}
