/**
 * Applies the log's records to the chain, the mempool and the VM. The same code runs when a record is new and when the
 * log is read again, so that both give the same state.
 *
 *   {t: "genesis", version, time_ms, accounts: [{address, ustx, sats}]}    first of all
 *   {t: "tx", raw, received_ms, received_burn_height}                      the mempool took a transaction
 *   {t: "block", txids, time_ms}                                           a Stacks block of these, in this order
 *   {t: "burn", count, time_ms}                                            burn blocks, each with an empty Stacks block
 *   {t: "fork", depth, burn, txids, time_ms}                               the last blocks are withdrawn; of what was in
 *                                                                          them these wait again, in this order
 *   {t: "clock", time_ms}                                                  the market clock was here
 *   {t: "forget", txid}                                                    the mempool lost a transaction
 *   {t: "problematic", txid}                                               the VM dies of it: never execute it
 */
import { STX } from './balances.mjs';
import { Chain } from './chain.mjs';
import { SBTC_CONTRACT } from './clarity_session.mjs';
import { isDeployment } from './executor.mjs';
import { Mempool } from './mempool.mjs';
import { decode } from './transaction.mjs';

export const LOG_VERSION = 1;
/** The VM's clock stands this long before the first burn block's time when it is started. */
const VM_GENESIS_LEAD_SECONDS = 610;
const SBTC_ASSET = `${SBTC_CONTRACT}::sbtc-token`;

/** The VM and this program disagree about the chain: nothing that follows could be trusted. */
export class Diverged extends Error {}

/** What a VM of this chain is started with. @param {number} timeMs of genesis */
export const vmGenesisTime = (timeMs) => Math.floor(timeMs / 1000) - VM_GENESIS_LEAD_SECONDS;

export class Applier {
  #arrivals = 0;
  /** @type {Set<string>} */ #problematic = new Set();

  /** @param {import('./vm_client.mjs').VmClient} vm */
  constructor(vm) {
    this.vm = vm;
    /** @type {Chain} */ this.chain = null;
    this.mempool = new Mempool();
    /** Market time of the last record, in ms. */
    this.timeMs = 0;
    /** Ends when no fork is under way any more, during which the VM and the chain stand at different places. */
    this.forked = Promise.resolve();
  }

  /** Transactions that an older run found deadly must be known before anything is applied. */
  forbid(records) {
    for (const record of records) if (record.t === 'problematic') this.#problematic.add(record.txid);
  }

  /** @param {any} record @returns {Promise<void>} */
  async apply(record) {
    switch (record.t) {
      case 'genesis': return this.#genesis(record);
      case 'tx': return this.transaction(decode(Buffer.from(record.raw, 'hex')), record);
      case 'block': return this.block(record);
      case 'burn': return this.burn(record);
      case 'fork': return this.fork(record);
      case 'forget': return this.forget(record);
      case 'clock': this.timeMs = record.time_ms; return undefined;
      case 'problematic': return undefined;
      default: throw new Diverged(`the log holds a record of unknown kind ${record.t}`);
    }
  }

