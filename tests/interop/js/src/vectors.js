// Everything in protocol-spec/vectors and protocol-spec/spec/vectors, held against @chainsafe/ssz, Node's own
// cryptography and Lodestar's framing. Proofs are left to the peer in Python.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { faultOfRange } from "./answers.js";
import { ArchiveFault, readArchive } from "./archive.js";
import {
  BlobSidecar,
  CONTAINERS,
  DecidedValue,
  Genesis,
  HeightRange,
  ValidatorSet,
  decodeStrictly,
  hex,
  unhex,
} from "./containers.js";
import { CANNOT_READ, LETS_PASS, readRequest, readResponse, rawMethod } from "./lodestar_vectors.js";
import { METHODS, protocolId } from "./methods.js";
import { say } from "./report.js";
import { Untrue, addressOf, requestsHash, sha256, signingBytes, verifyDecided, versionedHash } from "./verify.js";

// What stands before a secret key in DER (RFC 8410), the form that Node reads.
const ED25519_SECRET = Buffer.from("302e020100300506032b657004220420", "hex");
const FIELD_ELEMENTS = 4096;

/** Counts comparisons. */
class Tally {
  count = 0;
  known = 0;

  /**
   * @param {unknown} got
   * @param {unknown} expected
   * @param {string} name
   */
  same(got, expected, name) {
    this.count += 1;
    if (String(got) !== String(expected)) {
      throw new Error(`${name}: ${got}, expected ${expected}`);
    }
  }

  /**
   * Right bytes, and whether Lodestar read them as they are meant. Where it is known not to, it must not.
   *
   * @param {unknown} got
   * @param {unknown} expected
   * @param {string} name
   */
  read(got, expected, name) {
    if (!CANNOT_READ.has(name)) {
      this.same(got, expected, name);
      return;
    }
    this.known += 1;
    this.same(String(got) === String(expected), false, `${name}: Lodestar reads it now`);
  }

  /**
   * Wrong bytes, and whether Lodestar refused them. Where it is known not to, it must not.
   *
   * @param {boolean} refused
   * @param {string} name
   */
  refused(refused, name) {
    const known = LETS_PASS.has(name);
    this.known += known ? 1 : 0;
    this.same(refused, !known, `${name}: whether Lodestar refuses it`);
  }
}

/**
 * Reports each file of vectors. Whether none differs.
 *
 * @param {string} spec  the folder protocol-spec
 */
export async function checkVectors(spec) {
  let held = true;
  for (const [name, check] of Object.entries(CHECKS)) {
    const tally = new Tally();
    try {
      await check(JSON.parse(await readFile(join(spec, name), "utf8")), tally);
      const known = tally.known ? `, ${tally.known} known differences of Lodestar's reader` : "";
      say({ case: name, ok: true, detail: `${tally.count} comparisons${known}` });
    } catch (error) {
      say({ case: name, ok: false, detail: String(error) });
      held = false;
    }
  }
  return held;
}

/** @type {Record<string, (file: any, tally: Tally) => void | Promise<void>>} */
const CHECKS = {
  "vectors/containers.json": checkContainers,
  "vectors/certificates.json": checkCertificates,
  "vectors/requests.json": checkRequests,
  "vectors/responses.json": checkResponses,
  "vectors/archives.json": checkArchives,
  "spec/vectors/framing.json": checkFraming,
};

/** @type {(file: any, tally: Tally) => void} */
function checkContainers({ containers, refused, sidecar, hashes }, tally) {
  for (const { name, type, ssz, root } of containers) {
    const item = decodeStrictly(CONTAINERS[type], unhex(ssz));
    tally.same(hex(CONTAINERS[type].hashTreeRoot(item)), root.slice(2), name);
  }
  for (const { name, type, ssz } of refused) {
    tally.same(decodes(CONTAINERS[type], unhex(ssz)), false, name);
  }
  const ssz = Buffer.concat([unhex(sidecar.header), blobOfSeed(sidecar.blob_seed)]);
  tally.same(hex(sha256(ssz)), sidecar.ssz_sha256.slice(2), "sidecar");
  const root = BlobSidecar.hashTreeRoot(decodeStrictly(BlobSidecar, ssz));
  tally.same(hex(root), sidecar.root.slice(2), "root of the sidecar");
  for (const { commitment, versioned_hash } of hashes.versioned_hashes) {
    tally.same(hex(versionedHash(unhex(commitment))), versioned_hash.slice(2), "versioned hash");
  }
  for (const { requests, hash } of hashes.requests_hash) {
    tally.same(hex(requestsHash(requests.map(unhex))), hash.slice(2), "requests hash");
  }
  tally.same(hex(sha256(unhex(hashes.payload))), hashes.payload_digest.slice(2), "payload digest");
}

/**
 * @param {import("@chainsafe/ssz").Type<any>} type
 * @param {Uint8Array} ssz
 */
function decodes(type, ssz) {
  try {
    decodeStrictly(type, ssz);
    return true;
  } catch {
    return false;
  }
}

/**
 * Field element `i` is the number `seed * 2^32 + i`, most significant byte first.
 *
 * @param {number} seed
 */
function blobOfSeed(seed) {
  const blob = Buffer.alloc(32 * FIELD_ELEMENTS);
  for (let i = 0; i < FIELD_ELEMENTS; i++) {
    blob.writeUInt32BE(seed, 32 * i + 24);
    blob.writeUInt32BE(i, 32 * i + 28);
  }
  return blob;
}

