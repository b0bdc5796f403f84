#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::HashSet, ffi::OsString, num::NonZeroU64, time::Duration};

use lapis_protocol_spec::Genesis;

use super::*;

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    Layers::new().file_text("config.toml", text).and_then(Layers::finish)
}

fn from_environment(name: &str, value: &str) -> Result<Loaded, ConfigError> {
    let variables = [(OsString::from(name), OsString::from(value))];
    Layers::new().environment(variables.into_iter()).and_then(Layers::finish)
}

/// The message that `text` as a file is refused with: always one line.
fn refusal(text: &str) -> String {
    let message = from_file(text).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn the_defaults_obey_the_rules() {
    assert_eq!(from_file("").unwrap().config, Config::default());
}

#[test]
fn the_template_changes_nothing() {
    assert_eq!(from_file(&template::commented()).unwrap().config, Config::default());
}

#[test]
fn the_template_with_every_default_taken_out_of_its_comment_is_the_default() {
    let text: Vec<_> = template::commented()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let loaded = from_file(&text.join("\n")).unwrap();
    assert_eq!(loaded.config, Config::default());
    for group in Config::GROUPS {
        for key in group.keys {
            let set = *loaded.origin(group.name, key.name) != Origin::Default;
            let has_default = Config::default().show(group.name, key.name).is_some();
            assert_eq!(set, has_default, "{}.{}", group.name, key.name);
        }
    }
}

#[test]
fn addresses_that_others_are_told_must_lead_somewhere() {
    for (text, part) in [
        ("external_addresses = [\"/ip4/0.0.0.0/tcp/1\"]", "that others can dial"),
        ("external_addresses = [\"/ip4/127.0.0.1/tcp/0\"]", "that others can dial"),
        ("external_addresses = [\"/dns4/node.example/tcp/1\"]", "that others can dial"),
        ("external_addresses = [\"/ip4/127.0.0.1\"]", "names no transport"),
        ("boot_nodes = [\"/ip4/127.0.0.1/udp/1\"]", "names no transport"),
        ("target_peers = 161", "which is 160"),
    ] {
        let message = refusal(&format!("[network]\n{text}\n"));
        assert!(message.contains(part), "{text}: {message}");
    }
    from_file("[network]\nboot_nodes = [\"/dns4/node.example/tcp/1\"]\nmax_outbound_connections = 5\n").unwrap();
}

#[test]
fn administration_is_on_this_machine() {
    assert!(refusal("[http]\nadmin_listen = \"0.0.0.0:1\"\n").contains("loopback"));
    from_file("[http]\nadmin_listen = \"[::1]:1\"\n").unwrap();
}

#[test]
fn an_execution_client_needs_a_url_and_a_secret() {
    let kind = "[engine]\nkind = \"engine-api\"\n";
    assert!(refusal(kind).contains("engine.url"));
    assert!(refusal(&format!("{kind}url = \"http://127.0.0.1:8551\"\n")).contains("engine.jwt_secret"));
    for url in ["127.0.0.1:8551", "https://127.0.0.1:8551", "ws://localhost", "http://", "http://a:b@localhost"] {
        let message = refusal(&format!("[engine]\nurl = \"{url}\"\n"));
        assert!(message.contains("http://127.0.0.1:8551") && message.contains(url), "{message}");
    }
    let text = format!("{kind}url = \"http://127.0.0.1:8551\"\njwt_secret = \"jwt.hex\"\npayload_timeout = \"3s\"\n");
    let engine = from_file(&text).unwrap().config.engine;
    assert_eq!((engine.kind, engine.payload_timeout), (EngineKind::EngineApi, Duration::from_secs(3)));
    assert!(refusal("[engine]\nget_blobs_head_start = \"11s\"\n").contains("at most 10s"));
    let engine = from_file("[engine]\nget_blobs = false\nget_blobs_head_start = \"1s\"\n").unwrap().config.engine;
    assert_eq!((engine.get_blobs, engine.get_blobs_head_start), (false, Duration::from_secs(1)));
}

#[test]
fn what_is_shown_is_a_file_with_the_same_meaning() {
    let text = "[sync]\nmax_buffered_bytes = \"100 MiB\"\ntimeout = \"1m 30s\"\n[retention]\nblob_heights = 77\n\
                [network]\npeers = [\"/ip4/127.0.0.1/tcp/1\"]\n[limits]\nserve_bytes_per_peer = 200001\n";
    let loaded = from_file(text).unwrap();
    assert_eq!(from_file(&template::effective(&loaded)).unwrap().config, loaded.config);
    assert_eq!(loaded.config.sync.max_buffered_bytes, ByteSize::mib(100));
    assert_eq!(loaded.config.sync.timeout, Duration::from_secs(90));
    assert_eq!(loaded.config.retention.blob_heights, BlobRetention::Heights(NonZeroU64::new(77).unwrap()));
    assert_eq!(loaded.config.limits.serve_bytes_per_peer.as_u64(), 200_001);
}

#[test]
fn every_key_is_described() {
    for group in Config::GROUPS {
        assert!(!group.docs.is_empty(), "{}", group.name);
        let names: HashSet<_> = group.keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), group.keys.len(), "{}", group.name);
        for key in group.keys {
            assert!(!key.docs.is_empty() && !key.shape.is_empty(), "{}.{}", group.name, key.name);
        }
    }
}

