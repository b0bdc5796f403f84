//! `lapis verify`: goes through a store and says what is damaged.
//!
//! Each damaged row is a line on standard output: what a script counts, or keeps for whoever asks.

use std::{cell::RefCell, path::PathBuf, time::Instant};

use lapis_protocol_spec::Kzg;
use lapis_storage::{Damage, Fate, Repaired, Store, StoreError, VerifyOptions, VerifyProgress};

use super::{
    CliError, VerifyArgs,
    dispatch::{print, table},
    offline::{IfAbsent, Offline},
    progress::{Detail, Progress},
};

/// Why a store is not as it should be.
#[derive(Debug, thiserror::Error)]
enum VerifyFailed {
    #[error("{dir}: {damages} damaged rows; `--repair` mends what can be mended")]
    Damaged { dir: PathBuf, damages: u64 },
    #[error("{dir}: {left} damaged rows are left; importing an archive of their heights mends values and certificates")]
    Left { dir: PathBuf, left: u64 },
    #[error("{dir}: {blobs} blobs could not be checked, is there too little memory?")]
    Unchecked { dir: PathBuf, blobs: u64 },
    #[error("{dir}: stopped after {heights} heights")]
    Store { dir: PathBuf, heights: u64, source: StoreError },
}

pub(super) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let offline = Offline::open(&args.dir, IfAbsent::Refuse)?;
    let kzg = if args.deep { Some(offline.kzg()?) } else { None };
    let pass = Pass::new(&offline, kzg.as_deref());
    let dir = || args.dir.clone();
    let failed = |source, heights| CliError::failed(VerifyFailed::Store { dir: dir(), heights, source });
    if args.repair {
        let repaired = pass.repair().map_err(|source| failed(source, pass.heights()))?;
        let left = repaired.left;
        pass.end(&repair_lines(&repaired))?;
        return if left == 0 { Ok(()) } else { Err(CliError::failed(VerifyFailed::Left { dir: dir(), left })) };
    }
    let VerifyProgress { damages, unchecked, .. } = pass.verify().map_err(|source| failed(source, pass.heights()))?;
    pass.end(&[("damaged", damages.to_string())])?;
    match (damages, unchecked) {
        (0, 0) => Ok(()),
        (0, blobs) => Err(CliError::failed(VerifyFailed::Unchecked { dir: dir(), blobs })),
        (damages, _) => Err(CliError::failed(VerifyFailed::Damaged { dir: dir(), damages })),
    }
}

fn repair_lines(repaired: &Repaired) -> [(&'static str, String); 4] {
    let Repaired { made_again, dropped, left, orphans } = *repaired;
    [
        ("made again", made_again.to_string()),
        ("dropped", dropped.to_string()),
        ("left", left.to_string()),
        ("orphans", orphans.to_string()),
    ]
}

/// One pass over a store.
struct Pass<'a> {
    store: &'a Store,
    options: VerifyOptions<'a>,
    /// What the library's two callbacks share.
    shown: RefCell<Shown>,
}

struct Shown {
    progress: Progress,
    heights: u64,
    /// The first failure to write to standard output.
    output: Result<(), CliError>,
}

impl<'a> Pass<'a> {
    fn new(offline: &'a Offline, kzg: Option<&'a Kzg>) -> Self {
        let marks = offline.store.watermarks();
        let total = marks.decided.saturating_add(1).saturating_sub(marks.earliest_value.max(1));
        let progress = Progress::new("verify", total, Instant::now());
        Self {
            store: &offline.store,
            options: VerifyOptions { deep: kzg, threads: offline.threads() },
            shown: RefCell::new(Shown { progress, heights: 0, output: Ok(()) }),
        }
    }

    fn verify(&self) -> Result<VerifyProgress, StoreError> {
        self.store.verify(self.options, |at| self.show(at), |damage| self.tell(&damage.to_string()))
    }

    fn repair(&self) -> Result<Repaired, StoreError> {
        self.store.repair(self.options, |at| self.show(at), |damage, fate| self.tell(&fate_line(&damage, fate)))
    }

    fn show(&self, at: VerifyProgress) {
        let mut shown = self.shown.borrow_mut();
        shown.heights = at.heights;
        shown.progress.show(at.heights, Detail::Damaged(at.damages), Instant::now());
    }

    fn tell(&self, text: &str) {
        let mut shown = self.shown.borrow_mut();
        if shown.output.is_ok() {
            let line = format!("{text}\n");
            shown.output = shown.progress.aside(|| print(&line));
        }
    }

    fn heights(&self) -> u64 {
        self.shown.borrow().heights
    }

    /// Takes the bar away and prints what there is to say in the end.
    fn end(self, lines: &[(&str, String)]) -> Result<(), CliError> {
        let Shown { progress, heights, output } = self.shown.into_inner();
        progress.finish();
        output?;
        let mut all = vec![("heights", heights.to_string())];
        all.extend_from_slice(lines);
        print(&table(&all))
    }
}

fn fate_line(damage: &Damage, fate: Fate) -> String {
    let fate = match fate {
        Fate::MadeAgain => "made again",
        Fate::Dropped => "dropped, to be fetched again",
        Fate::Left => "left",
    };
    format!("{damage}: {fate}")
}
