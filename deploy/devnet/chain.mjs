/**
 * The chain as the HTTP side sees it: blocks, burn blocks, transactions, accounts, contracts. It is made of nothing
 * but the log's records and the VM's outcomes, so that a replay gives the same hashes.
 */
import { createHash } from 'node:crypto';
import { Balances, STX } from './balances.mjs';
import { MINER } from './executor.mjs';

export const BURN_BLOCK_SECONDS = 600;
export const GENESIS_HEIGHT = 1;

/**
 * @typedef {object} Entry  a transaction that the mempool took
 * @property {import('./transaction.mjs').Transaction} tx
 * @property {number} arrival number in order of arrival
 * @property {number} receivedMs wall time
 * @property {number} receivedBurnHeight
 * @property {string} status as the API names it
 * @property {StacksBlock | null} block
 * @property {number} index in the block
 * @property {string} result serialized, hex
 * @property {import('./clarity_session.mjs').VmEvent[]} events
 * @property {import('./clarity_session.mjs').VmResult['costs']} costs where the VM tells them
 * @property {string | null} error what the VM said
 * @property {string | null} replacedBy
 *
 * @typedef {{height: number, hash: string, indexHash: string, parentHash: string, parentIndexHash: string,
 *   burnHeight: number, time: number, entries: Entry[], vm: VmPlace}} StacksBlock
 * @typedef {{inputs: number, burns: number, time: number | null}} VmPlace  how the VM comes to the state after the block:
 *   after so many inputs, and so many more burn blocks; its time there, where that is known
 * @typedef {{height: number, hash: string, time: number, blocks: StacksBlock[]}} BurnBlock
 * @typedef {{source: string, interface: any, txid: string, height: number}} Contract
 */

