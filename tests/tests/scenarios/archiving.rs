//! Archiving into object stores, and pruning of what is archived only.

use std::{
    fs,
    net::Ipv4Addr,
    num::NonZeroUsize,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use lapis_node::{
    archive::{self, ArchiveReader},
    config::{ArchiveCompression, BlobRetention, PrunePolicy},
    devnet::spec::DevnetParams,
    object_archive::{ArchiveName, Location, ObjectArchive, S3Options, UploadError, WriterTag},
};
use lapis_protocol_spec::{Height, archive::Index};
use lapis_storage::{Store, StoreConfig};
use lapis_tests::{
    Home, Program, S3Server, ScriptedPeer, Setup, TestChain, TestNode, assert_holds, held_blobs, kzg, patiently,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Heights of one archive.
const SIZE: u64 = 4;

/// 14 heights; every node keeps blobs for 3 of them.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let params = DevnetParams { blob_retention_heights: 3, ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [2, 1, 0, 3, 17, 2, 1, 1, 2, 0, 3, 1, 2, 1]))
});

/// A node that archives to `directory`.
fn archiving(directory: &Path) -> Setup {
    let mut setup = Setup::default();
    setup.config.archive.upload_to = Some(Location::Directory(directory.to_owned()));
    setup.config.archive.heights_per_file = SIZE.try_into().unwrap();
    setup.config.retention.blob_heights = BlobRetention::All;
    setup
}

/// Where the archives of `chain` are below `directory`.
fn base(directory: &Path, chain: &TestChain) -> PathBuf {
    directory.join(&chain.chain().id().to_string()[2..18])
}

