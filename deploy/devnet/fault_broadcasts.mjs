/** Takes broadcasts as the network may deliver them: lost, late, twice, out of order, refused for no reason. */
import { Hangup } from './http.mjs';
import { injectedRejection } from './fault_rejections.mjs';
import { Rejection } from './rejection.mjs';
import { txidOf } from './transaction.mjs';

export class Broadcasts {
  /** @type {Map<NodeJS.Timeout, Buffer>} answered, and not in the mempool yet */
  #delayed = new Map();
  /** @type {Buffer | null} waits until the next one was handled */
  #held = null;

  /** @param {import('./producer.mjs').Producer} producer @param {import('./faults.mjs').Faults} faults */
  constructor(producer, faults) {
    this.producer = producer;
    this.faults = faults;
  }

  /** How many were answered and are not in the mempool yet. */
  get waiting() {
    return this.#delayed.size + (this.#held === null ? 0 : 1);
  }

  /** @param {Buffer} raw @returns {Promise<string>} txid; throws Rejection, Hangup */
  async take(raw) {
    const fault = this.faults.broadcast();
    if (fault === 'reorder' && this.#held === null) {
      this.faults.count('broadcast.reorder');
      this.#held = raw;
      return txidOf(raw);
    }
    try {
      // A second one to be reordered is the next one of the first.
      return await (fault === null || fault === 'reorder' ? this.producer.submit(raw) : this.#spoiled(fault, raw));
    } finally {
      await this.#releaseHeld();
    }
  }

  /** Whatever waits enters now. */
  async release() {
    const delayed = [...this.#delayed];
    this.#delayed.clear();
    for (const [timer, raw] of delayed) {
      clearTimeout(timer);
      await this.#late(raw);
    }
    await this.#releaseHeld();
  }

  /** Whatever waits is lost. */
  close() {
    for (const timer of this.#delayed.keys()) clearTimeout(timer);
    this.#delayed.clear();
    this.#held = null;
  }

  /** @param {string} fault @param {Buffer} raw @returns {Promise<string>} */
  async #spoiled(fault, raw) {
    this.faults.count(`broadcast.${fault}`);
    switch (fault) {
      case 'lose_request':
        throw new Hangup();
      case 'lose_answer':
        await this.#late(raw);
        throw new Hangup();
      case 'forget':
        return this.producer.forget(raw);
      case 'duplicate':
        await this.#late(raw);
        return this.producer.submit(raw);
      case 'delay':
        return this.#delay(raw);
      default:
        throw injectedRejection(this.faults.reason(), this.producer.decoded(raw));
    }
  }

  #delay(raw) {
    const timer = setTimeout(() => {
      this.#delayed.delete(timer);
      void this.#late(raw);
    }, this.faults.delayMs);
    this.#delayed.set(timer, raw);
    return txidOf(raw);
  }

  async #releaseHeld() {
    const raw = this.#held;
    this.#held = null;
    if (raw !== null) await this.#late(raw);
  }

  /** Enters with nobody listening any more: a refusal is no one's. @param {Buffer} raw */
  async #late(raw) {
    try {
      await this.producer.submit(raw);
    } catch (error) {
      if (!(error instanceof Rejection)) this.producer.onFatal(error);
    }
  }
}
