//! `lapis db`: what a store takes, and its file cut to what it needs.

use std::{io::IsTerminal, ops::Range, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use indicatif::ProgressBar;
use lapis_protocol_spec::Height;
use lapis_storage::{PageUse, PhaseTallies, StoreError, StoreStats, TableDetail, TableSize, Tally, Watermarks};
use serde_json::{Value as Json, json};

use super::{
    CliError, DirArgs, StatsArgs,
    dispatch::{print, table},
    offline::{IfAbsent, Offline},
};

/// Gaps that are listed for people; JSON has all of them.
const LISTED_GAPS: usize = 8;
/// Time between two steps of the sign that compaction goes on.
const TICK: Duration = Duration::from_millis(100);

/// A store could not be looked at, or not be compacted.
#[derive(Debug, thiserror::Error)]
#[error("{dir}")]
struct DbFailed {
    dir: PathBuf,
    source: StoreError,
}

/// A look at a store.
struct Look {
    stats: StoreStats,
    blob_floor: Height,
    gaps: Vec<Range<Height>>,
    tables: Vec<TableSize>,
}

/// `lapis db stats`.
pub(super) fn stats(args: &StatsArgs) -> Result<(), CliError> {
    let offline = Offline::open(&args.dir, IfAbsent::Refuse)?;
    let failed = |source| CliError::failed(DbFailed { dir: args.dir.clone(), source });
    let detail = if args.pages { TableDetail::Pages } else { TableDetail::Rows };
    let look = Look {
        stats: offline.store.stats().map_err(failed)?,
        blob_floor: offline.store.blob_floor(),
        gaps: offline.store.gaps().iter().collect(),
        tables: offline.store.tables(detail).map_err(failed)?,
    };
    if args.json { print(&format!("{}\n", look.json())) } else { print(&look.text()) }
}

/// `lapis db compact`.
pub(super) fn compact(args: &DirArgs) -> Result<(), CliError> {
    let offline = Offline::open(&args.dir, IfAbsent::Refuse)?;
    let failed = |source| CliError::failed(DbFailed { dir: args.dir.clone(), source });
    let before = offline.store.stats().map_err(failed)?;
    let sign = std::io::stderr().is_terminal().then(|| ProgressBar::new_spinner().with_message("compacting"));
    if let Some(sign) = &sign {
        sign.enable_steady_tick(TICK);
    }
    let result = offline.store.compact();
    if let Some(sign) = sign {
        sign.finish_and_clear();
    }
    result.map_err(failed)?;
    let after = offline.store.stats().map_err(failed)?;
    let sizes = |stats: &StoreStats| format!("{} ({} on disk)", size(stats.file_bytes), size(stats.allocated_bytes));
    print(&table(&[("before", sizes(&before)), ("after", sizes(&after))]))
}

impl Look {
    fn text(&self) -> String {
        let StoreStats { tallies, watermarks: marks, file_bytes, allocated_bytes } = &self.stats;
        let mut lines = vec![
            ("file", format!("{} ({} on disk)", size(*file_bytes), size(*allocated_bytes))),
            ("decided", marks.decided.to_string()),
            ("available", marks.available.to_string()),
            ("imported", marks.imported.to_string()),
            ("archived", marks.archived.to_string()),
            ("pruned", marks.pruned.to_string()),
            ("values from", marks.earliest_value.to_string()),
            ("payloads from", marks.earliest_payload.to_string()),
            ("blobs from", self.blob_floor.to_string()),
            ("incomplete", self.gaps_text()),
            ("values", phases_text(&[("decided", tallies.values_decided), ("undecided", tallies.values_undecided)])),
            ("payloads", phases_text(&phases(&tallies.payloads))),
            ("blobs", phases_text(&phases(&tallies.blobs))),
        ];
        lines.extend(self.tables.iter().map(|table| (table.name, table_text(table))));
        table(&lines)
    }

    fn gaps_text(&self) -> String {
        let heights: u64 = self.gaps.iter().map(|gap| gap.end.saturating_sub(gap.start)).sum();
        if heights == 0 {
            return "no height".to_owned();
        }
        let listed: Vec<_> = self.gaps.iter().take(LISTED_GAPS).map(span).collect();
        let more = self.gaps.len().saturating_sub(LISTED_GAPS);
        let more = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
        format!("{heights} heights: {}{more}", listed.join(", "))
    }

    fn json(&self) -> Json {
        let StoreStats { tallies, watermarks, file_bytes, allocated_bytes } = &self.stats;
        let Watermarks { decided, available, imported, archived, pruned, earliest_value, earliest_payload, .. } =
            watermarks;
        json!({
            "file_bytes": file_bytes,
            "allocated_bytes": allocated_bytes,
            "watermarks": {
                "decided": decided, "available": available, "imported": imported, "archived": archived,
                "pruned": pruned,
            },
            "floors": { "values": earliest_value, "payloads": earliest_payload, "blobs": self.blob_floor },
            "incomplete": self.gaps.iter().map(|gap| [gap.start, gap.end.saturating_sub(1)]).collect::<Vec<_>>(),
            "values": phases_json(&[("decided", tallies.values_decided), ("undecided", tallies.values_undecided)]),
            "payloads": phases_json(&phases(&tallies.payloads)),
            "blobs": phases_json(&phases(&tallies.blobs)),
            "tables": self.tables.iter().map(table_json).collect::<Vec<_>>(),
        })
    }
}

fn phases(tallies: &PhaseTallies) -> [(&'static str, Tally); 4] {
    let PhaseTallies { undecided, decided, archived, pruned } = *tallies;
    [("undecided", undecided), ("decided", decided), ("archived", archived), ("pruned", pruned)]
}

/// Phases in which there is something.
fn phases_text(phases: &[(&str, Tally)]) -> String {
    let parts: Vec<String> = phases
        .iter()
        .filter(|(_, tally)| tally.count > 0)
        .map(|(name, Tally { count, bytes })| format!("{count} {name} ({})", size(*bytes)))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn phases_json(phases: &[(&str, Tally)]) -> Json {
    let entry = |(name, Tally { count, bytes }): &(&str, Tally)| {
        ((*name).to_owned(), json!({ "count": count, "bytes": bytes }))
    };
    Json::Object(phases.iter().map(entry).collect())
}

fn table_text(table: &TableSize) -> String {
    let pages = table.pages.map_or_else(String::new, |pages| {
        let PageUse { stored_bytes, metadata_bytes, unused_bytes } = pages;
        format!(": {} stored, {} of trees, {} unused", size(stored_bytes), size(metadata_bytes), size(unused_bytes))
    });
    format!("table of {} rows{pages}", table.rows)
}

fn table_json(table: &TableSize) -> Json {
    match table.pages {
        None => json!({ "name": table.name, "rows": table.rows }),
        Some(PageUse { stored_bytes, metadata_bytes, unused_bytes }) => json!({
            "name": table.name, "rows": table.rows,
            "stored_bytes": stored_bytes, "metadata_bytes": metadata_bytes, "unused_bytes": unused_bytes,
        }),
    }
}

fn span(gap: &Range<Height>) -> String {
    format!("{}..{}", gap.start, gap.end.saturating_sub(1))
}

fn size(bytes: u64) -> ByteSize {
    ByteSize(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn look(gaps: Vec<Range<Height>>) -> Look {
        Look { stats: StoreStats::default(), blob_floor: 1, gaps, tables: Vec::new() }
    }

    #[test]
    fn few_gaps_are_listed_and_many_are_counted() {
        assert_eq!(look(Vec::new()).gaps_text(), "no height");
        assert_eq!(look(vec![3..4, 7..10]).gaps_text(), "4 heights: 3..3, 7..9");
        let many = look((0..10).map(|at| 10 * at..10 * at + 1).collect());
        assert!(many.gaps_text().ends_with("70..70 and 2 more ranges"), "{}", many.gaps_text());
        assert_eq!(many.json()["incomplete"].as_array().unwrap().len(), 10);
    }

    #[test]
    fn empty_phases_are_left_out_of_the_text_alone() {
        let tallies = PhaseTallies { decided: Tally { count: 2, bytes: 2048 }, ..PhaseTallies::default() };
        assert_eq!(phases_text(&phases(&tallies)), "2 decided (2.0 KiB)");
        assert_eq!(phases_text(&phases(&PhaseTallies::default())), "none");
        assert_eq!(phases_json(&phases(&tallies))["archived"], json!({ "count": 0, "bytes": 0 }));
    }
}