#[test]
fn shapes_of_choices_name_every_choice() {
    fn covers<T: Setting + clap::ValueEnum>() {
        for variant in T::value_variants() {
            let name = variant.to_toml().unwrap();
            assert!(T::SHAPE.contains(&name), "{} lacks {name}", T::SHAPE);
            assert_eq!(T::read(&Raw::Word(name.trim_matches('"').to_owned())).unwrap().to_toml(), Some(name));
        }
    }
    covers::<Pacing>();
    covers::<BelowFloor>();
    covers::<EngineKind>();
    covers::<PrunePolicy>();
    covers::<ArchiveCompression>();
    covers::<LogFormat>();
}

#[test]
fn the_environment_wins_over_the_file_and_flags_win_over_both() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\nenabled = true\n[log]\nfilter = \"debug\"\n";
    let variables = [("LAPIS_HTTP__LISTEN", "127.0.0.1:2"), ("LAPIS_LOG__FORMAT", "json")];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let flag = ["127.0.0.1:3".to_owned()];
    let loaded = Layers::new()
        .file_text("config.toml", file)
        .and_then(|layers| layers.environment(variables.into_iter()))
        .and_then(|layers| layers.given("http", "listen", &flag, Origin::Flag("--http")))
        .and_then(Layers::finish)
        .unwrap();
    assert_eq!(loaded.config.http.listen.port(), 3);
    assert_eq!(*loaded.origin("http", "listen"), Origin::Flag("--http"));
    assert_eq!(*loaded.origin("log", "format"), Origin::Environment("LAPIS_LOG__FORMAT".to_owned()));
    assert_eq!(*loaded.origin("log", "filter"), Origin::File { name: "config.toml".to_owned(), line: 5 });
    assert_eq!(*loaded.origin("verify", "batch"), Origin::Default);
    let shown = template::effective(&loaded);
    for line in [
        "listen = \"127.0.0.1:3\"  # flag --http",
        "format = \"json\"  # environment variable LAPIS_LOG__FORMAT",
        "filter = \"debug\"  # config.toml:5",
        "batch = 64  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn flags_that_are_not_given_change_nothing() {
    let layers = Layers::new().given("network", "listen", &[], Origin::Flag("--listen")).unwrap();
    assert_eq!(layers.finish().unwrap().config, Config::default());
}

#[test]
fn lists_come_from_commas_and_from_repeated_flags() {
    let loaded =
        from_environment("LAPIS_NETWORK__PEERS", "/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/udp/2/quic-v1").unwrap();
    assert_eq!(loaded.config.network.peers.len(), 2);
    let flags = ["/ip4/127.0.0.1/tcp/1".to_owned(), "/ip4/127.0.0.1/tcp/2".to_owned()];
    let layers = Layers::new().given("network", "listen", &flags, Origin::Flag("--listen")).unwrap();
    assert_eq!(layers.finish().unwrap().config.network.listen.len(), 2);
}

#[test]
fn variables_of_container_platforms_are_not_ours() {
    for name in ["LAPIS_SERVICE_HOST", "LAPIS_PORT_9650_TCP", "LAPIS_DIR", "PATH"] {
        assert_eq!(from_environment(name, "tcp://10.0.0.1:9650").unwrap().config, Config::default());
    }
}

