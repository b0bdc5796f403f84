// What makes a value or a payload worth keeping: protocol-spec/spec/certificates.md and containers.md.

import { createHash, createPublicKey, verify } from "node:crypto";

import { Value, ValidatorSet, VoteSigningData, hex, sameBytes } from "./containers.js";

const VOTE_DOMAIN = sha256(Buffer.from("lapis/vote/1"));
const PRECOMMIT = 2;
const MAX_TOTAL_POWER = 1n << 63n;
// What stands before a key in DER (RFC 8410), the form that Node reads.
const ED25519_HEADER = Buffer.from("302a300506032b6570032100", "hex");

/** An item does not hold. Its message is the fault's name in the specification, where it has one. */
export class Untrue extends Error {}

/**
 * What the next value must attach to.
 *
 * @typedef {object} Tip
 * @property {bigint} height
 * @property {Uint8Array} valueId
 * @property {Uint8Array} nextValidatorsRoot
 * @property {Uint8Array} blockHash
 * @property {bigint} timestamp
 */

/** @param {...Uint8Array} parts */
export function sha256(...parts) {
  const hash = createHash("sha256");
  parts.forEach((part) => hash.update(part));
  return new Uint8Array(hash.digest());
}

/**
 * The name of the blob with this commitment, as in EIP-4844.
 *
 * @param {Uint8Array} commitment
 */
export function versionedHash(commitment) {
  const hash = sha256(commitment);
  hash[0] = 1;
  return hash;
}

/**
 * The EIP-7685 hash of execution requests.
 *
 * @param {Uint8Array[]} requests
 */
export function requestsHash(requests) {
  return sha256(...requests.map((request) => sha256(request)));
}

/** @param {import("./containers.js").ValidatorObject} validator */
export function addressOf(validator) {
  return sha256(validator.public_key).slice(0, 20);
}

/**
 * The tip before height 1.
 *
 * @param {import("./containers.js").GenesisObject} genesis
 * @returns {Tip}
 */
export function tipOfGenesis(genesis) {
  return {
    height: 0n,
    valueId: new Uint8Array(32),
    nextValidatorsRoot: ValidatorSet.hashTreeRoot(genesis.validators),
    blockHash: genesis.execution_block_hash,
    timestamp: genesis.genesis_time,
  };
}

/**
 * The tip after `value`.
 *
 * @param {import("./containers.js").ValueObject} value
 * @returns {Tip}
 */
export function tipOfValue(value) {
  return {
    height: value.height,
    valueId: Value.hashTreeRoot(value),
    nextValidatorsRoot: value.next_validators_root,
    blockHash: value.block_hash,
    timestamp: value.timestamp,
  };
}

/**
 * The bytes that a vote signs.
 *
 * @param {Uint8Array} genesisId
 * @param {{kind: number, height: bigint, round: bigint, value_id: Uint8Array}} vote
 */
export function signingBytes(genesisId, vote) {
  return VoteSigningData.serialize({ domain: VOTE_DOMAIN, genesis_id: genesisId, ...vote });
}

/**
 * Whether a set has members, in order, each with power, and not too much of it together.
 *
 * @param {import("./containers.js").ValidatorSetObject} set
 */
export function isLegal(set) {
  const addresses = set.validators.map(addressOf);
  const ascending = addresses.every((one, i) => i === 0 || Buffer.compare(addresses[i - 1], one) < 0);
  const total = set.validators.reduce((sum, member) => sum + member.power, 0n);
  const powerful = set.validators.every((member) => member.power >= 1n);
  return addresses.length > 0 && ascending && powerful && total < MAX_TOTAL_POWER;
}

/**
 * Checks a decided value in the order of the specification. The result is the tip after it.
 *
 * @param {import("./containers.js").DecidedValueObject} decided
 * @param {Tip} tip
 * @param {import("./containers.js").ValidatorSetObject} set
 * @param {Uint8Array} genesisId
 * @param {bigint} maxBlobsPerBlock
 */
export function verifyDecided(decided, tip, set, genesisId, maxBlobsPerBlock) {
  const { value, certificate } = decided;
  expect(value.height === tip.height + 1n, "Height");
  expect(sameBytes(value.parent_value_id, tip.valueId), "ParentValue");
  expect(sameBytes(value.validators_root, tip.nextValidatorsRoot), "ValidatorsRoot");
  expect(sameBytes(value.parent_block_hash, tip.blockHash), "ParentBlock");
  expect(value.timestamp > tip.timestamp, "Timestamp");
  expect(BigInt(value.blob_kzg_commitments.length) <= maxBlobsPerBlock, "TooManyBlobs");
  expect(certificate.height === value.height, "CertificateHeight");
  expect(sameBytes(certificate.value_id, Value.hashTreeRoot(value)), "CertificateValue");
  expect(sameBytes(ValidatorSet.hashTreeRoot(set), value.validators_root), "OtherSet");
  expect(isLegal(set), "IllegalSet");
  verifyCertificate(certificate, set, genesisId);
  return tipOfValue(value);
}

/**
 * Checks signers, power and signatures. Node is stricter than the protocol's ZIP 215 about points that no honest key
 * or signature has.
 *
 * @param {import("./containers.js").CertificateObject} certificate
 * @param {import("./containers.js").ValidatorSetObject} set
 * @param {Uint8Array} genesisId
 */
function verifyCertificate(certificate, set, genesisId) {
  const members = new Map(set.validators.map((member) => [hex(addressOf(member)), member]));
  const signed = new Set();
  let power = 0n;
  for (const { address } of certificate.signatures) {
    const member = members.get(hex(address));
    if (member === undefined) {
      throw new Untrue("UnknownSigner");
    }
    expect(!signed.has(member), "DuplicateSigner");
    signed.add(member);
    power += member.power;
  }
  const total = set.validators.reduce((sum, member) => sum + member.power, 0n);
  expect(3n * power > 2n * total, "Power");
  const { height, round, value_id } = certificate;
  const message = signingBytes(genesisId, { kind: PRECOMMIT, height, round, value_id });
  for (const { address, signature } of certificate.signatures) {
    const { public_key } = /** @type {any} */ (members.get(hex(address)));
    const der = Buffer.concat([ED25519_HEADER, public_key]);
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    expect(verify(null, message, key, signature), "Signature");
  }
}

/**
 * Checks that a payload belongs to `value`.
 *
 * @param {import("./containers.js").PayloadEnvelopeObject} envelope
 * @param {import("./containers.js").ValueObject} value
 */
export function verifyPayload(envelope, value) {
  const { payload, execution_requests: requests } = envelope;
  expect(sameBytes(envelope.value_id, Value.hashTreeRoot(value)), "another value's payload");
  expect(envelope.height === value.height, "another height's payload");
  expect(BigInt(payload.length) === value.payload_size, "payload size");
  expect(requests.every((request) => request.length >= 2), "request without content");
  expect(sameBytes(requestsHash(requests), value.requests_hash), "requests hash");
  expect(sameBytes(sha256(payload), value.payload_digest), "payload digest");
}

/**
 * @param {boolean} condition
 * @param {string} name
 */
function expect(condition, name) {
  if (!condition) {
    throw new Untrue(name);
  }
}
