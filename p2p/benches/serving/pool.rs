//! Sidecars in memory, of random bytes, and the provider that serves them: no disk, no KZG.

use std::{collections::HashMap, sync::Arc};

use lapis_p2p::{ChunkBuffer, Encoded, ItemSource, Provider, ServeError};
use lapis_protocol_spec::{BYTES_PER_BLOB, BlobSidecar, Bytes32, Bytes48, Height, HeightRange, Method, Request};
use libp2p::PeerId;
use rand::{RngCore, SeedableRng, rngs::StdRng};

/// Distinct sidecars: more than a processor's caches hold.
pub(crate) const SIDECARS: usize = 256;

/// Sidecars of one exchange, one at each height: 16 MiB.
pub(crate) const PER_EXCHANGE: usize = 128;

/// Pieces in which a store gives a blob.
const PIECE: usize = 65_500;

struct Sidecar {
    header: [u8; BlobSidecar::HEADER_BYTES],
    blob: Vec<u8>,
}

impl Sidecar {
    fn encode(&self, out: &mut ChunkBuffer) -> Result<Encoded, ServeError> {
        let (first, rest) = self.blob.split_at(PIECE);
        let (second, last) = rest.split_at(PIECE);
        out.encode(&[&self.header, first, second, last])
    }
}

/// The sidecar of height `n` is number `n` of the pool, which begins anew at its end.
pub(crate) struct Pool {
    sidecars: Vec<Sidecar>,
    hashes: Vec<Bytes32>,
    by_hash: HashMap<Bytes32, usize>,
}

impl Pool {
    pub(crate) fn new() -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(1);
        let mut pool = Self { sidecars: Vec::new(), hashes: Vec::new(), by_hash: HashMap::new() };
        for number in 0..SIDECARS {
            let (mut commitment, mut proof) = ([0; 48], [0; 48]);
            random.fill_bytes(&mut commitment);
            random.fill_bytes(&mut proof);
            let mut blob = vec![0; BYTES_PER_BLOB];
            random.fill_bytes(&mut blob);
            let commitment = Bytes48::from(commitment);
            let hash = lapis_protocol_spec::versioned_hash(&commitment);
            let header = BlobSidecar::header(number as Height, 0, &commitment, &Bytes48::from(proof));
            pool.sidecars.push(Sidecar { header, blob });
            pool.hashes.push(hash);
            pool.by_hash.insert(hash, number);
        }
        Arc::new(pool)
    }

    /// The versioned hash of sidecar `number`.
    pub(crate) fn hash(&self, number: usize) -> Bytes32 {
        self.hashes[number % SIDECARS]
    }

    /// Puts sidecar `number` into `out`.
    pub(crate) fn encode(&self, number: usize, out: &mut ChunkBuffer) -> Result<Encoded, ServeError> {
        self.sidecars[number % SIDECARS].encode(out)
    }

    /// All chunks as they go over the wire.
    pub(crate) fn chunks(&self) -> Vec<Vec<u8>> {
        let mut out = ChunkBuffer::new(Method::BlobsByRange);
        (0..SIDECARS)
            .map(|number| {
                self.encode(number, &mut out).unwrap();
                out.bytes().to_vec()
            })
            .collect()
    }
}

/// The request for so many sidecars that begin with `start`.
pub(crate) fn request(start: usize, count: usize) -> Request {
    Request::BlobsByRange(HeightRange::new(start as Height, count as u64))
}

pub(crate) struct PoolProvider(pub(crate) Arc<Pool>);

impl Provider for PoolProvider {
    fn serve(&self, _: PeerId, request: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        let left: Vec<usize> = match request {
            Request::BlobsByRange(range) => {
                let start = usize::try_from(range.start_height).unwrap();
                (start..start + usize::try_from(range.count).unwrap()).collect()
            }
            Request::BlobsByRoot(hashes) => {
                hashes.iter().filter_map(|hash| self.0.by_hash.get(hash).copied()).collect()
            }
            _ => return Err(ServeError::Unavailable("only blobs are here".into())),
        };
        Ok(Box::new(Items { pool: self.0.clone(), left: left.into_iter() }))
    }
}

struct Items {
    pool: Arc<Pool>,
    left: std::vec::IntoIter<usize>,
}

impl ItemSource for Items {
    fn next_cost(&self) -> usize {
        if self.left.len() == 0 { 0 } else { BlobSidecar::BYTES }
    }

    fn next_height(&self) -> Option<Height> {
        self.left.as_slice().first().map(|number| *number as Height)
    }

    fn next(&mut self, out: &mut ChunkBuffer) -> Result<Option<Encoded>, ServeError> {
        self.left.next().map(|number| self.pool.encode(number, out)).transpose()
    }
}