const digest = (...parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex');
/** What sets a branch's hashes apart; a chain without forks has the hashes that it always had. */
const branch = (forks) => (forks === 0 ? [] : [forks]);
const ZERO_HASH = '0'.repeat(64);

export class Chain {
  /** @type {StacksBlock[]} */ blocks = [];
  /** @type {BurnBlock[]} */ burnBlocks = [];
  /** @type {Map<string, StacksBlock>} by hash and by index hash */ blocksByHash = new Map();
  /** @type {Map<string, BurnBlock>} */ burnBlocksByHash = new Map();
  /** @type {Map<string, Entry>} by txid */ entries = new Map();
  /** @type {Map<string, Contract>} */ contracts = new Map();
  balances = new Balances();
  /** How often the chain went another way, and how often burn blocks did. */
  forks = 0;
  burnForks = 0;
  /** @type {Map<string, bigint>} next nonce */ #nonces = new Map();
  /** @type {Map<string, bigint>} */ #fees = new Map();

  /** @param {number} genesisTime unix seconds of the first burn block */
  constructor(genesisTime) {
    this.genesisTime = genesisTime;
    this.addBurnBlock();
    this.addBlock(genesisTime, [], { inputs: 0, burns: 0, time: null });
  }

  get tip() {
    return this.blocks[this.blocks.length - 1];
  }

  get burnTip() {
    return this.burnBlocks[this.burnBlocks.length - 1];
  }

  /** @param {string} principal @returns {{ustx: bigint, nonce: bigint, fees: bigint}} fees: paid so far */
  account(principal) {
    const ustx = this.balances.holding(principal, STX).balance;
    return { ustx, nonce: this.#nonces.get(principal) ?? 0n, fees: this.#fees.get(principal) ?? 0n };
  }

  /** The time of a burn block, by its height; also of one to come. */
  burnTime(height) {
    return this.genesisTime + BURN_BLOCK_SECONDS * (height - GENESIS_HEIGHT);
  }

  /** @param {number} height @returns {StacksBlock | undefined} */
  blockAt(height) {
    return this.blocks[height - GENESIS_HEIGHT];
  }

  /** @param {number} height @returns {BurnBlock | undefined} */
  burnBlockAt(height) {
    return this.burnBlocks[height - GENESIS_HEIGHT];
  }

  /** How many of the last blocks can be withdrawn: none that a contract is deployed in, and not the first. */
  get forkable() {
    const deployed = [...this.contracts.values()].map(({ height }) => height);
    return this.tip.height - Math.max(GENESIS_HEIGHT, ...deployed);
  }

  addBurnBlock() {
    const height = GENESIS_HEIGHT + this.burnBlocks.length;
    const parent = this.burnBlocks.length === 0 ? ZERO_HASH : this.burnTip.hash;
    const time = this.burnTime(height);
    const block = { height, hash: digest('burn block', parent, height, time, ...branch(this.burnForks)), time, blocks: [] };
    this.burnBlocks.push(block);
    this.burnBlocksByHash.set(block.hash, block);
  }

  /**
   * Adds a Stacks block of transactions that were executed.
   * @param {number} time unix seconds @param {Entry[]} entries their outcomes are set
   * @param {VmPlace} vm @param {BurnBlock} [burn] the burn block that it belongs to
   */
  addBlock(time, entries, vm, burn = this.burnTip) {
    const height = GENESIS_HEIGHT + this.blocks.length;
    const [parentHash, parentIndexHash] = height === GENESIS_HEIGHT
      ? [ZERO_HASH, ZERO_HASH] : [this.tip.hash, this.tip.indexHash];
    const burnHeight = burn.height;
    const content = entries.map(({ tx, status, result }) => [tx.txid, status, result]);
    const hash = digest('stacks block', parentHash, height, burnHeight, time, content, ...branch(this.forks));
    const indexHash = digest('index block', hash, burn.hash);
    const block = { height, hash, indexHash, parentHash, parentIndexHash, burnHeight, time, entries, vm };
    this.blocks.push(block);
    burn.blocks.push(block);
    this.blocksByHash.set(hash, block).set(indexHash, block);
    for (const [index, entry] of entries.entries()) this.#settle(entry, block, index);
    return block;
  }

  /**
   * The last blocks never were; their transactions are as they came.
   * @param {number} depth @returns {Entry[]} the transactions, in the blocks' order
   */
  withdraw(depth) {
    const withdrawn = this.blocks.splice(-depth);
    for (const block of withdrawn.toReversed()) {
      this.blocksByHash.delete(block.hash);
      this.blocksByHash.delete(block.indexHash);
      this.burnBlockAt(block.burnHeight).blocks.pop();
      for (const entry of block.entries.toReversed()) this.#unsettle(entry);
    }
    return withdrawn.flatMap(({ entries }) => entries);
  }

  /** @param {number} count the last burn blocks never were; none has a Stacks block any more */
  withdrawBurnBlocks(count) {
    for (const { hash } of this.burnBlocks.splice(-count)) this.burnBlocksByHash.delete(hash);
  }

  /** @param {Entry} entry @param {StacksBlock} block @param {number} index */
  #settle(entry, block, index) {
    const { sender, nonce, payer, payerNonce, fee } = entry.tx;
    entry.block = block;
    entry.index = index;
    this.#nonces.set(sender, nonce + 1n).set(payer, payerNonce + 1n);
    this.#fees.set(payer, (this.#fees.get(payer) ?? 0n) + fee);
    if (fee > 0n) this.balances.move(STX, fee, payer, MINER);
    this.balances.apply(entry.events);
  }

  /** @param {Entry} entry the last one of its sender that is in a block */
  #unsettle(entry) {
    const { sender, nonce, payer, payerNonce, fee } = entry.tx;
    this.balances.apply(entry.events, -1n);
    if (fee > 0n) this.balances.move(STX, -fee, payer, MINER);
    this.#fees.set(payer, this.#fees.get(payer) - fee);
    this.#nonces.set(sender, nonce).set(payer, payerNonce);
    Object.assign(entry, { status: 'pending', block: null, index: 0, result: '', events: [], costs: null, error: null });
  }
}