  async #genesis({ version, time_ms: timeMs, accounts }) {
    if (version !== LOG_VERSION) throw new Diverged(`the log is of version ${version}, not ${LOG_VERSION}`);
    this.timeMs = timeMs;
    this.chain = new Chain(Math.floor(timeMs / 1000));
    for (const { address, ustx, sats } of accounts) {
      await this.vm.apply({ kind: 'mint', principal: address, ustx, sats });
      if (BigInt(ustx) > 0n) this.chain.balances.move(STX, BigInt(ustx), undefined, address);
      if (BigInt(sats) > 0n) this.chain.balances.move(SBTC_ASSET, BigInt(sats), undefined, address);
    }
    this.chain.tip.vm = { inputs: this.vm.applied, burns: 0, time: null };
  }

  /** The mempool takes a transaction that was admitted. @param {import('./transaction.mjs').Transaction} tx
   * @param {{received_ms: number, received_burn_height: number}} received */
  transaction(tx, received) {
    this.#arrivals += 1;
    const entry = {
      tx, arrival: this.#arrivals, receivedMs: received.received_ms, receivedBurnHeight: received.received_burn_height,
      status: 'pending', block: null, index: 0, result: '', events: [], costs: null, error: null,
      replacedBy: null,
    };
    for (const replaced of this.mempool.add(entry)) {
      replaced.status = 'dropped_replace_by_fee';
      replaced.replacedBy = tx.txid;
    }
    this.chain.entries.set(tx.txid, entry);
  }

  /** A transaction that waits is lost, as if nobody had ever sent it. */
  forget({ txid }) {
    const entry = this.chain.entries.get(txid);
    this.mempool.remove(entry);
    this.chain.entries.delete(txid);
  }

  /**
   * Executes a block of pending transactions.
   * @returns {Promise<string[]>} txids that turned out to be problematic just now
   */
  async block({ txids, time_ms: timeMs }) {
    const entries = txids.map((txid) => this.chain.entries.get(txid));
    const inputs = entries.map(({ tx }) => inputOf(tx));
    const deployment = inputs.length === 1 && isDeployment(inputs[0]);
    const known = entries.map(({ tx }) => this.#problematic.has(tx.txid));
    const first = known[0] ? null : await this.#opened(inputs[0]);
    const opening = deployment || first?.heights ? null : this.vm.apply({ kind: 'stacks_block' });
    const leftOut = { outcome: { status: 'problematic', result: '', events: [] }, heights: null };
    const answers = await Promise.all(inputs.map((input, at) =>
      (known[at] ? leftOut : at === 0 && first !== null ? first : this.vm.apply(input))));
    const included = entries.filter((entry, at) => this.#outcome(entry, answers[at].outcome));
    const heights = answers.map((one) => one.heights).filter((one) => one !== null).pop() ?? (await opening)?.heights;
    const place = { inputs: this.vm.applied, burns: 0, time: heights?.block_time ?? null };
    if (included.length > 0 || !deployment) this.chain.addBlock(Math.floor(timeMs / 1000), included, place);
    this.timeMs = timeMs;
    if (heights !== undefined) this.#check(heights);
    for (const entry of included) await this.#contractOf(entry);
    const found = entries.filter((entry, at) => !known[at] && entry.status === 'dropped_problematic');
    for (const { tx } of found) this.#problematic.add(tx.txid);
    return found.map(({ tx }) => tx.txid);
  }

  /** The answer to a call that begins the block, so that its costs are told; null: the block begins otherwise. */
  async #opened(input) {
    if (!this.vm.costs || input?.body.kind !== 'contract_call') return null;
    return this.vm.apply({ ...input, opens: true });
  }

  /** Notes what became of a transaction. @returns {boolean} whether it is in the block */
  #outcome(entry, { status, result, events, costs, error }) {
    if (status === 'unpaid') return false;
    this.mempool.remove(entry);
    if (status === 'problematic') {
      entry.status = 'dropped_problematic';
      return false;
    }
    Object.assign(entry, { status, result, events, costs: costs ?? null, error: error ?? null });
    return true;
  }

  /** A contract that was deployed can be called from now on. */
  async #contractOf({ tx, status, block }) {
    if (tx.body.kind !== 'smart_contract' || status !== 'success') return;
    const contract = `${tx.sender}.${tx.body.name}`;
    const found = await this.vm.read('interface', { contract });
    const known = { source: tx.body.code, interface: found, txid: tx.txid, height: block.height };
    this.chain.contracts.set(contract, known);
  }

  /** Mines burn blocks, each with an empty Stacks block; drops what waited too long. */
  async burn({ count, time_ms: timeMs }) {
    const inputs = this.vm.applied;
    const { heights } = await this.vm.apply({ kind: 'burn_blocks', count });
    for (let burns = 1; burns <= count; burns += 1) {
      this.chain.addBurnBlock();
      this.#emptyBlock(this.chain.burnTip, { inputs, burns, time: null });
    }
    this.timeMs = timeMs;
    this.#arrive(heights);
    for (const entry of this.mempool.stale(this.chain.burnTip.height)) {
      entry.status = 'dropped_stale_garbage_collect';
      this.mempool.remove(entry);
    }
  }

  /** The Stacks block that a burn block comes with. */
  #emptyBlock(burn, place) {
    // After burn blocks were stopped the next one may be older than the last Stacks block.
    this.chain.addBlock(Math.max(burn.time, this.chain.tip.time), [], place, burn);
  }

  /** A fork, which those wait for who read at a block: {t: "fork"}. */
  fork(record) {
    const done = this.#fork(record);
    this.forked = done.catch(() => {});
    return done;
  }

  /** Withdraws the last blocks; burn blocks that began among them are mined again, as they were or others. */
  async #fork({ depth, burn, txids, time_ms: timeMs }) {
    const { chain } = this;
    const target = chain.blockAt(chain.tip.height - depth);
    const missing = chain.burnTip.height - target.burnHeight;
    await this.#return(target);
    const inputs = this.vm.applied;
    const mined = missing > 0 ? await this.vm.apply({ kind: 'burn_blocks', count: missing }) : null;
    // From here on all at once: whoever reads sees the one branch or the other.
    chain.forks += 1;
    this.#requeue(chain.withdraw(depth), txids);
    if (burn && missing > 0) {
      chain.burnForks += 1;
      chain.withdrawBurnBlocks(missing);
      for (let count = 0; count < missing; count += 1) chain.addBurnBlock();
    }
    for (let burns = 1; burns <= missing; burns += 1) {
      this.#emptyBlock(chain.burnBlockAt(target.burnHeight + burns), { inputs, burns, time: null });
    }
    this.timeMs = timeMs;
    if (mined !== null) this.#arrive(mined.heights);
  }

  /** The VM goes back to the state after a block. @param {import('./chain.mjs').StacksBlock} block */
  async #return(block) {
    const { inputs, burns, time } = block.vm;
    let heights = await this.vm.goBack(inputs);
    if (burns > 0) ({ heights } = await this.vm.apply({ kind: 'burn_blocks', count: burns }));
    this.#check(heights, block);
    if (time !== null && time !== heights.block_time) {
      throw new Diverged(`the VM's time at block ${block.height} is ${heights.block_time}, and was ${time}`);
    }
    block.vm = { inputs: this.vm.applied, burns: 0, time: heights.block_time };
  }

  /** @param {import('./chain.mjs').Entry[]} withdrawn @param {string[]} txids those that wait again, in this order */
  #requeue(withdrawn, txids) {
    const arrivals = withdrawn.map(({ arrival }) => arrival).sort((one, other) => one - other);
    for (const [index, txid] of txids.entries()) {
      const entry = this.chain.entries.get(txid);
      entry.arrival = arrivals[index];
      this.mempool.add(entry);
    }
    const waiting = new Set(txids);
    for (const { tx } of withdrawn) if (!waiting.has(tx.txid)) this.chain.entries.delete(tx.txid);
  }

  /** The VM stands at the tip. */
  #arrive(heights) {
    this.#check(heights);
    this.chain.tip.vm = { inputs: this.vm.applied, burns: 0, time: heights.block_time };
  }

  #check({ burn_height: burnHeight, stacks_height: height }, block = this.chain.tip) {
    if (block.height === height && block.burnHeight === burnHeight) return;
    throw new Diverged(`the VM is at ${burnHeight}/${height}, the chain at ${block.burnHeight}/${block.height}`);
  }
}

/** @param {import('./transaction.mjs').Transaction} tx @returns {import('./executor.mjs').TransactionInput} */
const inputOf = ({ sender, payer, fee, body, mode, conditions }) => ({
  kind: 'transaction', sender, ...(payer === sender ? {} : { payer }), fee: String(fee), body, mode, conditions,
});
