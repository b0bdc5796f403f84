//! KZG behind one small type: the gate from `Matched<BlobSidecar>` to `Verified<BlobSidecar>`.
//!
//! Verification costs about 1 ms a blob in batches and half as much again singly, so callers batch across heights and
//! peers and keep this off async threads.

use c_kzg::{CkzgError, KzgSettings};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{Blob, BlobSidecar, Bytes48, Matched, Verified};

/// sha256 of the `trusted_setup_4096.json` that came out of Ethereum's KZG ceremony.
pub const TRUSTED_SETUP_SHA256: &str = "f8e44a31ebf0a6d0734dcb301b0716e2c77f3ae18ed0cab0870fbcc2ca55616f";

static MAINNET_SETUP: &[u8] = include_bytes!("../data/trusted_setup_4096.json");

/// A loaded trusted setup. Loading takes about a second: once per process, shared by reference.
#[derive(Debug)]
pub struct Kzg(KzgSettings);

/// Why a trusted setup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KzgSetupError {
    /// Another file than the one expected.
    #[error("the trusted setup's sha256 is {found}, expected {expected}")]
    Hash {
        /// sha256 of the file.
        found: String,
        /// sha256 configured.
        expected: String,
    },
    /// Not a trusted setup in the consensus specs' JSON format.
    #[error("the trusted setup is not readable: {0}")]
    Format(#[from] serde_json::Error),
    /// A point is not 0x-prefixed hex of the right length.
    #[error("the trusted setup holds a malformed point in {0}")]
    Point(&'static str),
    /// The points are not a usable setup.
    #[error("the trusted setup is not usable: {0}")]
    Setup(#[from] c_kzg::Error),
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the blob is not one: {0}")]
pub struct InvalidBlob(#[from] c_kzg::Error);

#[derive(Deserialize)]
struct SetupFile {
    g1_monomial: Vec<String>,
    g1_lagrange: Vec<String>,
    g2_monomial: Vec<String>,
}

/// Result of a batch: every sidecar that went in comes out on one side, in the order given.
#[derive(Debug)]
pub struct BatchOutcome<C> {
    /// Proven.
    pub verified: Vec<(C, Verified<BlobSidecar>)>,
    /// Not proven: the sender's fault.
    pub faulty: Vec<(C, Matched<BlobSidecar>)>,
    /// Could not be checked, since this machine is out of memory: nobody else's fault.
    pub unchecked: Vec<(C, Matched<BlobSidecar>)>,
}

impl<C> Default for BatchOutcome<C> {
    fn default() -> Self {
        Self { verified: Vec::new(), faulty: Vec::new(), unchecked: Vec::new() }
    }
}

/// What c-kzg says of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Holds,
    Wrong,
    Unchecked,
}

impl Kzg {
    /// Loads the setup of Ethereum's ceremony, which is part of this crate.
    ///
    /// # Errors
    /// [`KzgSetupError`] if the program's own copy is damaged.
    pub fn mainnet() -> Result<Self, KzgSetupError> {
        Self::from_json(MAINNET_SETUP, TRUSTED_SETUP_SHA256)
    }

    /// Loads a setup in the consensus specs' JSON format whose sha256 (hex) is `expected`.
    ///
    /// # Errors
    /// [`KzgSetupError`]; the hash is compared before anything is parsed.
    pub fn from_json(json: &[u8], expected: &str) -> Result<Self, KzgSetupError> {
        let found = hex::encode(Sha256::digest(json));
        if !found.eq_ignore_ascii_case(expected.strip_prefix("0x").unwrap_or(expected)) {
            return Err(KzgSetupError::Hash { found, expected: expected.to_owned() });
        }
        let file: SetupFile = serde_json::from_slice(json)?;
        let g1_monomial = points(&file.g1_monomial, "g1_monomial")?;
        let g1_lagrange = points(&file.g1_lagrange, "g1_lagrange")?;
        let g2_monomial = points(&file.g2_monomial, "g2_monomial")?;
        // Precomputation only speeds up cell proofs, which are not used here.
        let precompute = 0;
        Ok(Self(KzgSettings::load_trusted_setup(&g1_monomial, &g1_lagrange, &g2_monomial, precompute)?))
    }

    /// The commitment to `blob`. Takes tens of milliseconds.
    ///
    /// # Errors
    /// [`InvalidBlob`] if a field element is not below the BLS modulus.
    pub fn commit(&self, blob: &Blob) -> Result<Bytes48, InvalidBlob> {
        let commitment = self.0.blob_to_kzg_commitment(&c_kzg::Blob::new(*blob.as_array()))?;
        Ok(Bytes48::from(commitment.to_bytes().into_inner()))
    }

    /// The proof that `commitment` is one to `blob`. Takes tens of milliseconds.
    ///
    /// # Errors
    /// [`InvalidBlob`] if a field element is not below the BLS modulus or the commitment is no curve point.
    pub fn prove(&self, blob: &Blob, commitment: &Bytes48) -> Result<Bytes48, InvalidBlob> {
        let commitment = c_kzg::Bytes48::new(commitment.0);
        let proof = self.0.compute_blob_kzg_proof(&c_kzg::Blob::new(*blob.as_array()), &commitment)?;
        Ok(Bytes48::from(proof.to_bytes().into_inner()))
    }

    /// Verifies one sidecar.
    ///
    /// # Errors
    /// Gives the sidecar back if its proof does not verify (or cannot be checked: [`Kzg::verify_batch`] tells these
    /// apart).
    #[expect(clippy::result_large_err, reason = "the sidecar is handed back, not copied: the caller names the culprit")]
    pub fn verify(&self, sidecar: Matched<BlobSidecar>) -> Result<Verified<BlobSidecar>, Matched<BlobSidecar>> {
        if self.check(&[&sidecar]) == Proof::Holds { Ok(sidecar.into_verified()) } else { Err(sidecar) }
    }

    /// Verifies many sidecars at once; each carries a context `C` (its sender, its request) to name a culprit by.
    ///
    /// If the batch fails, each sidecar is verified alone, so the faulty ones are named and the others kept. That takes
    /// two to three times as long as a good batch, however many are faulty. Memory: a copy of the blobs given.
    pub fn verify_batch<C>(&self, batch: Vec<(C, Matched<BlobSidecar>)>) -> BatchOutcome<C> {
        let views: Vec<&Matched<BlobSidecar>> = batch.iter().map(|(_, sidecar)| sidecar).collect();
        let proofs = self.check_each(&views);
        let mut outcome = BatchOutcome { verified: Vec::with_capacity(batch.len()), ..BatchOutcome::default() };
        for ((context, sidecar), proof) in batch.into_iter().zip(proofs) {
            match proof {
                Proof::Holds => outcome.verified.push((context, sidecar.into_verified())),
                Proof::Wrong => outcome.faulty.push((context, sidecar)),
                Proof::Unchecked => outcome.unchecked.push((context, sidecar)),
            }
        }
        outcome
    }

    fn check_each(&self, batch: &[&Matched<BlobSidecar>]) -> Vec<Proof> {
        match (self.check(batch), batch.len()) {
            (Proof::Holds, count) => vec![Proof::Holds; count],
            (failure, 0 | 1) => vec![failure; batch.len()],
            (_, _) => batch.iter().map(|sidecar| self.check(&[sidecar])).collect(),
        }
    }

    /// Whether all proofs hold. c-kzg calls a malformed point or field element a bad argument.
    fn check(&self, batch: &[&Matched<BlobSidecar>]) -> Proof {
        let commitments: Vec<_> = batch.iter().map(|s| c_kzg::Bytes48::new(s.kzg_commitment.0)).collect();
        let proofs: Vec<_> = batch.iter().map(|s| c_kzg::Bytes48::new(s.kzg_proof.0)).collect();
        let mut blobs = Vec::with_capacity(batch.len());
        blobs.extend(batch.iter().map(|s| c_kzg::Blob::new(*s.blob.as_array())));
        match self.0.verify_blob_kzg_proof_batch(&blobs, &commitments, &proofs) {
            Ok(true) => Proof::Holds,
            Ok(false) | Err(c_kzg::Error::CError(CkzgError::C_KZG_BADARGS)) => Proof::Wrong,
            Err(_) => Proof::Unchecked,
        }
    }
}

/// Decodes and joins hex points.
fn points(hex_points: &[String], field: &'static str) -> Result<Vec<u8>, KzgSetupError> {
    let mut out = Vec::new();
    for point in hex_points {
        let digits = point.strip_prefix("0x").ok_or(KzgSetupError::Point(field))?;
        out.extend(hex::decode(digits).map_err(|_| KzgSetupError::Point(field))?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
