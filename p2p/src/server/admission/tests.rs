#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{panic::AssertUnwindSafe, pin::Pin};

use futures::FutureExt;
use prometheus_client::registry::Registry;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{Quota, RateLimits, limiter::Limiter, metrics::Metrics};

const METHOD: Method = Method::BlobsByRange;

fn admissions(inbound: u32, percent: u8) -> Admissions {
    Admissions::new(&ExchangeLimits { inbound, inbound_per_protocol: 2 }, percent, 160)
}

/// Admits at once or not at all.
fn admit(admissions: &Admissions, peer: PeerId, class: Class) -> Result<Arc<Admission>, Refusal> {
    let entry = admissions.enter(peer, METHOD)?;
    entry.admit(peer, METHOD, class, Duration::from_secs(60)).now_or_never().unwrap_or(Err(Refusal::TooManyOfPeer))
}

#[tokio::test]
async fn those_who_catch_up_cannot_take_the_places_near_the_head() {
    let admissions = admissions(8, 25);
    let admit = |class| admit(&admissions, PeerId::random(), class);
    let old: Vec<_> = (0..6).map(|_| admit(Class::CatchUp).unwrap()).collect();
    assert_eq!(admit(Class::CatchUp).unwrap_err(), Refusal::NoRoom);
    let new: Vec<_> = (0..2).map(|_| admit(Class::NearHead).unwrap()).collect();
    assert_eq!(admit(Class::NearHead).unwrap_err(), Refusal::NoRoom);
    drop(old);
    let all: Vec<_> = (0..6).map(|_| admit(Class::NearHead).unwrap()).collect();
    drop((new, all));
    assert_eq!(admissions.state(), (8, 6, 0));
}

#[tokio::test]
async fn a_stream_beyond_its_peers_share_waits_and_few_of_a_peer_wait() {
    let admissions = admissions(100, 25);
    let peer = PeerId::random();
    let held: Vec<_> = (0..2).map(|_| admit(&admissions, peer, Class::CatchUp).unwrap()).collect();
    let waiting: Vec<_> = (0..2).map(|_| admissions.enter(peer, METHOD).unwrap()).collect();
    assert_eq!(admissions.enter(peer, METHOD).unwrap_err(), Refusal::TooManyOfPeer);
    assert!(admissions.enter(PeerId::random(), METHOD).is_ok());
    for entry in waiting {
        let refused = entry.admit(peer, METHOD, Class::CatchUp, Duration::from_millis(1)).await;
        assert_eq!(refused.unwrap_err(), Refusal::TooManyOfPeer);
    }
    let entry = admissions.enter(peer, METHOD).unwrap();
    drop(held);
    assert!(entry.admit(peer, METHOD, Class::CatchUp, Duration::from_secs(60)).await.is_ok());
    assert_eq!(admissions.state(), (100, 75, 0));
}

const DATA: [Method; 6] = [
    Method::DecidedValuesByRange,
    Method::ValidatorSetByRoot,
    Method::PayloadsByRange,
    Method::PayloadsByRoot,
    Method::BlobsByRange,
    Method::BlobsByRoot,
];

/// Takes all that it can get.
fn grab(admissions: &Admissions, peer: PeerId) -> Vec<Entry> {
    let streams = DATA.into_iter().flat_map(|method| [method; 2]);
    streams.filter_map(|method| admissions.enter(peer, method).ok()).collect()
}

/// As many as there can be connections take all that they can get, and read nothing.
#[tokio::test]
async fn however_many_grab_places_one_that_has_none_gets_one() {
    let admissions = admissions(256, 25);
    let mut held = Vec::new();
    for others in 0..160 {
        let newcomer = PeerId::random();
        let places = grab(&admissions, newcomer);
        assert!(!places.is_empty(), "{others} others have taken everything");
        held.push(places);
    }
    let most = held.iter().map(Vec::len).max().unwrap();
    assert_eq!(most, 12, "who comes first has what the protocol allows");
    drop(held);
    assert_eq!(admissions.state(), (256, 192, 0));
}

#[tokio::test]
async fn a_peer_alone_has_what_the_protocol_allows_where_there_are_few_places() {
    for total in [3, 4, 8] {
        let admissions = admissions(total, 25);
        let peer = PeerId::random();
        let held = [admissions.enter(peer, METHOD), admissions.enter(peer, METHOD)];
        assert!(held.iter().all(Result::is_ok), "{total} places");
    }
}

/// Without statuses no peer is ready, and who cannot say goodbye is taken for lost.
#[tokio::test]
async fn what_keeps_a_peer_needs_no_place() {
    let admissions = admissions(2, 25);
    let _taken: Vec<_> = (0..2).map(|_| admissions.enter(PeerId::random(), METHOD).unwrap()).collect();
    assert_eq!(admissions.enter(PeerId::random(), METHOD).unwrap_err(), Refusal::NoRoom);
    let peer = PeerId::random();
    let mut kept = Vec::new();
    for method in [Method::Status, Method::Ping, Method::Goodbye] {
        for _ in 0..2 {
            kept.push(admissions.enter(peer, method).unwrap());
        }
    }
    let waiting: Vec<_> = (0..2).map(|_| admissions.enter(peer, Method::Status).unwrap()).collect();
    assert_eq!(admissions.enter(peer, Method::Status).unwrap_err(), Refusal::TooManyOfPeer, "though not without bound");
    drop((kept, waiting));
}

