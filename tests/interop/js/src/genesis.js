// The genesis in a file that `lapis init` reads.

import { addressOf } from "./verify.js";
import { unhex } from "./containers.js";

/**
 * @param {string} text
 * @returns {import("./containers.js").GenesisObject}
 */
export function genesisFromJson(text) {
  // Numbers beyond 2^53 lose digits in JSON.parse, so all of them are read as text.
  const fields = JSON.parse(text.replace(/:\s*(\d+)/g, ': "$1"'));
  const members = fields.validators.map((/** @type {any} */ member) => ({
    public_key: unhex(member.public_key),
    power: BigInt(member.power),
  }));
  members.sort((/** @type {any} */ one, /** @type {any} */ other) => Buffer.compare(addressOf(one), addressOf(other)));
  return {
    chain_id: new Uint8Array(Buffer.from(fields.chain_id)),
    genesis_time: BigInt(fields.genesis_time),
    max_blobs_per_block: BigInt(fields.max_blobs_per_block),
    blob_retention_heights: BigInt(fields.blob_retention_heights),
    validators: { validators: members },
    execution_block_hash: unhex(fields.execution_block_hash),
    cancun_time: BigInt(fields.cancun_time),
    prague_time: BigInt(fields.prague_time),
  };
}