/** @type {(file: any, tally: Tally) => void} */
function checkCertificates({ genesis, keys, signing, cases, chain, max_blobs_per_block }, tally) {
  const genesisId = Genesis.hashTreeRoot(decodeStrictly(Genesis, unhex(genesis.ssz)));
  tally.same(hex(genesisId), genesis.id.slice(2), "genesis id");
  checkSigning(genesisId, keys, signing, tally);
  for (const { name, decided_value, tip, signers, expected } of [...cases, ...chain]) {
    const decided = decodeStrictly(DecidedValue, unhex(decided_value));
    const set = decodeStrictly(ValidatorSet, unhex(signers));
    tally.same(outcomeOf(decided, tipOf(tip), set, genesisId, BigInt(max_blobs_per_block)), expected, name);
  }
}

/**
 * @param {Parameters<typeof verifyDecided>} parameters
 */
function outcomeOf(...parameters) {
  try {
    verifyDecided(...parameters);
    return "valid";
  } catch (error) {
    if (error instanceof Untrue) {
      return error.message;
    }
    throw error;
  }
}

/** @param {any} tip */
function tipOf(tip) {
  return {
    height: BigInt(tip.height),
    valueId: unhex(tip.value_id),
    nextValidatorsRoot: unhex(tip.next_validators_root),
    blockHash: unhex(tip.block_hash),
    timestamp: BigInt(tip.timestamp),
  };
}

/** @type {(genesisId: Uint8Array, keys: any[], signing: any[], tally: Tally) => void} */
function checkSigning(genesisId, keys, signing, tally) {
  const secrets = new Map();
  for (const { secret_key, public_key, address } of keys) {
    const der = Buffer.concat([ED25519_SECRET, unhex(secret_key)]);
    const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const made = createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(12);
    tally.same(hex(made), public_key.slice(2), "public key");
    tally.same(hex(addressOf({ public_key: made, power: 1n })), address.slice(2), "address");
    secrets.set(address, secret);
  }
  for (const { kind, height, round, value_id, signing_bytes, signatures } of signing) {
    const step = { kind: kind === "prevote" ? 1 : 2, height: BigInt(height), round: BigInt(round) };
    const message = signingBytes(genesisId, { ...step, value_id: unhex(value_id) });
    tally.same(hex(message), signing_bytes.slice(2), `what a ${kind} signs`);
    for (const { address, signature } of signatures) {
      tally.same(hex(sign(null, message, secrets.get(address))), signature.slice(2), "signature");
    }
  }
}

/** @type {(file: any, tally: Tally) => Promise<void>} */
async function checkRequests({ accepted, bad_framing, bad_ranges }, tally) {
  for (const { name, method, protocol_id, ssz, framed } of accepted) {
    tally.same(protocolId(method), protocol_id, name);
    const { request } = await readRequest(METHODS[method], unhex(framed));
    tally.read(request !== undefined && hex(METHODS[method].request.serialize(request)), ssz.slice(2), name);
  }
  for (const { name, method, framed } of bad_framing) {
    const { request } = await readRequest(METHODS[method], unhex(framed));
    tally.refused(request === undefined, name);
  }
  for (const { name, ssz, expected } of bad_ranges) {
    tally.same(faultOfRange(decodeStrictly(HeightRange, unhex(ssz))) ?? "valid", expected, name);
  }
}

/** @type {(file: any, tally: Tally) => Promise<void>} */
async function checkResponses({ good, bad }, tally) {
  for (const { name, method, stream, chunks, end } of [...good, ...bad]) {
    const { minSize, maxSize } = METHODS[method].item;
    await checkStream({ name, wire: stream, chunks, end, min: minSize, max: maxSize }, tally);
  }
}

/** @type {(file: any, tally: Tally) => Promise<void>} */
async function checkFraming({ vectors }, tally) {
  for (const { name, shape, wire, min, max, payload, chunks, error } of vectors) {
    if (shape !== "request") {
      await checkStream({ name, wire, chunks: chunks ?? [], end: error ?? "complete", min, max }, tally);
      continue;
    }
    const { request } = await readRequest(rawMethod(min, max), unhex(wire));
    if (error) {
      tally.refused(request === undefined, name);
    } else {
      tally.read(request && hex(request), payload.replace(/^0x/, ""), name);
    }
  }
}

/**
 * One response, as Lodestar reads it: the items, and the result of the error chunk that ends them.
 *
 * @param {{name: string, wire: string, chunks: any[], end: string, min: number, max: number}} vector
 * @param {Tally} tally
 */
async function checkStream({ name, wire, chunks, end, min, max }, tally) {
  const got = await readResponse(rawMethod(min, max), unhex(wire));
  const refusal = chunks.find(({ result }) => result !== 0)?.result;
  if (end !== "complete") {
    tally.refused(got.fault !== undefined || got.refusal !== refusal, name);
    return;
  }
  const items = chunks.filter(({ result }) => result === 0).map(({ payload }) => payload.replace(/^0x/, ""));
  tally.read([...got.items.map(hex), got.refusal, got.fault], [...items, refusal, undefined], name);
}

/** @type {(file: any, tally: Tally) => void} */
function checkArchives({ good, bad }, tally) {
  for (const { name, archive, genesis_id, last } of good) {
    const chain = readArchive(unhex(archive));
    chain.verify();
    tally.same(hex(chain.genesisId), genesis_id.slice(2), name);
    tally.same(chain.head, last, name);
  }
  for (const { name, archive, expected } of bad) {
    let outcome = "valid";
    try {
      readArchive(unhex(archive));
    } catch (error) {
      outcome = error instanceof ArchiveFault ? error.message : String(error);
    }
    tally.same(outcome, expected, name);
  }
}
