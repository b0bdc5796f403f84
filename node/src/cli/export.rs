//! `lapis export`: a range of heights into an archive, all of it or nothing.

use std::{
    fs::File,
    io::{self, BufWriter},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use bytesize::ByteSize;
use lapis_protocol_spec::archive::Header;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::{
    CliError, ExportArgs, HeightSpan,
    dispatch::{print, table},
    launch::with_runtime,
    offline::{IfAbsent, Offline},
    progress::{Detail, Progress},
};
use crate::archive::{self, Gap, WriteError, Written};

/// Why nothing was exported. Nothing was changed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{span} cannot be exported: height {height}: {gap}")]
    NotWhole { span: HeightSpan, height: u64, gap: Gap },
    #[error("{0} exists already")]
    Exists(PathBuf),
    #[error("{0} is not the name of a file")]
    NotAName(PathBuf),
    #[error("cannot create a file in {path}")]
    Create { path: PathBuf, source: io::Error },
}

/// Why an export came to nothing.
#[derive(Debug, thiserror::Error)]
enum ExportFailed {
    #[error("{path}: nothing was written")]
    Write { path: PathBuf, source: WriteError },
    #[error("cannot finish {path}")]
    Finish { path: PathBuf, source: io::Error },
}

pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let offline = Offline::open(&args.dir, IfAbsent::Refuse)?;
    let gap = archive::first_gap(&offline.store, args.range.heights()).map_err(CliError::failed)?;
    if let Some((height, gap)) = gap {
        return Err(CliError::bad_input(Refused::NotWhole { span: args.range, height, gap }));
    }
    let genesis = offline.chain.genesis().clone();
    let header = Header::new(args.compression.into(), args.range.first, args.range.last, genesis);
    let header = header.map_err(CliError::bad_input)?;
    let file = create(&args.out)?;
    with_runtime(|stop| async move {
        let (written, file_bytes) = fill(&offline, &header, file, &args.out, &stop).map_err(CliError::failed)?;
        let lines = [
            ("archive", args.out.display().to_string()),
            ("heights", args.range.to_string()),
            ("blobs", written.blobs.to_string()),
            ("content", ByteSize(written.bytes).to_string()),
            ("file", ByteSize(file_bytes).to_string()),
        ];
        print(&table(&lines))
    })
}

/// A file beside `out` that goes away by itself unless it is completed.
fn create(out: &Path) -> Result<NamedTempFile<File>, CliError> {
    let name = out.file_name().ok_or_else(|| CliError::bad_input(Refused::NotAName(out.to_owned())))?;
    if out.symlink_metadata().is_ok() {
        return Err(CliError::bad_input(Refused::Exists(out.to_owned())));
    }
    let dir = directory(out);
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    // `File::create_new` gives the permissions that files of the user have.
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".partial")
        .make_in(dir, |path| File::create_new(path))
        .map_err(|source| CliError::bad_input(Refused::Create { path: dir.to_owned(), source }))
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the archive and gives it its name; its bytes.
fn fill(
    offline: &Offline,
    header: &Header,
    file: NamedTempFile<File>,
    out: &Path,
    stop: &CancellationToken,
) -> Result<(Written, u64), ExportFailed> {
    let path = || out.to_owned();
    let total = (header.last() - header.first()).saturating_add(1);
    let mut progress = Progress::new("export", total, Instant::now());
    let mut sink = BufWriter::new(file);
    let written = archive::write(&offline.store, header, &mut sink, &mut |written| {
        let Written { heights, blobs, bytes } = *written;
        progress.show(heights, Detail::Moved { blobs, bytes }, Instant::now());
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let written = written.map_err(|source| ExportFailed::Write { path: path(), source })?;
    let finish = |source| ExportFailed::Finish { path: path(), source };
    let file = sink.into_inner().map_err(|error| finish(error.into_error()))?;
    file.as_file().sync_all().map_err(finish)?;
    let file = file.persist_noclobber(out).map_err(|error| finish(error.error))?;
    File::open(directory(out)).and_then(|dir| dir.sync_all()).map_err(finish)?;
    let bytes = file.metadata().map_err(finish)?.len();
    Ok((written, bytes))
}
