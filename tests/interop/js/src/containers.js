// The SSZ containers of protocol-spec/spec/containers.md, in the terms of @chainsafe/ssz.

import {
  ByteListType,
  ByteVectorType,
  ContainerType,
  ListCompositeType,
  UintBigintType,
  UintNumberType,
} from "@chainsafe/ssz";

export const MAX_BLOBS_PER_BLOCK = 4096;
export const MAX_VALIDATORS = 1024;
export const MAX_PAYLOAD_BYTES = 33_554_432;
export const MAX_EXECUTION_REQUESTS = 64;
export const MAX_EXECUTION_REQUEST_BYTES = 1_048_576;
export const MAX_REQUEST_HEIGHTS = 128;
export const MAX_REQUEST_HASHES = 1024;
export const MAX_REQUEST_VALUE_IDS = 128;
export const MAX_REQUEST_SIDECARS = 4096;
export const BYTES_PER_BLOB = 131_072;

const uint8 = new UintNumberType(1);
export const uint64 = new UintBigintType(8);
const Bytes20 = new ByteVectorType(20);
export const Bytes32 = new ByteVectorType(32);
const Bytes48 = new ByteVectorType(48);
const Bytes64 = new ByteVectorType(64);

export const Value = new ContainerType({
  height: uint64,
  timestamp: uint64,
  parent_value_id: Bytes32,
  proposer: Bytes20,
  validators_root: Bytes32,
  next_validators_root: Bytes32,
  block_hash: Bytes32,
  parent_block_hash: Bytes32,
  payload_digest: Bytes32,
  payload_size: uint64,
  requests_hash: Bytes32,
  blob_kzg_commitments: new ListCompositeType(Bytes48, MAX_BLOBS_PER_BLOCK),
});

export const CommitSignature = new ContainerType({ address: Bytes20, signature: Bytes64 });

export const CommitCertificate = new ContainerType({
  height: uint64,
  round: uint64,
  value_id: Bytes32,
  signatures: new ListCompositeType(CommitSignature, MAX_VALIDATORS),
});

export const DecidedValue = new ContainerType({ value: Value, certificate: CommitCertificate });

export const Validator = new ContainerType({ public_key: Bytes32, power: uint64 });

export const ValidatorSet = new ContainerType({
  validators: new ListCompositeType(Validator, MAX_VALIDATORS),
});

export const VoteSigningData = new ContainerType({
  domain: Bytes32,
  genesis_id: Bytes32,
  kind: uint8,
  height: uint64,
  round: uint64,
  value_id: Bytes32,
});

export const Genesis = new ContainerType({
  chain_id: new ByteListType(64),
  genesis_time: uint64,
  max_blobs_per_block: uint64,
  blob_retention_heights: uint64,
  validators: ValidatorSet,
  execution_block_hash: Bytes32,
  cancun_time: uint64,
  prague_time: uint64,
});

export const Status = new ContainerType({
  genesis_id: Bytes32,
  decided_height: uint64,
  decided_value_id: Bytes32,
  available_height: uint64,
  earliest_value_height: uint64,
  earliest_payload_height: uint64,
  earliest_blob_height: uint64,
});

export const HeightRange = new ContainerType({ start_height: uint64, count: uint64 });

export const PayloadEnvelope = new ContainerType({
  height: uint64,
  value_id: Bytes32,
  payload: new ByteListType(MAX_PAYLOAD_BYTES),
  execution_requests: new ListCompositeType(
    new ByteListType(MAX_EXECUTION_REQUEST_BYTES),
    MAX_EXECUTION_REQUESTS,
  ),
});

export const BlobSidecar = new ContainerType({
  height: uint64,
  index: uint64,
  kzg_commitment: Bytes48,
  kzg_proof: Bytes48,
  blob: new ByteVectorType(BYTES_PER_BLOB),
});

export const ValueIds = new ListCompositeType(Bytes32, MAX_REQUEST_VALUE_IDS);
export const VersionedHashes = new ListCompositeType(Bytes32, MAX_REQUEST_HASHES);

/** @type {Record<string, import("@chainsafe/ssz").Type<any>>} */
export const CONTAINERS = {
  Value,
  CommitSignature,
  CommitCertificate,
  DecidedValue,
  Validator,
  ValidatorSet,
  VoteSigningData,
  Genesis,
  Status,
  HeightRange,
  PayloadEnvelope,
  BlobSidecar,
};

/** @typedef {import("@chainsafe/ssz").ValueOf<typeof Value>} ValueObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof DecidedValue>} DecidedValueObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof CommitCertificate>} CertificateObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof Validator>} ValidatorObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof ValidatorSet>} ValidatorSetObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof Genesis>} GenesisObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof Status>} StatusObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof HeightRange>} HeightRangeObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof PayloadEnvelope>} PayloadEnvelopeObject */
/** @typedef {import("@chainsafe/ssz").ValueOf<typeof BlobSidecar>} BlobSidecarObject */

/**
 * Decodes `ssz`, and refuses everything but the one encoding of what it decodes to.
 *
 * @template T
 * @param {import("@chainsafe/ssz").Type<T>} type
 * @param {Uint8Array} ssz
 * @returns {T}
 */
export function decodeStrictly(type, ssz) {
  const item = type.deserialize(ssz);
  if (!sameBytes(type.serialize(item), ssz)) {
    throw new Error(`not the encoding of a ${type.typeName}`);
  }
  return item;
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function sameBytes(one, other) {
  return Buffer.compare(one, other) === 0;
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

/**
 * Bytes from hex, with or without `0x`.
 *
 * @param {string} text
 */
export function unhex(text) {
  return new Uint8Array(Buffer.from(text.replace(/^0x/, ""), "hex"));
}
