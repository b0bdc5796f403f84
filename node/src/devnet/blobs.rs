//! Valid blobs at about a millisecond each.
//!
//! A commitment and a proof by way of a blob's 4096 field elements are two multi-scalar multiplications of 4096 points,
//! some 70 ms. The blobs here are the evaluations of polynomials of low degree, whose coefficients are known: commitment
//! and proof are then sums of a few points. A verifier sees no difference, and the bytes look random to a compressor.
//!
//! A store keeps blobs by content, so a network that repeated a few blobs would have next to nothing to fetch. Here every
//! blob is another one, and all of them follow from a seed.

use std::{ops::Range, sync::LazyLock};

use alloy_primitives::hex;
use blstrs::{G1Affine, G1Projective, Scalar};
use ff::{Field, PrimeField};
use lapis_protocol_spec::{BYTES_PER_BLOB, Blob, Bytes48, Height};
use sha2::{Digest, Sha256};

use super::parallel::in_parts;

/// Field elements of a blob (EIP-4844).
const FIELD_ELEMENTS_PER_BLOB: usize = BYTES_PER_BLOB / 32;
/// Coefficients of the polynomials, one more than their degree.
const COEFFICIENTS: usize = 4;
/// The evaluation points fall into cosets `{w, -w, iw, -iw}`; in bit-reversed order each coset is contiguous.
const COSETS: usize = FIELD_ELEMENTS_PER_BLOB / 4;
/// `FIAT_SHAMIR_PROTOCOL_DOMAIN` of the consensus specs' polynomial commitments.
const CHALLENGE_DOMAIN: &[u8; 16] = b"FSBLOBVERIFY_V1_";

/// The first points of `g1_monomial` in the trusted setup of Ethereum's ceremony: `[x^i]G1`, compressed.
const SETUP_POINTS: [[u8; 48]; COEFFICIENTS] = [
    hex!("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"),
    hex!("ad3eb50121139aa34db1d545093ac9374ab7bca2c0f3bf28e27c8dcd8fc7cb42d25926fc0c97b336e9f0fb35e5a04c81"),
    hex!("8029c8ce0d2dce761a7f29c2df2290850c85bdfaec2955626d7acc8864aeb01fe16c9e156863dc63b6c22553910e27c1"),
    hex!("b1386c995d3101d10639e49b9e5d39b9a280dcf0f135c2e6c6928bb3ab8309a9da7178f33925768c324f11c3762cfdd5"),
];

static DOMAIN: LazyLock<Domain> = LazyLock::new(Domain::new);

static SETUP: LazyLock<[G1Projective; COEFFICIENTS]> = LazyLock::new(|| {
    SETUP_POINTS.map(|compressed| {
        #[expect(clippy::expect_used, reason = "constants; a test holds them against the setup")]
        let point: G1Affine =
            Option::from(G1Affine::from_compressed(&compressed)).expect("points of the setup are points");
        point.into()
    })
});

/// A blob with its KZG commitment and proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBlob {
    /// The blob.
    pub blob: Blob,
    /// KZG commitment to it.
    pub commitment: Bytes48,
    /// `compute_blob_kzg_proof` of the two.
    pub proof: Bytes48,
}

/// Makes distinct blobs from a seed: the same seed and counter always give the same blob.
#[derive(Clone, Debug)]
pub struct BlobFactory {
    seed: [u8; 32],
}

impl BlobFactory {
    /// A factory for one sequence of blobs.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// A factory with a sequence of its own for one round of one height.
    #[must_use]
    pub fn for_round(&self, height: Height, round: u64) -> Self {
        let seed = Sha256::new()
            .chain_update(self.seed)
            .chain_update(b"round")
            .chain_update(height.to_le_bytes())
            .chain_update(round.to_le_bytes());
        Self::new(seed.finalize().into())
    }

    /// Blob `counter` of the sequence.
    #[must_use]
    pub fn blob(&self, counter: u64) -> CommittedBlob {
        let polynomial = self.polynomial(counter);
        let blob = DOMAIN.evaluate(&polynomial);
        let commitment = commit(&polynomial);
        let proof = commit(&quotient(&polynomial, &challenge(&blob, &commitment)));
        CommittedBlob { blob, commitment, proof }
    }

