// Archives without compression: protocol-spec/spec/archive.md. A way to hand whole chains to a peer.

import { createXXHash3 } from "hash-wasm";

import { BlobSidecar, DecidedValue, Genesis, PayloadEnvelope, ValidatorSet, decodeStrictly, hex } from "./containers.js";
import { Chain } from "./chain.js";
import { isLegal } from "./verify.js";

const MAGIC = "894c415049530d0a";
const HEADER_BYTES = 64;
const FRAME_BYTES = 5;
const CHECKSUM_BYTES = 8;
const NO_COMPRESSION = 0;
const ZSTD = 1;
const LAST_HEIGHT = 2n ** 64n - 2n;

const HEIGHT = 1;
const SET = 2;
const VALUE = 3;
const PAYLOAD = 4;
const SIDECAR = 5;
const HEIGHT_END = 6;
const END = 7;

/** @type {Record<number, {minSize: number, maxSize: number}>} */
const CONTENT = {
  [HEIGHT]: { minSize: 16, maxSize: 16 },
  [SET]: ValidatorSet,
  [VALUE]: DecidedValue,
  [PAYLOAD]: PayloadEnvelope,
  [SIDECAR]: BlobSidecar,
  [HEIGHT_END]: { minSize: 8, maxSize: 8 },
  [END]: { minSize: 48, maxSize: 48 },
};

const xxh3 = await createXXHash3();

/** A file is no whole archive. Its message is the fault's name in the vectors. */
export class ArchiveFault extends Error {}

/** A place in the bytes of an archive. */
class Cursor {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  /** @param {number} count */
  take(count) {
    expect(this.at + count <= this.data.length, "Truncated");
    const taken = this.data.subarray(this.at, this.at + count);
    this.at += count;
    return taken;
  }

  peek() {
    expect(this.at < this.data.length, "Truncated");
    return this.data[this.at];
  }

  /**
   * The content of the next frame, which is to be of `kind`.
   *
   * @param {number} kind
   */
  frame(kind) {
    expect(this.peek() === kind, "Frame");
    const length = Number(number(this.take(FRAME_BYTES).subarray(1)));
    expect(length >= CONTENT[kind].minSize && length <= CONTENT[kind].maxSize, "Length");
    return this.take(length);
  }
}

/**
 * The chain in an archive that begins at height 1. None of it has been verified.
 *
 * @param {Uint8Array} data
 */
export function readArchive(data) {
  const cursor = new Cursor(data);
  const { first, last, genesis } = readHeader(cursor);
  const chain = new Chain(genesis);
  /** @type {Uint8Array} */
  let valueId = new Uint8Array();
  for (let height = first; height <= last; height++) {
    const { record, sets } = readRecord(cursor, height);
    chain.add(record, sets);
    valueId = record.decided.certificate.value_id;
  }
  readEnd(cursor, last - first + 1n, valueId);
  return chain;
}

/** @param {Cursor} cursor */
function readHeader(cursor) {
  expect(hex(cursor.data.subarray(0, 8)) === MAGIC, "NotAnArchive");
  const start = cursor.take(HEADER_BYTES);
  expect(number(start.subarray(8, 10)) === 1n, "Version");
  expect(start[10] === NO_COMPRESSION || start[10] === ZSTD, "Compression");
  expect(start[11] === 0, "Reserved");
  const [first, last] = [number(start.subarray(12, 20)), number(start.subarray(20, 28))];
  expect(1n <= first && first <= last && last <= LAST_HEIGHT, "Range");
  const length = Number(number(start.subarray(60, 64)));
  expect(length >= Genesis.minSize && length <= Genesis.maxSize, "GenesisLength");
  const ssz = cursor.take(length);
  expect(checksum(cursor.data.subarray(0, cursor.at)) === hex(cursor.take(CHECKSUM_BYTES)), "Checksum");
  const genesis = decode(Genesis, ssz);
  expect(isLegalGenesis(genesis), "Ssz");
  expect(hex(Genesis.hashTreeRoot(genesis)) === hex(start.subarray(28, 60)), "GenesisId");
  if (start[10] === ZSTD) {
    throw new Error("this reader takes archives without compression");
  }
  return { first, last, genesis };
}

/**
 * @param {Cursor} cursor
 * @param {bigint} height
 */
function readRecord(cursor, height) {
  const start = cursor.at;
  const content = cursor.frame(HEIGHT);
  expect(number(content.subarray(0, 8)) === height, "Height");
  const [length, behind] = [number(content.subarray(8)), cursor.at];
  const sets = [];
  while (cursor.peek() === SET && sets.length < 2) {
    sets.push(decode(ValidatorSet, cursor.frame(SET)));
  }
  const decided = decode(DecidedValue, cursor.frame(VALUE));
  expect(decided.value.height === height, "Height");
  const payload = decode(PayloadEnvelope, cursor.frame(PAYLOAD));
  expect(payload.height === height, "Height");
  const sidecars = decided.value.blob_kzg_commitments.map((_, index) => {
    const sidecar = decode(BlobSidecar, cursor.frame(SIDECAR));
    expect(sidecar.height === height && sidecar.index === BigInt(index), "Height");
    return sidecar;
  });
  const end = cursor.at;
  const sum = cursor.frame(HEIGHT_END);
  expect(BigInt(cursor.at - behind) === length, "RecordLength");
  expect(checksum(cursor.data.subarray(start, end + FRAME_BYTES)) === hex(sum), "Checksum");
  return { record: { decided, payload, sidecars }, sets };
}

/**
 * @param {Cursor} cursor
 * @param {bigint} records
 * @param {Uint8Array} valueId
 */
function readEnd(cursor, records, valueId) {
  const start = cursor.at;
  const content = cursor.frame(END);
  expect(checksum(cursor.data.subarray(start, start + 45)) === hex(content.subarray(40)), "Checksum");
  expect(number(content.subarray(0, 8)) === records, "Trailer");
  expect(hex(content.subarray(8, 40)) === hex(valueId), "Trailer");
  expect(cursor.at === cursor.data.length, "AfterEnd");
}

/** @param {import("./containers.js").GenesisObject} genesis */
function isLegalGenesis(genesis) {
  return (
    isLegal(genesis.validators) &&
    genesis.max_blobs_per_block <= 4096n &&
    genesis.blob_retention_heights >= 1n &&
    genesis.prague_time >= genesis.cancun_time
  );
}

/**
 * The 64-bit XXH3 of `data` in hex, least significant byte first.
 *
 * @param {Uint8Array} data
 */
function checksum(data) {
  const digest = xxh3.init().update(data).digest("binary");
  return hex(digest.reverse());
}

/**
 * An integer of which the least significant byte comes first.
 *
 * @param {Uint8Array} bytes
 */
function number(bytes) {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/**
 * As `decodeStrictly`, with the fault of an archive.
 *
 * @template T
 * @param {import("@chainsafe/ssz").Type<T>} type
 * @param {Uint8Array} ssz
 * @returns {T}
 */
function decode(type, ssz) {
  try {
    return decodeStrictly(type, ssz);
  } catch {
    throw new ArchiveFault("Ssz");
  }
}

/**
 * @param {boolean} condition
 * @param {string} name
 */
function expect(condition, name) {
  if (!condition) {
    throw new ArchiveFault(name);
  }
}
