/** Transactions that wait for a block, by sender and nonce. */

/** Stacks keeps a transaction for 256 blocks' time; here burn blocks count. */
const MAX_AGE_BURN_BLOCKS = 256;
/** A transaction that cannot be mined (a nonce gap, no funds) holds the market clock only so long, in wall time. */
const HOLD_MS = 30_000;

/** @typedef {import('./chain.mjs').Entry} Entry */

/** The nonces that a transaction uses: its sender's, and its sponsor's. @returns {[account: string, nonce: bigint][]} */
const slotsOf = ({ sender, nonce, payer, payerNonce }) =>
  (payer === sender ? [[sender, nonce]] : [[sender, nonce], [payer, payerNonce]]);

export class Mempool {
  /** @type {Map<string, Map<bigint, Entry>>} */
  #byAccount = new Map();
  #size = 0;

  get size() {
    return this.#size;
  }

  /** @param {string} account @param {bigint} nonce @returns {Entry | undefined} what uses it, as sender or sponsor */
  get(account, nonce) {
    return this.#byAccount.get(account)?.get(nonce);
  }

  /** @param {string} account @returns {bigint[]} the nonces of what waits, in order */
  noncesOf(account) {
    return [...(this.#byAccount.get(account)?.keys() ?? [])].sort((one, other) => (one < other ? -1 : 1));
  }

  /** What waits at a nonce that this one uses; itself when it waits. @returns {Entry[]} */
  conflicts(tx) {
    const found = slotsOf(tx).map(([account, nonce]) => this.get(account, nonce)).filter((one) => one !== undefined);
    return [...new Set(found)];
  }

  /** @returns {Entry[]} in order of arrival */
  all() {
    const entries = new Set([...this.#byAccount.values()].flatMap((one) => [...one.values()]));
    return [...entries].sort((one, other) => one.arrival - other.arrival);
  }

  /** Adds an entry; gives those that it replaces. @param {Entry} entry @returns {Entry[]} */
  add(entry) {
    const replaced = this.conflicts(entry.tx);
    for (const one of replaced) this.remove(one);
    for (const [account, nonce] of slotsOf(entry.tx)) {
      if (!this.#byAccount.has(account)) this.#byAccount.set(account, new Map());
      this.#byAccount.get(account).set(nonce, entry);
    }
    this.#size += 1;
    return replaced;
  }

  /** @param {Entry} entry */
  remove(entry) {
    const own = slotsOf(entry.tx).filter(([account, nonce]) => this.get(account, nonce) === entry);
    for (const [account, nonce] of own) {
      this.#byAccount.get(account).delete(nonce);
      if (this.#byAccount.get(account).size === 0) this.#byAccount.delete(account);
    }
    if (own.length > 0) this.#size -= 1;
  }

  /**
   * What could be mined now: each account's unbroken run of nonces, as sender and as sponsor, whose fees can be paid, in
   * order of arrival as far as nonces allow.
   * @param {import('./chain.mjs').Chain} chain @returns {Entry[]}
   */
  ready(chain) {
    const found = [];
    /** @type {Map<string, {nonce: bigint, ustx: bigint, arrival: number}>} as they will be */
    const accounts = new Map();
    const account = (name) => {
      if (!accounts.has(name)) accounts.set(name, { ...chain.account(name), arrival: 0 });
      return accounts.get(name);
    };
    const names = [...this.#byAccount.keys()];
    for (const name of names) {
      for (let entry; (entry = this.get(name, account(name).nonce)) !== undefined;) {
        const { sender, nonce, payer, payerNonce, fee } = entry.tx;
        const [origin, paying] = [account(sender), account(payer)];
        if (origin.nonce !== nonce || paying.nonce !== payerNonce || paying.ustx < fee) break;
        const arrival = Math.max(entry.arrival, origin.arrival, paying.arrival);
        found.push({ entry, arrival });
        paying.ustx -= fee;
        Object.assign(origin, { nonce: nonce + 1n, arrival });
        Object.assign(paying, { nonce: payerNonce + 1n, arrival });
        // What the other one has may have waited for this.
        if (payer !== sender) names.push(name === sender ? payer : sender);
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