    /// The blobs of `counters`, in order, made on all cores when there are many. Memory: 128 KiB each.
    #[must_use]
    pub fn blobs(&self, counters: Range<u64>) -> Vec<CommittedBlob> {
        in_parts(counters.collect(), |part| part.into_iter().map(|counter| self.blob(counter)).collect())
    }

    /// Coefficients, the constant one first. The leading one is the counter plus one, so no two polynomials of a
    /// sequence are the same; the others are pseudo-random.
    fn polynomial(&self, counter: u64) -> [Scalar; COEFFICIENTS] {
        let prefix = Sha256::new().chain_update(self.seed).chain_update(counter.to_le_bytes());
        let random = |position: u8| reduce(prefix.clone().chain_update([position]).finalize().into());
        [random(0), random(1), random(2), Scalar::from(counter) + Scalar::ONE]
    }
}

/// The points where a blob's polynomial is evaluated: the 4096th roots of unity in bit-reversed order.
struct Domain {
    /// For each coset its first element `w` with `w^2` and `w^3`.
    powers: Vec<[Scalar; 3]>,
    /// A square root of -1, the fourth root of unity that leads from one half of a coset to the other.
    imaginary: Scalar,
}

impl Domain {
    fn new() -> Self {
        let doublings = Scalar::S - FIELD_ELEMENTS_PER_BLOB.ilog2();
        let root = (0..doublings).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square());
        let powers = (0..COSETS).map(|coset| {
            let shift = usize::BITS - COSETS.ilog2();
            let w = root.pow_vartime([(coset.reverse_bits() >> shift) as u64]);
            [w, w.square(), w.square() * w]
        });
        Self { powers: powers.collect(), imaginary: root.pow_vartime([FIELD_ELEMENTS_PER_BLOB as u64 / 4]) }
    }

    /// A radix-4 butterfly per coset: four multiplications for four field elements.
    fn evaluate(&self, [a0, a1, a2, a3]: &[Scalar; COEFFICIENTS]) -> Blob {
        let mut bytes = Vec::with_capacity(BYTES_PER_BLOB);
        for [w, w2, w3] in &self.powers {
            let (t1, t2, t3) = (a1 * w, a2 * w2, a3 * w3);
            let (even, odd) = (a0 + t2, t1 + t3);
            let (even_i, odd_i) = (a0 - t2, (t1 - t3) * self.imaginary);
            for element in [even + odd, even - odd, even_i + odd_i, even_i - odd_i] {
                bytes.extend_from_slice(&element.to_bytes_be());
            }
        }
        #[expect(clippy::expect_used, reason = "1024 cosets of four elements of 32 bytes")]
        Blob::from_slice(&bytes).expect("a blob's length")
    }
}

/// `sum a_i [x^i]G1`, compressed.
fn commit(polynomial: &[Scalar]) -> Bytes48 {
    let sum: G1Projective = SETUP.iter().zip(polynomial).map(|(point, coefficient)| point * coefficient).sum();
    G1Affine::from(sum).to_compressed().into()
}

/// `(p(x) - p(z)) / (x - z)` by synthetic division.
fn quotient(&[_, a1, a2, a3]: &[Scalar; COEFFICIENTS], z: &Scalar) -> [Scalar; COEFFICIENTS - 1] {
    let b2 = a3;
    let b1 = a2 + b2 * z;
    let b0 = a1 + b1 * z;
    [b0, b1, b2]
}

/// `compute_challenge` of the consensus specs: where the proof opens the polynomial.
fn challenge(blob: &Blob, commitment: &Bytes48) -> Scalar {
    let digest = Sha256::new()
        .chain_update(CHALLENGE_DOMAIN)
        .chain_update((FIELD_ELEMENTS_PER_BLOB as u128).to_be_bytes())
        .chain_update(blob)
        .chain_update(commitment);
    reduce(digest.finalize().into())
}

/// `hash_to_bls_field` without the hash: a big-endian number modulo the BLS12-381 group order.
fn reduce(digest: [u8; 32]) -> Scalar {
    let number = alloy_primitives::U256::from_be_bytes(digest);
    let [low, lower, high, higher] = number.into_limbs().map(Scalar::from);
    let limb = Scalar::from(u64::MAX) + Scalar::ONE;
    ((higher * limb + high) * limb + lower) * limb + low
}

#[cfg(test)]
mod tests;