#[test]
fn an_unknown_key_suggests_the_near_one() {
    assert_eq!(
        refusal("[sync]\nmax_bufered_bytes = \"1 MiB\"\n"),
        "config.toml:2: unknown key sync.max_bufered_bytes; did you mean sync.max_buffered_bytes?"
    );
    assert_eq!(
        refusal("\n[sink]\ntimeout = \"1s\"\n"),
        "config.toml:3: unknown key sink.timeout; did you mean sync.timeout?"
    );
    assert_eq!(
        refusal("trusted_peers = []\n"),
        "config.toml:1: unknown key trusted_peers; did you mean network.trusted_peers?"
    );
    assert_eq!(refusal("[sync]\nxyzzy = 1\n"), "config.toml:2: unknown key sync.xyzzy");
    assert_eq!(refusal("[moon]\n"), "config.toml:1: unknown key moon");
    let error = from_environment("LAPIS_HTTP__LISTN", "127.0.0.1:1").unwrap_err().to_string();
    assert_eq!(error, "environment variable LAPIS_HTTP__LISTN: unknown key http.listn; did you mean http.listen?");
}

#[test]
fn a_value_of_another_shape_says_what_would_be_right() {
    assert_eq!(
        refusal("[sync]\ntimeout = \"30 parsecs\"\n"),
        "config.toml:2: sync.timeout is \"30 parsecs\", it must be a time with its unit, from 1ms to 365days, \
         such as \"30s\" or \"1m 30s\""
    );
    for (value, key) in [
        ("30", "sync.timeout"),
        ("\"0s\"", "sync.timeout"),
        ("\"1000000years\"", "sync.timeout"),
        ("-1", "sync.commit_sync_batch_size"),
        ("0", "sync.commit_sync_batch_size"),
        ("1.5", "sync.commit_sync_batch_size"),
        ("\"100\"", "sync.commit_sync_batch_size"),
        ("99999999999999999999999", "sync.commit_sync_batch_size"),
        ("99999999999", "limits.serve_requests_total"),
        ("-1", "sync.max_buffered_bytes"),
        ("\"64 MiBs\"", "sync.max_buffered_bytes"),
        ("\"1e400\"", "sync.max_buffered_bytes"),
        ("1979-05-27", "log.filter"),
        ("{ a = 1 }", "log.filter"),
        ("\"yes\"", "http.enabled"),
        ("\"localhost\"", "http.listen"),
        ("\"geth\"", "engine.kind"),
        ("\"\"", "trusted_setup.path"),
        ("\"abcd\"", "trusted_setup.sha256"),
        ("\"some\"", "retention.blob_heights"),
        ("\"/ip4/127.0.0.1/tcp/1\"", "network.peers"),
    ] {
        let (group, name) = key.split_once('.').unwrap();
        let message = refusal(&format!("[{group}]\n{name} = {value}\n"));
        assert!(message.starts_with(&format!("config.toml:2: {key} is ")), "{message}");
        assert!(message.contains(", it must be "), "{message}");
    }
}

#[test]
fn the_wrong_item_of_a_list_is_named() {
    let message = refusal("[network]\npeers = [\"/ip4/127.0.0.1/tcp/1\", \"127.0.0.1:2\"]\n");
    assert!(message.contains("network.peers is \"127.0.0.1:2\", it must be a list of multiaddrs"), "{message}");
}