/// Files with this extension, sorted by name and so by height.
fn files(base: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

async fn archived(node: &TestNode, height: Height) {
    node.watermarks(&format!("archives up to {height}"), |marks| marks.archived >= height).await;
}

/// A new store that has imported `archives`.
fn import_all(chain: &TestChain, archives: &[PathBuf]) -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("store.redb"), chain.spec().genesis(), StoreConfig::default()).unwrap();
    for path in archives {
        let reader = ArchiveReader::open(fs::File::open(path).unwrap()).unwrap();
        let threads = NonZeroUsize::MIN;
        let go_on = &mut |_: &archive::Imported| ControlFlow::Continue(());
        let outcome = archive::import(&store, &chain.chain(), &kzg(), reader, threads, go_on);
        assert!(outcome.error.is_none(), "{}: {:?}", path.display(), outcome.error);
    }
    (dir, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_archives_are_written_each_with_its_index_and_import_elsewhere() {
    for compression in [ArchiveCompression::Zstd, ArchiveCompression::None] {
        let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
        let mut setup = archiving(place.path());
        setup.config.archive.compression = compression;
        let node = Home::holding(&chain, chain.blocks()).start(setup).await;
        archived(&node, 12).await;
        let waiting = node.status("the two heights that wait", |status| {
            status.archiver.as_ref().is_some_and(|archiver| archiver.pending_heights == 2 && archiver.writing.is_none())
        });
        assert_eq!(waiting.await.archiver.unwrap().failure, None);
        node.stop().await;

        let base = base(place.path(), &chain);
        let (archives, indices) = (files(&base, "lapis"), files(&base, "index"));
        assert_eq!((archives.len(), indices.len(), fs::read_dir(&base).unwrap().count()), (3, 3, 6));
        for (number, path) in (0..).zip(&indices) {
            let index = Index::decode(&fs::read(path).unwrap()).unwrap();
            assert_eq!((index.first(), index.last()), (1 + SIZE * number, SIZE * (number + 1)));
            let certified = &*chain.block(index.last()).decided;
            assert_eq!(index.record(index.last()).unwrap().decided(), certified);
        }
        let (_dir, store) = import_all(&chain, &archives);
        assert_holds(&store, chain.up_to(12));
    }
}

/// Archives cannot be written while a file lies where their directory is to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_fails_holds_up_pruning_and_nothing_else() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let obstacle = base(place.path(), &chain);
    fs::write(&obstacle, "not a directory").unwrap();
    let peer = ScriptedPeer::honest(&chain).await;
    let mut setup = archiving(place.path());
    setup.config.network.peers = vec![peer.address()];
    setup.config.retention.blob_heights = BlobRetention::Genesis;
    setup.config.retention.prune = PrunePolicy::AfterArchive;
    let node = Home::new(&chain).start(setup).await;
    node.imported(chain.last()).await;
    let status = node.status("failures", |status| status.archiver.as_ref().is_some_and(|found| found.failures >= 2));
    let archiver = status.await.archiver.unwrap();
    assert_eq!(archiver.pending_heights, 14);
    assert!(archiver.failure.as_ref().is_some_and(|failure| failure.starts_with("heights 1 to 4: cannot write")));
    assert_eq!(held_blobs(node.store(), chain.blocks()).len(), chain.blob_count(), "pruned before it was archived");

    fs::remove_file(&obstacle).unwrap();
    // 11 heights are older than the retention; the archive of the last 3 of these is full with the twelfth.
    node.watermarks("pruning of what is archived", |marks| marks.archived == 12 && marks.earliest_blob == 12).await;
    let recovered =
        node.status("no failure", |status| status.archiver.as_ref().is_some_and(|found| found.failures == 0));
    assert_eq!(recovered.await.archiver.unwrap().failure, None);
    let kept = chain.blocks()[11..].iter().flat_map(|block| &block.blobs).map(|blob| (blob.height, blob.index));
    node.until("the deletion of the rows", async || {
        (held_blobs(node.store(), chain.blocks()) == kept.clone().collect()).then_some(())
    })
    .await;
    let (_dir, store) = import_all(&chain, &files(&obstacle, "lapis"));
    assert_holds(&store, chain.up_to(12));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_with_what_is_pending_and_writes_nothing_again() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let node = Home::holding(&chain, chain.up_to(6)).start(archiving(place.path())).await;
    archived(&node, 4).await;
    let home = node.stop().await;
    let base = base(place.path(), &chain);
    assert_eq!(files(&base, "lapis").len(), 1);
    // Whoever looks after the archive may have moved it: what is noted as archived is not written again.
    fs::remove_dir_all(&base).unwrap();
    chain.fill(&home.store(), &chain.blocks()[6..], |_, _| false);
    let node = home.start(archiving(place.path())).await;
    archived(&node, 12).await;
    node.stop().await;
    let indices =
        files(&base, "index").into_iter().map(|path| Index::decode(&fs::read(path).unwrap()).unwrap().first());
    assert_eq!(indices.collect::<Vec<_>>(), [5, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_gone_from_the_archive_is_archived_again_before_it_is_pruned() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let node = Home::holding(&chain, chain.blocks()).start(archiving(place.path())).await;
    archived(&node, 12).await;
    let home = node.stop().await;
    let base = base(place.path(), &chain);
    // One archive has gone, another one is cut off.
    let written = files(&base, "lapis");
    fs::remove_file(&written[1]).unwrap();
    let cut = fs::read(&written[2]).unwrap();
    fs::write(&written[2], &cut[..cut.len() / 2]).unwrap();
    // What an upload that was cut off leaves behind goes with the next one.
    let left_over = PathBuf::from(format!("{}#1", written[1].display()));
    fs::write(&left_over, "left over").unwrap();

    let mut setup = archiving(place.path());
    setup.config.retention.blob_heights = BlobRetention::Genesis;
    setup.config.retention.prune = PrunePolicy::AfterArchive;
    let node = home.start(setup).await;
    node.watermarks("pruning of what is archived", |marks| marks.archived == 12 && marks.earliest_blob == 12).await;
    node.stop().await;
    assert!(!left_over.exists());
    let (_dir, store) = import_all(&chain, &files(&base, "lapis"));
    assert_holds(&store, chain.up_to(12));
}

/// As a file system that is not mounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_there_is_not_made_up() {
    let place = TempDir::new().unwrap();
    let mounted = place.path().join("mounted");
    let (location, id) = (Location::Directory(mounted.clone()), *CHAIN.chain().id());
    let open = || ObjectArchive::open(&location, &S3Options::default(), Duration::from_secs(5), &id);
    assert!(open().unwrap_err().to_string().contains("mounted"));

    fs::create_dir(&mounted).unwrap();
    let archive = open().unwrap();
    fs::remove_dir(&mounted).unwrap();
    let name = ArchiveName { first: 1, last: 4, writer: WriterTag::of(&libp2p::PeerId::random()) };
    let failed = archive.upload(&name, &CancellationToken::new(), |sink| sink.write_all(b"archive")).await;
    assert!(matches!(failed, Err(UploadError::Object(_))), "{failed:?}");
    assert!(!mounted.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_height_is_not_archived_before_it_is_mended_and_keeps_no_other_from_it() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let mut keeping = Setup::default();
    keeping.config.retention.blob_heights = BlobRetention::All;
    let node = Home::holding(&chain, chain.blocks()).start(keeping).await;
    node.imported(chain.last()).await;
    let home = node.stop().await;
    // What is imported stays available, whatever happens to it.
    home.damage(&chain.block(2).blobs[0]);
    let node = home.start(archiving(place.path())).await;
    let base = base(place.path(), &chain);
    node.until("the other archives", async || {
        let pending = node.store().unarchived();
        (pending.first() == Some(1) && pending.count() == 6).then_some(())
    })
    .await;
    assert_eq!(files(&base, "lapis").len(), 2);

    let peer = ScriptedPeer::honest(&chain).await;
    node.dial(peer.address()).await;
    archived(&node, 12).await;
    node.stop().await;
    let (_dir, store) = import_all(&chain, &files(&base, "lapis"));
    assert_holds(&store, chain.up_to(12));
}

/// Options for `server` in this process.
fn options(server: &S3Server) -> S3Options {
    S3Options {
        endpoint: Some(server.endpoint()),
        region: Some("us-east-1".to_owned()),
        allow_http: true,
        credentials: Some(server.credentials()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_appears_in_s3_as_a_whole_or_not_at_all() {
    let server = S3Server::start().await;
    let id = *CHAIN.chain().id();
    let open = |options| {
        ObjectArchive::open(&server.location().parse().unwrap(), &options, Duration::from_secs(5), &id).unwrap()
    };
    let archive = open(options(&server));
    let name = ArchiveName { first: 1, last: 4, writer: WriterTag::of(&libp2p::PeerId::random()) };
    let (stop, bytes) = (CancellationToken::new(), vec![7_u8; 20 * 1024 * 1024 + 1]);

    // The code that writes gives up in the middle.
    let part = bytes.clone();
    let failed = archive.upload(&name, &stop, move |sink| {
        sink.write_all(&part)?;
        Err::<(), _>(std::io::Error::other("out of data"))
    });
    assert!(matches!(failed.await, Err(UploadError::Source(error)) if error.to_string() == "out of data"));
    // The upload is told to stop while that code waits for room.
    let (part, stopped) = (bytes.clone(), stop.child_token());
    let told = stopped.clone();
    let failed = archive.upload(&name, &stopped, move |sink| {
        sink.write_all(&part)?;
        told.cancel();
        loop {
            sink.write_all(&part)?;
        }
        #[allow(unreachable_code, reason = "gives the type of what never comes")]
        Ok::<(), std::io::Error>(())
    });
    assert!(matches!(failed.await, Err(UploadError::Interrupted)));
    // Somebody without the right key.
    let wrong = S3Options { credentials: Some(("lapis".to_owned(), "wrong".to_owned())), ..options(&server) };
    let part = bytes.clone();
    let stranger = open(wrong);
    let failed = stranger.upload(&name, &stop, move |sink| sink.write_all(&part));
    assert!(matches!(failed.await, Err(UploadError::Object(_))));
    assert_eq!(server.objects(), Vec::<PathBuf>::new());

    let part = bytes.clone();
    let uploaded = archive.upload(&name, &stop, move |sink| sink.write_all(&part)).await.unwrap();
    assert_eq!(archive.checksum(&name).await.unwrap(), uploaded.checksum);
    let [object] = &server.objects()[..] else { panic!("not one object") };
    assert!(fs::read(object).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_a_service_that_never_answers_stops_when_it_is_told_to() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let options = S3Options {
        endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        region: Some("us-east-1".to_owned()),
        allow_http: true,
        credentials: Some(("lapis".to_owned(), "secret".to_owned())),
    };
    let hours = Duration::from_secs(24 * 3600);
    let archive = ObjectArchive::open(&"s3://heights".parse().unwrap(), &options, hours, CHAIN.chain().id()).unwrap();
    let name = ArchiveName { first: 1, last: 4, writer: WriterTag::of(&libp2p::PeerId::random()) };
    let told = CancellationToken::new();
    let uploading = tokio::spawn({
        let told = told.clone();
        async move { archive.upload(&name, &told, |_| Ok::<(), std::io::Error>(())).await }
    });
    let _connection = patiently("a connection", listener.accept()).await.unwrap();
    told.cancel();
    let stopped = patiently("the end of the upload", uploading).await.unwrap();
    assert!(matches!(stopped, Err(UploadError::Interrupted)));
}

/// `lapis run` archives into S3 through outages of the service and its own sudden ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_archives_into_s3_through_outages_and_kills() {
    let chain = Arc::clone(&CHAIN);
    let mut server = S3Server::start().await;
    let peer = ScriptedPeer::honest(&chain).await;
    let program = Program::init(&chain);
    let mut settings: Vec<(&str, String)> = server.settings();
    settings.extend([
        ("LAPIS_ARCHIVE__UPLOAD_TO", server.location()),
        ("LAPIS_ARCHIVE__HEIGHTS_PER_FILE", SIZE.to_string()),
        ("LAPIS_RETENTION__PRUNE", "after-archive".to_owned()),
    ]);
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();

    server.goes_away().await;
    let mut process = program.run(&[peer.address()], &settings).await;
    peer.log().until("the whole chain", |log| log.told_available() == chain.last()).await;
    process.says("not archived").await;
    process.kill();
    assert_eq!(program.store().watermarks().archived, 0);

    server.comes_back().await;
    let mut process = program.run(&[peer.address()], &settings).await;
    process.says("archived").await;
    process.kill();
    server.goes_away().await;
    let mut process = program.run(&[peer.address()], &settings).await;
    process.says("not archived").await;
    server.comes_back().await;
    process.says("archived").await;
    let complete = async {
        while server.objects().len() < 6 {
            process.says("archived").await;
        }
    };
    patiently("three archives with their indices", complete).await;
    peer.log().until("pruning", |log| log.told().is_some_and(|status| status.earliest_blob_height == 12)).await;
    process.stop().await;
    let marks = program.store().watermarks();
    assert_eq!((marks.archived, marks.earliest_blob), (12, 12));
    let archives: Vec<_> =
        server.objects().into_iter().filter(|path| path.extension().is_some_and(|found| found == "lapis")).collect();
    let (_dir, store) = import_all(&chain, &archives);
    assert_holds(&store, chain.up_to(12));

    // A program without any peer gets all that from there.
    let follower = Program::init(&chain);
    let mut settings: Vec<(&str, String)> = server.settings();
    settings.push(("LAPIS_ARCHIVE__FETCH_FROM", server.location()));
    settings.push(("LAPIS_RETENTION__BLOB_HEIGHTS", "all".to_owned()));
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut process = follower.run(&[], &settings).await;
    process.says("caught up").await;
    process.stop().await;
    assert_holds(&follower.store(), chain.up_to(12));
}

/// Archives of the first 12 heights in `place`, by `writers` nodes.
async fn archives(chain: &Arc<TestChain>, place: &Path, writers: usize) -> Vec<PathBuf> {
    for _ in 0..writers {
        let node = Home::holding(chain, chain.blocks()).start(archiving(place)).await;
        archived(&node, 12).await;
        node.stop().await;
    }
    files(&base(place, chain), "lapis")
}

/// A new node that takes what it lacks from `place`.
fn fetching(place: &Path) -> Setup {
    let mut setup = Setup::default();
    setup.config.archive.fetch_from = vec![Location::Directory(place.to_owned())];
    setup.config.retention.blob_heights = BlobRetention::All;
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_syncs_from_archives_what_its_peers_have_pruned() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    archives(&chain, place.path(), 1).await;
    let mut pruned = Setup::default();
    pruned.config.retention.blob_heights = BlobRetention::Genesis;
    let peer = Home::holding(&chain, chain.blocks()).start(pruned).await;
    peer.watermarks("pruning", |marks| marks.earliest_blob == 12).await;
    let mut setup = fetching(place.path());
    setup.config.network.peers = vec![peer.address()];
    let node = Home::new(&chain).start(setup).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_archive_is_damaged_another_one_of_the_same_heights_is_read() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let written = archives(&chain, place.path(), 2).await;
    assert_eq!(written.len(), 6);
    // Names sort by heights, and those of the same heights by writers; the highest name is asked first.
    for path in written.iter().skip(1).step_by(2) {
        let mut bytes = fs::read(path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        fs::write(path, bytes).unwrap();
    }
    let node = Home::new(&chain).start(fetching(place.path())).await;
    node.imported(12).await;
    assert_holds(node.store(), chain.up_to(12));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_archive_is_gone_or_cut_off_another_one_of_the_same_heights_is_read() {
    let (chain, place) = (Arc::clone(&CHAIN), TempDir::new().unwrap());
    let written = archives(&chain, place.path(), 2).await;
    // Names sort by heights, and those of the same heights by writers; the highest name is asked first.
    for (place, path) in written.iter().skip(1).step_by(2).enumerate() {
        let length = fs::metadata(path).unwrap().len();
        match place {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap(),
            _ => fs::File::options().write(true).open(path).unwrap().set_len(1).unwrap(),
        }
    }
    let node = Home::new(&chain).start(fetching(place.path())).await;
    node.imported(12).await;
    assert_holds(node.store(), chain.up_to(12));
    node.stop().await;
}
