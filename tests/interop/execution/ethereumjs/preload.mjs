// Loaded before @ethereumjs/client 0.10.5, with `node --import`.
//
// Its blob pool counts gas by parameters of block and transaction that the chain's definition has not been given at that
// time: `eth_sendRawTransaction` then reports a missing parameter for every blob transaction, although the pool has taken
// it. Here a definition that lacks a parameter is given those two sets first.
import { paramsBlock } from '@ethereumjs/block'
import { Common } from '@ethereumjs/common'
import { paramsTx } from '@ethereumjs/tx'

const lookUp = Common.prototype.param
const completed = new WeakSet()

Common.prototype.param = function (name) {
  if (!completed.has(this) && !(name in this._paramsCache)) {
    completed.add(this)
    for (const set of [paramsBlock, paramsTx]) this.updateParams(set)
  }
  return lookUp.call(this, name)
}
