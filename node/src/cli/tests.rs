#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use clap::{ArgAction, CommandFactory};

use super::*;
use crate::config::Origin;

fn parse_line(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("lapis").chain(line.split_whitespace()).map(OsString::from);
    parse(words).map(|(cli, _)| cli).map_err(|error| error::usage_line(&error))
}

#[test]
fn the_declarations_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_has_a_variable() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let own = !matches!(
                argument.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            );
            if own && !argument.is_positional() {
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                assert!(variable.starts_with("LAPIS_"), "--{} of {}", argument.get_id(), command.get_name());
                assert!(!variable.contains("__"), "{variable} looks like a configuration key");
            }
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_documented_commands_parse() {
    for line in [
        "devnet",
        "devnet --dir /tmp/d --validators 1 --heights 2 --blobs 0 --block-time 1s --keep-running",
        "devnet --blobs 4096 --validators 32",
        "devnet --validator-change 8",
        "bench",
        "bench --json --quick",
        "bench --heights 20 --blobs 1024 --only sync,baselines --only link --dir /tmp/d",
        "devnet --engine-url http://127.0.0.1:1 --engine-url http://127.0.0.1:2 --jwt-secret /tmp/j \
         --execution-genesis /tmp/g.json",
        "execution-genesis",
        "execution-genesis --chain-id 7 --genesis-time 1700000000 --prague-time 0",
        "init --dir /tmp/d --genesis /tmp/g.json",
        "run --dir /tmp/d",
        "run --dir /tmp/d --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
         --peer /ip4/127.0.0.1/tcp/1 --http 127.0.0.1:0 --engine none",
        "run --dir /tmp/d --engine engine-api --engine-url http://127.0.0.1:8551 --jwt-secret /tmp/jwt.hex",
        "status",
        "status --http 127.0.0.1:1 --json --watch",
        "peers",
        "peers --http 127.0.0.1:1 --json",
        "peers ban 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
        "peers ban 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo --for 30days --admin 127.0.0.1:1",
        "peers unban 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
        "export --dir /tmp/d --range 1..500 --out /tmp/a.lapis",
        "export --dir /tmp/d --range 7..7 --out /tmp/a.lapis --compression none",
        "import --dir /tmp/d /tmp/a.lapis",
        "verify --dir /tmp/d",
        "verify --dir /tmp/d --deep --repair",
        "db stats --dir /tmp/d",
        "db stats --dir /tmp/d --pages --json",
        "db compact --dir /tmp/d",
        "key show --dir /tmp/d",
        "config show --dir /tmp/d",
        "run --dir /tmp/d --record-trace /tmp/t",
        "replay-trace /tmp/t",
        "completions bash",
    ] {
        parse_line(line).unwrap();
    }
}

#[test]
fn flags_that_make_no_sense_are_refused_on_one_line() {
    for (line, part) in [
        ("", "a command is missing"),
        ("key", "a command is missing"),
        ("db", "a command is missing"),
        ("verify", "--dir <DIR>"),
        ("fly", "unrecognized subcommand 'fly'"),
        ("run", "--dir <DIR>"),
        ("run --dirr /tmp/d", "'--dirr' found; tip: "),
        ("run --dir /tmp/d --listen here", "'here'"),
        ("run --dir /tmp/d --http localhost", "'localhost'"),
        ("run --dir /tmp/d --engine steam", "embedded, engine-api, none"),
        ("devnet --blobs 4097", "4097 is not in 0..=4096"),
        ("devnet --validators 0", "0 is not in 1..=32"),
        ("devnet --validators 33", "33 is not in 1..=32"),
        ("devnet --heights 1", "from 2"),
        ("devnet --heights -1", "unexpected argument '-1'"),
        ("devnet --engine-url http://127.0.0.1:1", "--jwt-secret <FILE>"),
        ("devnet --jwt-secret /tmp/j", "--engine-url <URL>"),
        ("devnet --execution-genesis /tmp/g.json", "--engine-url <URL>"),
        ("devnet --block-time 5", "such as 200ms"),
        ("devnet --block-time 0s", "such as 200ms"),
        ("devnet --block-time 9h", "such as 200ms"),
        ("bench --heights 0", "from 1 to 10000"),
        ("bench --heights 10001", "from 1 to 10000"),
        ("bench --blobs 0", "'0'"),
        ("bench --only speed", "ceilings, serving, sync, baselines, link, faults"),
        ("peers ban nobody", "as `lapis peers` shows it"),
        ("peers ban", "<ID>"),
        ("peers ban 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo --for ever", "such as 1h"),
        ("peers ban 12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo --for 366days", "365days"),
        ("completions csh", "'csh'"),
        ("export --dir /tmp/d --range 1..5", "--out <FILE>"),
        ("export --dir /tmp/d --out a --range 5", "such as 1..500"),
        ("export --dir /tmp/d --out a --range 0..5", "such as 1..500"),
        ("export --dir /tmp/d --out a --range 6..5", "such as 1..500"),
        ("export --dir /tmp/d --out a --range 1..=5", "such as 1..500"),
        ("export --dir /tmp/d --out a --range 1..18446744073709551615", "such as 1..500"),
        ("export --dir /tmp/d --out a --range 1..5 --compression gzip", "zstd, none"),
        ("import --dir /tmp/d", "<FILE>"),
    ] {
        let message = parse_line(line).unwrap_err();
        assert!(message.contains(part), "{line}: {message}");
        assert!(!message.contains('\n') && !message.contains("Usage:"), "{line}: {message}");
    }
}

#[test]
fn flags_of_run_become_a_layer_that_names_them() {
    let line = "run --dir /tmp/d --peer /ip4/127.0.0.1/tcp/1 --peer /ip4/127.0.0.1/tcp/2 --engine none";
    let (cli, matches) = parse(std::iter::once("lapis").chain(line.split(' ')).map(OsString::from)).unwrap();
    let Command::Run(args) = cli.command else { panic!("another command") };
    let overrides = args.overrides(matches.subcommand_matches("run"));
    let keys: Vec<_> = overrides.iter().map(|given| (given.group, given.key, given.origin.clone())).collect();
    assert_eq!(keys, [("network", "peers", Origin::Flag("--peer")), ("engine", "kind", Origin::Flag("--engine"))]);
    assert_eq!(overrides[0].values, ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]);
    assert_eq!(overrides[1].values, ["none"]);
}

#[test]
fn a_chain_of_errors_is_told_once_and_on_one_line() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open store: {0}")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("schema 9\nis newer")]
    struct Inner(#[source] std::io::Error);

    let error = CliError::failed(Outer(Inner(std::io::Error::other("deepest"))));
    assert_eq!(one_line(&error), "cannot open store: schema 9 is newer: deepest");
}
