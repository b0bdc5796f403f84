#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, net::Ipv4Addr, time::Duration};

use libp2p::PeerId;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;
use crate::object_archive::{Location, S3Options, WriterTag};

fn name() -> ArchiveName {
    ArchiveName { first: 1, last: 4, writer: WriterTag::of(&PeerId::random()) }
}

/// An archive in a service that answers one request with `answer`, whatever it is asked.
async fn answering(answer: &'static str) -> (ObjectArchive, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let options = S3Options {
        endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        region: Some("us-east-1".to_owned()),
        allow_http: true,
        credentials: Some(("lapis".to_owned(), "secret".to_owned())),
    };
    let service = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        // The client may have seen enough before the end.
        let _ = socket.write_all(answer.as_bytes()).await;
    });
    let location = "s3://heights".parse::<Location>().unwrap();
    let limit = Duration::from_secs(60);
    (ObjectArchive::open(&location, &options, limit, &Bytes32::from([7; 32])).unwrap(), service)
}

#[tokio::test]
async fn no_more_is_taken_than_was_asked_for_whatever_the_service_sends() {
    let (archive, _service) = answering(
        "HTTP/1.1 206 Partial Content\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 4\r\n\
         Content-Range: bytes 0-3/100\r\nTransfer-Encoding: chunked\r\n\r\n\
         8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n",
    )
    .await;
    let error = archive.read(&Path::from("a"), 0..4).await.unwrap_err();
    assert!(error.to_string().contains("more than it announced"), "{error}");
}

#[tokio::test]
async fn an_index_is_not_longer_than_it_is_announced() {
    let (archive, _service) = answering(
        "HTTP/1.1 200 OK\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 4\r\n\
         Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n0\r\n\r\n",
    )
    .await;
    let error = archive.index(&name(), 100).await.unwrap_err();
    assert!(error.to_string().contains("more than it announced"), "{error}");
}

#[tokio::test]
async fn a_part_behind_the_end_is_told_from_a_failure() {
    let (place, name) = (TempDir::new().unwrap(), name());
    let location = Location::Directory(place.path().to_owned());
    let id = Bytes32::from([7; 32]);
    let archive = ObjectArchive::open(&location, &S3Options::default(), Duration::from_secs(60), &id).unwrap();
    let path = place.path().join("0707070707070707").join(name.archive());
    assert!(archive.part(&name, 0..4).await.is_err_and(|error| error.is_missing()));
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, b"0123456789").unwrap();
    assert_eq!(archive.part(&name, 2..10).await.unwrap().unwrap(), b"23456789".as_slice());
    assert_eq!(archive.part(&name, 2..11).await.unwrap(), None);
    assert_eq!(archive.part(&name, 10..20).await.unwrap(), None);
    assert_eq!(archive.part(&name, 15..20).await.unwrap(), None);
}