#[test]
fn a_damaged_file_names_the_line() {
    let message = refusal("[sync]\ntimeout = \"30s\n");
    assert!(message.starts_with("config.toml:2: not valid TOML: "), "{message}");
    assert!(refusal("[sync]\ntimeout = \"1s\"\ntimeout = \"2s\"\n").starts_with("config.toml:3: "));
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (text, start, part) in [
        ("[sync]\nmax_buffered_bytes = \"1 MiB\"", "config.toml:2: sync.max_buffered_bytes is \"1 MiB\"", "32.0 MiB"),
        ("[sync]\nmax_fetch_response_bytes = 1000", "config.toml:2: sync.max_fetch_response_bytes is 1000", "one blob"),
        ("[sync]\nhedge_bytes = \"17 MiB\"", "config.toml:2: sync.hedge_bytes is", "16.0 MiB"),
        ("[sync]\nrotate_after = \"10ms\"", "config.toml:2: sync.rotate_after is", "at least 1s"),
        ("[sync]\nunready_after = \"10s\"", "config.toml:2: sync.unready_after is", "sync.rotate_after"),
        ("[sync]\nrecord_trace_bytes = 1000", "config.toml:2: sync.record_trace_bytes is 1000", "1.0 MiB"),
        ("[limits]\nserve_bytes_per_peer = 1000", "config.toml:2: limits.serve_bytes_per_peer is 1000", "one blob"),
        ("[limits]\nserve_bytes_total = \"1 MiB\"", "default: limits.serve_bytes_per_peer", "limits.serve_bytes_total"),
        ("[limits]\nserve_requests_per_peer = 1025", "config.toml:2: limits.serve_requests_per_peer is 1025", "1024"),
        ("[limits]\nfetch_requests_per_peer = 1025", "config.toml:2: limits.fetch_requests_per_peer is 1025", "1024"),
        ("[limits]\nfetch_bytes_per_peer = 131184", "config.toml:2: limits.fetch_bytes_per_peer is 131184", "one blob"),
        ("[limits]\nfetch_bytes_total = \"1 MiB\"", "default: limits.fetch_bytes_per_peer", "limits.fetch_bytes_total"),
        ("[limits]\nnear_head_share = 100", "config.toml:2: limits.near_head_share is 100", "at most 99"),
        ("[limits]\nminimum_rate = 0", "config.toml:2: limits.minimum_rate is 0", "one byte"),
        ("[limits]\nminimum_rate = \"1 GiB\"", "config.toml:2: limits.minimum_rate is", "at most 100"),
        ("[limits]\nserve_exchanges_total = 1", "config.toml:2: limits.serve_exchanges_total is 1", "at least 2"),
        ("[verify]\nthreads = 100000", "config.toml:2: verify.threads is 100000", "at most"),
        ("[storage]\ncache = 0", "config.toml:2: storage.cache is 0", "1.0 MiB"),
        ("[log]\nfilter = \"lapis=loud\"", "config.toml:2: log.filter is \"lapis=loud\"", "not a log filter"),
        ("[trusted_setup]\npath = \"/x\"", "default: trusted_setup.sha256 is not set", "trusted_setup.path"),
        ("[retention]\nprune = \"after-archive\"", "config.toml:2: retention.prune is", "archive.upload_to"),
        (
            "[archive]\nupload_to = \"/a\"\n[retention]\nprune = \"after-archive\"\nbelow_floor = \"without-blobs\"",
            "config.toml:5: retention.below_floor is",
            "never archived",
        ),
        ("[archive]\nheights_per_file = 65", "config.toml:2: archive.heights_per_file is 65", "at most 64"),
        ("[archive]\ns3_endpoint = \"http://a\"", "config.toml:2: archive.s3_endpoint is", "archive.s3_allow_http"),
        ("[network]\nlisten = [\"/ip4/127.0.0.1\"]", "config.toml:2: network.listen is", "/tcp/PORT"),
        ("[network]\nlisten = [\"/ip4/127.0.0.1/udp/1\"]", "config.toml:2: network.listen is", "quic-v1"),
    ] {
        let message = refusal(text);
        assert!(message.starts_with(start) && message.contains(part), "{message}");
    }
}

#[test]
fn less_retention_than_the_chain_demands_is_refused() {
    let genesis = Genesis { blob_retention_heights: 1000, max_blobs_per_block: 6, ..Genesis::default() };
    let message = |text: &str| from_file(text).unwrap().check_against(&genesis).map_err(|error| error.to_string());
    assert_eq!(message("[retention]\nblob_heights = 1000"), Ok(()));
    assert_eq!(message("[retention]\nblob_heights = \"all\""), Ok(()));
    let refused = message("[retention]\nblob_heights = 999").unwrap_err();
    assert!(refused.starts_with("config.toml:2: retention.blob_heights is 999: ") && refused.contains("1000"));
    assert!(message("[storage]\nundecided_cap = \"700 KiB\"").unwrap_err().contains("one height"));
}

#[test]
fn files_that_are_no_text_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    assert!(matches!(Layers::new().file(&path), Err(ConfigError::Read { .. })));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(Layers::new().file(&path), Err(ConfigError::NotText { .. })));
    assert!(matches!(Layers::new().file("/dev/zero".as_ref()), Err(ConfigError::TooLarge { .. })));
}
