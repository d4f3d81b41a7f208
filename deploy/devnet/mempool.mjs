/** Transactions that wait for a block, by sender and nonce. */

/** Stacks keeps a transaction for 256 blocks' time; here burn blocks count. */
const MAX_AGE_BURN_BLOCKS = 256;
/** A transaction that cannot be mined (a nonce gap, no funds) holds the market clock only so long, in wall time. */
const HOLD_MS = 30_000;

/** @typedef {import('./chain.mjs').Entry} Entry */

export class Mempool {
  /** @type {Map<string, Map<bigint, Entry>>} */
  #bySender = new Map();
  #size = 0;

  get size() {
    return this.#size;
  }

  /** @param {string} sender @param {bigint} nonce @returns {Entry | undefined} */
  get(sender, nonce) {
    return this.#bySender.get(sender)?.get(nonce);
  }

  /** @param {string} sender @returns {Entry[]} by nonce */
  of(sender) {
    const entries = [...(this.#bySender.get(sender)?.values() ?? [])];
    return entries.sort((one, other) => (one.tx.nonce < other.tx.nonce ? -1 : 1));
  }

  /** @returns {Entry[]} in order of arrival */
  all() {
    const entries = [...this.#bySender.values()].flatMap((one) => [...one.values()]);
    return entries.sort((one, other) => one.arrival - other.arrival);
  }

  /** Adds an entry; gives the one that it replaces (same sender and nonce). @param {Entry} entry */
  add(entry) {
    const { sender, nonce } = entry.tx;
    if (!this.#bySender.has(sender)) this.#bySender.set(sender, new Map());
    const own = this.#bySender.get(sender);
    const replaced = own.get(nonce);
    own.set(nonce, entry);
    if (replaced === undefined) this.#size += 1;
    return replaced;
  }

  /** @param {Entry} entry */
  remove(entry) {
    const own = this.#bySender.get(entry.tx.sender);
    if (own?.get(entry.tx.nonce) !== entry) return;
    own.delete(entry.tx.nonce);
    if (own.size === 0) this.#bySender.delete(entry.tx.sender);
    this.#size -= 1;
  }

  /**
   * What could be mined now: each sender's unbroken run of nonces that they can pay the fees of, in order of arrival
   * as far as nonces allow.
   * @param {import('./chain.mjs').Chain} chain @returns {Entry[]}
   */
  ready(chain) {
    const found = [];
    for (const [sender, own] of this.#bySender) {
      let { nonce, ustx } = chain.account(sender);
      let arrival = 0;
      for (let entry = own.get(nonce); entry !== undefined && entry.tx.fee <= ustx; entry = own.get(nonce)) {
        arrival = Math.max(arrival, entry.arrival);
        found.push({ entry, arrival });
        ustx -= entry.tx.fee;
        nonce += 1n;
      }
    }
    found.sort((one, other) => one.arrival - other.arrival);
    return found.map(({ entry }) => entry);
  }

  /** Whether something waits that may soon be mined.
   * @param {import('./chain.mjs').Chain} chain @param {number} nowMs wall time */
  holds(chain, nowMs) {
    if (this.#size === 0) return false;
    return this.ready(chain).length > 0 || this.all().some((entry) => nowMs - entry.receivedMs < HOLD_MS);
  }

  /** @param {number} burnHeight @returns {Entry[]} those too old to be kept */
  stale(burnHeight) {
    if (this.#size === 0) return [];
    return this.all().filter((entry) => burnHeight - entry.receivedBurnHeight > MAX_AGE_BURN_BLOCKS);
  }
}