#[tokio::test]
async fn what_turns_out_to_be_old_takes_a_place_of_those_who_catch_up() {
    let admissions = admissions(8, 25);
    let new: Vec<_> = (0..7).map(|_| admit(&admissions, PeerId::random(), Class::NearHead).unwrap()).collect();
    let old: Vec<_> = new.iter().map_while(|admission| admission.catch_up().ok()).collect();
    assert_eq!(old.len(), 6);
    let one = admit(&admissions, PeerId::random(), Class::NearHead).unwrap();
    drop(old);
    let mut held = one.catch_up().unwrap();
    assert!(held.is_some());
    held = None;
    drop((new, one, held));
    let old = admit(&admissions, PeerId::random(), Class::CatchUp).unwrap();
    assert!(old.catch_up().unwrap().is_none(), "it has one already");
}

#[tokio::test]
async fn one_place_is_nobodys_reserve() {
    let admissions = admissions(1, 99);
    assert!(admit(&admissions, PeerId::random(), Class::CatchUp).is_ok());
}

/// How an exchange ends, if nobody drops it before.
#[derive(Clone, Copy)]
enum Ending {
    Success,
    RequestBroken,
    ProviderFails,
    ProviderPanics,
    DialFails,
    /// Waits for ever: for a byte that never comes, or a reader that never reads.
    Never,
}

const ENDINGS: [Ending; 6] = [
    Ending::Success,
    Ending::RequestBroken,
    Ending::ProviderFails,
    Ending::ProviderPanics,
    Ending::DialFails,
    Ending::Never,
];

/// Both sides of exchanges, without the streams between them.
struct Sides {
    client: KeyedPermits<(PeerId, Method)>,
    server: Admissions,
    limiter: Limiter,
}

impl Sides {
    async fn exchange(&self, peer: PeerId, class: Class, ending: Ending) -> Result<(), ()> {
        let _permit = self.client.acquire((peer, METHOD)).await;
        self.limiter.own_request(peer, class).await;
        if matches!(ending, Ending::DialFails) {
            return Err(());
        }
        let entry = self.server.enter(peer, METHOD).map_err(|_| ())?;
        tokio::task::yield_now().await;
        if matches!(ending, Ending::RequestBroken) {
            return Err(());
        }
        let admission = entry.admit(peer, METHOD, class, Duration::from_secs(60)).await.map_err(|_| ())?;
        self.limiter.request(peer, class).await;
        for _ in 0..3 {
            self.limiter.egress(peer, class, 131_184, 0).await;
            let reading = admission.clone();
            tokio::task::yield_now().await;
            match ending {
                Ending::ProviderFails => return Err(()),
                Ending::ProviderPanics => panic!("a provider that panics"),
                Ending::Never => std::future::pending().await,
                Ending::Success | Ending::RequestBroken | Ending::DialFails => drop(reading),
            }
            self.limiter.ingress(peer, 131_184).await;
        }
        Ok(())
    }
}

fn sides() -> Sides {
    let quota = |cells| Quota::new(cells, cells).unwrap();
    let limits = RateLimits {
        requests_per_peer: quota(1_000_000),
        requests: quota(1_000_000),
        own_requests_per_peer: quota(1_000_000),
        own_requests: quota(1_000_000),
        egress_kib_per_peer: quota(2_000_000),
        egress_kib: quota(20_000_000),
        ..RateLimits::default()
    };
    Sides {
        client: KeyedPermits::new(2),
        server: admissions(32, 25),
        limiter: Limiter::new(&limits, Metrics::new(&mut Registry::default())),
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Option<Result<(), ()>>> + 'a>>;

/// Success, errors, panics, and at any moment a reset, a timeout, a lost connection or a dropped call, all of which drop
/// the exchange: whatever happens, nothing stays taken on either side.
#[tokio::test]
async fn a_hundred_thousand_random_exchanges_leave_no_permit_taken() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut rng = StdRng::seed_from_u64(23);
    let sides = sides();
    let peers: Vec<_> = (0..30).map(|_| PeerId::random()).collect();
    let (mut running, mut started, mut ended) = (Vec::<Running<'_>>::new(), 0, [0_u32; 3]);
    let mut driver = Box::pin(sides.limiter.drive());
    while started < 100_000 {
        while running.len() < 40 {
            let peer = peers[rng.random_range(0..peers.len())];
            let class = if rng.random() { Class::NearHead } else { Class::CatchUp };
            let exchange = sides.exchange(peer, class, ENDINGS[rng.random_range(0..ENDINGS.len())]);
            running.push(Box::pin(AssertUnwindSafe(exchange).catch_unwind().map(Result::ok)));
            started += 1;
        }
        assert!(driver.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        for index in (0..running.len()).rev() {
            let dropped = rng.random_range(0..20) == 0;
            let done = if dropped { None } else { running[index].as_mut().now_or_never() };
            if dropped || done.is_some() {
                drop(running.swap_remove(index));
            }
            match done {
                Some(Some(Ok(()))) => ended[0] += 1,
                Some(Some(Err(()))) => ended[1] += 1,
                Some(None) => ended[2] += 1,
                None => {}
            }
        }
    }
    drop(running);
    let _ = std::panic::take_hook();
    assert!(ended.iter().all(|count| *count > 1000), "successes, errors and panics: {ended:?}");
    assert_eq!(sides.client.keys_in_use(), 0);
    assert_eq!(sides.server.state(), (32, 24, 0));
    assert!(sides.limiter.waiting().iter().all(|(_, waiting)| *waiting == 0));
}
