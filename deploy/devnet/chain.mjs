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
 * @property {string | null} error what the VM said
 * @property {string | null} replacedBy
 *
 * @typedef {{height: number, hash: string, indexHash: string, parentHash: string, parentIndexHash: string,
 *   burnHeight: number, time: number, entries: Entry[]}} StacksBlock
 * @typedef {{height: number, hash: string, time: number, blocks: StacksBlock[]}} BurnBlock
 * @typedef {{source: string, interface: any, txid: string, height: number}} Contract
 */

const digest = (...parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex');
const ZERO_HASH = '0'.repeat(64);

export class Chain {
  /** @type {StacksBlock[]} */ blocks = [];
  /** @type {BurnBlock[]} */ burnBlocks = [];
  /** @type {Map<string, StacksBlock>} by hash and by index hash */ blocksByHash = new Map();
  /** @type {Map<string, BurnBlock>} */ burnBlocksByHash = new Map();
  /** @type {Map<string, Entry>} by txid */ entries = new Map();
  /** @type {Map<string, Contract>} */ contracts = new Map();
  balances = new Balances();
  /** @type {Map<string, bigint>} next nonce */ #nonces = new Map();
  /** @type {Map<string, bigint>} */ #fees = new Map();

  /** @param {number} genesisTime unix seconds of the first burn block */
  constructor(genesisTime) {
    this.genesisTime = genesisTime;
    this.addBurnBlock();
    this.addBlock(genesisTime, []);
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

  addBurnBlock() {
    const height = GENESIS_HEIGHT + this.burnBlocks.length;
    const parent = this.burnBlocks.length === 0 ? ZERO_HASH : this.burnTip.hash;
    const time = this.burnTime(height);
    const block = { height, hash: digest('burn block', parent, height, time), time, blocks: [] };
    this.burnBlocks.push(block);
    this.burnBlocksByHash.set(block.hash, block);
  }

  /**
   * Adds a Stacks block of transactions that were executed.
   * @param {number} time unix seconds @param {Entry[]} entries their outcomes are set
   */
  addBlock(time, entries) {
    const height = GENESIS_HEIGHT + this.blocks.length;
    const [parentHash, parentIndexHash] = height === GENESIS_HEIGHT
      ? [ZERO_HASH, ZERO_HASH] : [this.tip.hash, this.tip.indexHash];
    const burnHeight = this.burnTip.height;
    const content = entries.map(({ tx, status, result }) => [tx.txid, status, result]);
    const hash = digest('stacks block', parentHash, height, burnHeight, time, content);
    const indexHash = digest('index block', hash, this.burnTip.hash);
    const block = { height, hash, indexHash, parentHash, parentIndexHash, burnHeight, time, entries };
    this.blocks.push(block);
    this.burnTip.blocks.push(block);
    this.blocksByHash.set(hash, block).set(indexHash, block);
    for (const [index, entry] of entries.entries()) this.#settle(entry, block, index);
    return block;
  }

  /** @param {Entry} entry @param {StacksBlock} block @param {number} index */
  #settle(entry, block, index) {
    const { sender, fee, nonce } = entry.tx;
    entry.block = block;
    entry.index = index;
    this.#nonces.set(sender, nonce + 1n);
    this.#fees.set(sender, (this.#fees.get(sender) ?? 0n) + fee);
    if (fee > 0n) this.balances.move(STX, fee, sender, MINER);
    this.balances.apply(entry.events);
  }
}
