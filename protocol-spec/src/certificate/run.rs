//! Values in a row that one set signs: their certificates are checked one by one, their signatures together.
//!
//! A sum over all signatures with random coefficients holds if each of them does, at less than half of the price. If it
//! does not hold, each signature is verified alone, in order. Both ways follow ZIP 215, in which the sum and the single
//! check agree on every encoding, so what comes out is what [`DecidedValue::verify`] says of one value after the other.
//!
//! The coefficients are no part of a decision: a wrong signature passes with a chance of 2^-128, provided that whoever
//! made it could not know them. They have to come from a generator that nobody can foretell.

use std::collections::VecDeque;

use ed25519_consensus::{Signature, VerificationKeyBytes, batch};
use rand_core::{CryptoRng, RngCore};

use super::{CertificateFault, ChainLink, CommitSignature, DecidedValue, Signers};
use crate::{Bytes32, MAX_VALIDATORS, ValidatorSet, Verified};

/// Most signatures that are verified together, which is as many as one certificate has: more save little, and this many
/// are verified twice if one of them is wrong.
const MAX_BATCH_SIGNATURES: usize = MAX_VALIDATORS;

/// What [`DecidedValue::verify_run`] found.
#[derive(Debug)]
pub struct VerifiedRun {
    /// Values in a row that hold.
    pub verified: Vec<Verified<DecidedValue>>,
    /// Why the value after these is not believed. Its sender's fault.
    pub fault: Option<CertificateFault>,
}

/// A value of which all holds but the signatures, which nobody has looked at.
struct Unsigned {
    value_id: Bytes32,
    message: Vec<u8>,
}

impl DecidedValue {
    /// Verifies values from the front of `values`, of which the first is to attach to `tip` and each further one to the one
    /// before it, as [`DecidedValue::verify`] does one by one, and takes those that hold out of it.
    ///
    /// It stops before a value that is at fault and before one that another set signs, and after some hundred signatures.
    /// If `values` is not empty, a call takes one value out or finds a fault. `rng` is for the coefficients under which
    /// signatures are added up: it decides nothing, but must be unpredictable.
    #[must_use]
    pub fn verify_run(
        values: &mut VecDeque<Self>,
        genesis_id: &Bytes32,
        max_blobs: u64,
        tip: &ChainLink,
        signers: &ValidatorSet,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> VerifiedRun {
        let signers = Signers::new(signers);
        let (unsigned, fault) = unsigned_run(values, genesis_id, max_blobs, tip, &signers);
        let run = || values.iter().zip(&unsigned);
        let signature_fault = if hold_together(run(), &signers, rng) {
            None
        } else {
            first_wrong(
                run().map(|(decided, unsigned)| decided.certificate.check_signatures(&unsigned.message, &signers)),
            )
        };
        // What follows a wrong signature was never reached.
        let (count, fault) = match signature_fault {
            Some((at, wrong)) => (at, Some(wrong)),
            None => (unsigned.len(), fault),
        };
        let held = values.drain(..count).zip(unsigned);
        VerifiedRun { verified: held.map(|(decided, held)| Verified::new(decided, held.value_id)).collect(), fault }
    }
}

/// The values at the front of which all holds but the signatures, and what is wrong with the next one.
fn unsigned_run(
    values: &VecDeque<DecidedValue>,
    genesis_id: &Bytes32,
    max_blobs: u64,
    tip: &ChainLink,
    signers: &Signers<'_>,
) -> (Vec<Unsigned>, Option<CertificateFault>) {
    let mut run = Vec::new();
    let (mut link, mut signatures) = (*tip, 0_usize);
    for decided in values {
        signatures = signatures.saturating_add(decided.certificate.signatures.len());
        let is_of_another_set = link.next_validators_root != tip.next_validators_root;
        if !run.is_empty() && (is_of_another_set || signatures > MAX_BATCH_SIGNATURES) {
            break;
        }
        let checked = decided.value.check_place(max_blobs, &link).and_then(|()| decided.check_signers(signers));
        match checked {
            Ok(value_id) => {
                link = ChainLink::after(&decided.value, value_id);
                run.push(Unsigned { value_id, message: decided.certificate.message(genesis_id) });
            }
            Err(fault) => return (run, Some(fault)),
        }
    }
    (run, None)
}

/// Whether all signatures of a run hold. `false` says nothing of any single one.
fn hold_together<'a>(
    run: impl Iterator<Item = (&'a DecidedValue, &'a Unsigned)>,
    signers: &Signers<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> bool {
    let mut together = batch::Verifier::new();
    for (decided, unsigned) in run {
        for CommitSignature { address, signature } in decided.certificate.signatures.iter() {
            let Ok(validator) = signers.member(address) else { return false };
            let key = VerificationKeyBytes::from(validator.public_key.0);
            together.queue((key, Signature::from(signature.0), &unsigned.message));
        }
    }
    together.verify(rng).is_ok()
}

fn first_wrong(checks: impl Iterator<Item = Result<(), CertificateFault>>) -> Option<(usize, CertificateFault)> {
    checks.enumerate().find_map(|(at, check)| check.err().map(|fault| (at, fault)))
}

#[cfg(test)]
mod tests;
