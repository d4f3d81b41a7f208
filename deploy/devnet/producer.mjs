/** Takes transactions, mines Stacks and burn blocks, moves the market clock: decides, logs, then applies. */
import { admit } from './admission.mjs';
import { MarketClock } from './clock.mjs';
import { BURN_BLOCK_SECONDS, GENESIS_HEIGHT } from './chain.mjs';
import { shuffled } from './random.mjs';
import { Rejection } from './rejection.mjs';
import { spell } from './shapes.mjs';
import { DecodeError, decode } from './transaction.mjs';

const MAX_BLOCK_TRANSACTIONS = 1000;
/** Blocks mined in one turn at most, so that other changes get theirs. */
const MAX_ROUNDS = 50;
const CLOCK_TICK_MS = 5;
/** How often the market time is noted while it runs: at most so much wall time of it is lost in a crash. */
const CLOCK_NOTE_MS = 1000;

const isAmong = (entries, { txid }) => entries.some(({ tx }) => tx.txid === txid);

export class Producer {
  #turn = Promise.resolve();
  #mining = null;
  #ticker = null;
  #noted = 0;
  #burning = false;
  /** False: no burn blocks come, whatever the time. */
  burnRunning = true;
  /** @type {Set<import('./chain.mjs').Entry>} what is in the block being made cannot be replaced any more */
  #executing = new Set();

  /**
   * @param {import('./applier.mjs').Applier} applier the log's records are applied already
   * @param {import('./log.mjs').Log} log
   * @param {{blockIntervalMs: number, speed: number}} settings interval 0: blocks are mined on demand only
   * @param {(error: Error) => void} onFatal
   */
  constructor(applier, log, settings, onFatal) {
    this.applier = applier;
    this.log = log;
    this.settings = settings;
    this.onFatal = onFatal;
    this.clock = new MarketClock(applier.timeMs);
    this.setSpeed(settings.speed);
    this.#schedule();
  }

  get chain() {
    return this.applier.chain;
  }

  get mempool() {
    return this.applier.mempool;
  }

  /** Why the market clock does not run. @returns {string[]} */
  get held() {
    const reasons = this.mempool.holds(this.chain, Date.now()) ? [`mempool: ${this.mempool.size} pending`] : [];
    return this.applier.vm.ready ? reasons : [...reasons, 'vm: starting again'];
  }

  /**
   * Takes a raw transaction; resolves when it is stored. Throws a Rejection.
   * @param {Buffer} raw @param {bigint} [pending] how many of the sender's may wait
   * @returns {Promise<string>} txid
   */
  async submit(raw, pending) {
    const tx = this.decoded(raw);
    if (!this.#isNew(tx, pending)) return tx.txid;
    const received = { received_ms: Date.now(), received_burn_height: this.chain.burnTip.height };
    const stored = this.log.append({ t: 'tx', raw: raw.toString('hex'), ...received });
    this.applier.transaction(tx, received);
    await this.#orFatal(stored);
    this.#schedule();
    return tx.txid;
  }

  /**
   * Takes a raw transaction like `submit` and loses it again, whatever of it waited already.
   * @param {Buffer} raw @returns {Promise<string>} txid; throws a Rejection
   */
  async forget(raw) {
    const tx = this.decoded(raw);
    if (this.#isNew(tx)) return tx.txid;
    await this.#inTurn(async () => {
      if (!isAmong(this.mempool.conflicts(tx), tx)) return;
      const record = { t: 'forget', txid: tx.txid };
      await this.log.append(record);
      this.applier.forget(record);
    });
    return tx.txid;
  }

  /** @param {Buffer} raw @returns {import('./transaction.mjs').Transaction} throws a Rejection */
  decoded(raw) {
    try {
      return decode(raw);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new Rejection('Deserialization', { message: error.message });
    }
  }

