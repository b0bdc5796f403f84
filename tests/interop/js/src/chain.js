// A chain in memory, by height and by the hashes that others ask for.

import { Genesis, ValidatorSet, Value, hex } from "./containers.js";
import { tipOfGenesis, verifyDecided, verifyPayload, versionedHash } from "./verify.js";

/**
 * Everything that belongs to one height.
 *
 * @typedef {object} Record
 * @property {import("./containers.js").DecidedValueObject} decided
 * @property {import("./containers.js").PayloadEnvelopeObject} payload
 * @property {import("./containers.js").BlobSidecarObject[]} sidecars
 */

/** The heights from 1 to `head`. */
export class Chain {
  /** @param {import("./containers.js").GenesisObject} genesis */
  constructor(genesis) {
    this.genesis = genesis;
    this.genesisId = Genesis.hashTreeRoot(genesis);
    /** @type {Map<bigint, Record>} */
    this.records = new Map();
    this.sets = new Map([[hex(ValidatorSet.hashTreeRoot(genesis.validators)), genesis.validators]]);
    /** @type {Map<string, bigint>} */
    this.heightOfValue = new Map();
    /** @type {Map<string, import("./containers.js").BlobSidecarObject>} */
    this.sidecarOfHash = new Map();
  }

  /** The highest height; 0 while there is none. */
  get head() {
    return BigInt(this.records.size);
  }

  /**
   * Appends a height, with the sets that it brings.
   *
   * @param {Record} record
   * @param {import("./containers.js").ValidatorSetObject[]} sets
   */
  add(record, sets) {
    const { value } = record.decided;
    this.records.set(value.height, record);
    this.heightOfValue.set(hex(Value.hashTreeRoot(value)), value.height);
    for (const sidecar of record.sidecars) {
      const hash = hex(versionedHash(sidecar.kzg_commitment));
      if (!this.sidecarOfHash.has(hash)) {
        this.sidecarOfHash.set(hash, sidecar);
      }
    }
    for (const set of sets) {
      this.sets.set(hex(ValidatorSet.hashTreeRoot(set)), set);
    }
  }

  /** What a peer that holds all of this chain says of itself. */
  status() {
    const top = this.records.get(this.head);
    const floor = top ? 1n : 0n;
    return {
      genesis_id: this.genesisId,
      decided_height: this.head,
      decided_value_id: top ? Value.hashTreeRoot(top.decided.value) : new Uint8Array(32),
      available_height: this.head,
      earliest_value_height: floor,
      earliest_payload_height: floor,
      earliest_blob_height: floor,
    };
  }

  /** Checks certificates, links and payloads of all heights. */
  verify() {
    let tip = tipOfGenesis(this.genesis);
    for (const { decided, payload } of this.records.values()) {
      const set = /** @type {any} */ (this.sets.get(hex(tip.nextValidatorsRoot)));
      tip = verifyDecided(decided, tip, set, this.genesisId, this.genesis.max_blobs_per_block);
      verifyPayload(payload, decided.value);
    }
  }
}
