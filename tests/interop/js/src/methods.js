// The nine methods: what is sent in each direction. Lodestar's package takes the bounds from the types.

import {
  BlobSidecar,
  Bytes32,
  DecidedValue,
  HeightRange,
  MAX_REQUEST_HASHES,
  MAX_REQUEST_HEIGHTS,
  MAX_REQUEST_SIDECARS,
  MAX_REQUEST_VALUE_IDS,
  PayloadEnvelope,
  Status,
  ValidatorSet,
  ValueIds,
  VersionedHashes,
  uint64,
} from "./containers.js";

export const PREFIX = "/lapis/req";
export const VERSION = 1;
export const ENCODING = "ssz_snappy";

/**
 * @typedef {object} Method
 * @property {string} name
 * @property {import("@chainsafe/ssz").Type<any>} request
 * @property {import("@chainsafe/ssz").Type<any>} item
 * @property {number} mostItems
 */

/** @type {Record<string, Method>} */
export const METHODS = Object.fromEntries(
  /** @type {[string, import("@chainsafe/ssz").Type<any>, import("@chainsafe/ssz").Type<any>, number][]} */ ([
    ["status", Status, Status, 1],
    ["ping", uint64, uint64, 1],
    ["goodbye", uint64, uint64, 0],
    ["decided_values_by_range", HeightRange, DecidedValue, MAX_REQUEST_HEIGHTS],
    ["validator_set_by_root", Bytes32, ValidatorSet, 1],
    ["payloads_by_range", HeightRange, PayloadEnvelope, MAX_REQUEST_HEIGHTS],
    ["payloads_by_root", ValueIds, PayloadEnvelope, MAX_REQUEST_VALUE_IDS],
    ["blobs_by_range", HeightRange, BlobSidecar, MAX_REQUEST_SIDECARS],
    ["blobs_by_root", VersionedHashes, BlobSidecar, MAX_REQUEST_HASHES],
  ]).map(([name, request, item, mostItems]) => [name, { name, request, item, mostItems }]),
);

/** @param {string} method */
export function protocolId(method) {
  return `${PREFIX}/${method}/${VERSION}/${ENCODING}`;
}