  /** Whether the mempool would take it; false: it has it already. Throws a Rejection. */
  #isNew(tx, pending) {
    const waiting = this.mempool.conflicts(tx);
    if (isAmong(waiting, tx)) return false;
    admit(tx, this.chain, this.mempool, pending);
    if (waiting.some((entry) => this.#executing.has(entry))) throw new Rejection('ConflictingNonceInMempool');
    return true;
  }

  /** Mines what is ready. @param {boolean} [always] at least one block, if only an empty one */
  mine(always = false) {
    return this.#inTurn(async () => {
      const before = this.chain.tip.height;
      await this.#mineReady();
      if (always && this.chain.tip.height === before) await this.#block([]);
    });
  }

  /** Moves market time on, mining first what is ready and then the burn blocks that it crosses. @param {number} ms */
  advance(ms) {
    return this.#inTurn(async () => {
      await this.#mineReady();
      const timeMs = Math.floor(this.clock.timeMs + ms);
      await this.#burn(this.#due(timeMs), timeMs);
    });
  }

  /** Mines burn blocks; market time moves to the last one's. @param {number} count */
  burn(count) {
    return this.#inTurn(async () => {
      await this.#mineReady();
      const height = this.chain.burnTip.height + count;
      await this.#burn(count, this.chain.burnTime(height) * 1000);
    });
  }

  /** Stops burn blocks while market time runs on, or makes up for those that are missing. @param {boolean} running */
  async setBurnRunning(running) {
    this.burnRunning = running;
    await this.#inTurn(async () => {
      const timeMs = Math.floor(this.clock.timeMs);
      if (this.#due(timeMs) > 0) await this.#burn(this.#due(timeMs), timeMs);
    });
  }

  /** How many burn blocks are missing at a market time. @param {number} timeMs */
  #due(timeMs) {
    if (!this.burnRunning) return 0;
    const height = GENESIS_HEIGHT + Math.floor((timeMs / 1000 - this.chain.genesisTime) / BURN_BLOCK_SECONDS);
    return height - this.chain.burnTip.height;
  }

  /**
   * Withdraws the last blocks and mines another branch, of one block at least.
   * @param {number} depth @param {'return' | 'lose' | 'shuffle'} fate what becomes of their transactions
   * @param {boolean} burn whether burn blocks that began among them are replaced too
   * @param {() => number} random @returns {Promise<boolean>} false: nothing was done, for that is deeper than can be
   */
  fork(depth, fate, burn, random) {
    return this.#inTurn(async () => {
      if (depth > this.chain.forkable) return false;
      const txids = this.chain.blocks.slice(-depth).flatMap(({ entries }) => entries.map(({ tx }) => tx.txid));
      const order = { return: txids, lose: [], shuffle: shuffled(txids, random) }[fate];
      const record = { t: 'fork', depth, burn, txids: order, time_ms: Math.floor(this.clock.timeMs) };
      await this.log.append(record);
      await this.applier.apply(record);
      const { height } = this.chain.tip;
      await this.#mineReady(fate === 'shuffle' ? Math.ceil(order.length / Math.min(depth, MAX_ROUNDS / 2)) || 1 : undefined);
      if (this.chain.tip.height === height) await this.#block([]);
      return true;
    });
  }

  /** @param {number} speed market seconds per wall second */
  setSpeed(speed) {
    this.clock.setSpeed(speed);
    clearInterval(this.#ticker);
    this.#ticker = speed > 0 ? setInterval(() => this.#tick(), CLOCK_TICK_MS) : null;
  }

  /** Ends in order: what is under way is finished, the market time noted. */
  async close() {
    this.setSpeed(0);
    clearTimeout(this.#mining);
    this.settings.blockIntervalMs = 0;
    await this.#inTurn(() => this.#note());
  }

  /** One change at a time. @template T @param {() => Promise<T>} action @returns {Promise<T>} */
  #inTurn(action) {
    const result = this.#turn.then(action);
    this.#turn = result.then(() => {}, () => {});
    return this.#orFatal(result);
  }

  /** A change that failed half-way leaves log and state apart: the process ends, and the log is right. */
  async #orFatal(promise) {
    try {
      return await promise;
    } catch (error) {
      this.onFatal(error);
      throw error;
    }
  }

  #schedule() {
    const { blockIntervalMs } = this.settings;
    if (blockIntervalMs === 0 || this.#mining !== null || this.mempool.size === 0) return;
    this.#mining = setTimeout(() => {
      this.#mining = null;
      if (this.mempool.ready(this.chain).length === 0) return;
      this.mine().then(() => this.#schedule(), () => {});
    }, blockIntervalMs);
  }

  /** A deployment has a block of its own, so that one round may be several blocks. */
  async #mineReady(limit = MAX_BLOCK_TRANSACTIONS) {
    const tried = new Set();
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      // Who turned out unable to pay stays behind, with all that follows in nonce.
      const unpaid = [...tried].filter(({ status }) => status === 'pending');
      const behind = new Set(unpaid.flatMap(({ tx }) => [tx.sender, tx.payer]));
      const mineable = ({ tx }) => !behind.has(tx.sender) && !behind.has(tx.payer);
      const ready = this.mempool.ready(this.chain).filter(mineable).slice(0, limit);
      if (ready.length === 0) return;
      const deployment = ready.findIndex(({ tx }) => tx.body.kind === 'smart_contract');
      const chosen = ready.slice(0, deployment === -1 ? ready.length : Math.max(1, deployment));
      for (const entry of chosen) tried.add(entry);
      await this.#block(chosen);
    }
  }

  /** @param {import('./chain.mjs').Entry[]} entries */
  async #block(entries) {
    this.#executing = new Set(entries);
    const record = { t: 'block', txids: entries.map(({ tx }) => tx.txid), time_ms: Math.floor(this.clock.timeMs) };
    await this.log.append(record);
    const problematic = await this.applier.block(record);
    // Not before the block is told, which whoever asks for its events waits for; who could not pay is in no block.
    setImmediate(() => entries.filter(({ block }) => block !== null).forEach(spell));
    this.#executing = new Set();
    for (const txid of problematic) await this.log.append({ t: 'problematic', txid });
  }

  async #burn(count, dueMs) {
    const timeMs = Math.max(dueMs, Math.floor(this.clock.timeMs));
    const record = count > 0 ? { t: 'burn', count, time_ms: timeMs } : { t: 'clock', time_ms: timeMs };
    await this.log.append(record);
    await this.applier.apply(record);
    this.clock.moveTo(timeMs);
  }

  async #note() {
    const timeMs = Math.floor(this.clock.timeMs);
    this.#noted = performance.now();
    if (timeMs === this.applier.timeMs) return;
    const record = { t: 'clock', time_ms: timeMs };
    await this.log.append(record);
    await this.applier.apply(record);
  }

  #tick() {
    const boundaryMs = this.burnRunning ? this.chain.burnTime(this.chain.burnTip.height + 1) * 1000 : Infinity;
    const due = this.clock.tick(boundaryMs, this.held.length > 0);
    if (due && !this.#burning) {
      this.#burning = true;
      const height = this.chain.burnTip.height;
      // Another change may have mined this block while we waited for our turn.
      const mined = this.#inTurn(() =>
        (this.burnRunning && this.chain.burnTip.height === height ? this.#burn(1, boundaryMs) : null));
      mined.catch(() => {}).finally(() => { this.#burning = false; });
    } else if (performance.now() - this.#noted > CLOCK_NOTE_MS) {
      this.#noted = performance.now();
      this.#inTurn(() => this.#note()).catch(() => {});
    }
  }
}
