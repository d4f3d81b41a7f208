/**
 * The faults that are switched on: which request meets which, drawn from a stream of its own for each kind, so that the
 * same seed and the same requests in the same order give the same faults; and how often each was injected.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { readFaults } from './fault_settings.mjs';
import { Hangup, HttpError } from './http.mjs';
import { randomStream } from './random.mjs';

const NOTHING = readFaults({});

/** What a proxy in front of a dying node sends, under the type of an answer. */
const GARBAGE = '{"balance": "0x0000<html><head><title>502 Bad Gateway</title></head>';

/** Each gives what the request is answered instead; null: it is handled after all. */
const answers = {
  429: ({ retry_after: seconds = 1 }) =>
    new HttpError(429, { error: 'Too Many Requests', message: 'rate limit exceeded' }, { 'retry-after': String(seconds) }),
  500: () => new HttpError(500, { statusCode: 500, error: 'Internal Server Error', message: 'an injected fault' }),
  garbage: () => new HttpError(200, GARBAGE),
  slow: () => null,
  hangup: () => new Hangup(),
};

export class Faults {
  #settings = NOTHING;
  #streams = streamsOf(0);
  /** @type {Map<string, number>} */ #injected = new Map();
  /** @type {Map<string, number>} */ #drawn = new Map();

  /** From now on these. Draws and counters start anew. @param {unknown} body of the request; throws HttpError */
  configure(body) {
    this.#settings = readFaults(body);
    this.#streams = streamsOf(this.#settings.seed);
    this.#injected.clear();
    this.#drawn.clear();
  }

  /** No faults any more; the counters stay. */
  clear() {
    this.#settings = NOTHING;
  }

  get config() {
    return this.#settings.config;
  }

  get injected() {
    return Object.fromEntries([...this.#injected].sort());
  }

  /** How many broadcasts, requests and nonces a fault could have met. */
  get drawn() {
    return Object.fromEntries([...this.#drawn].sort());
  }

  #draw(name) {
    this.#drawn.set(name, (this.#drawn.get(name) ?? 0) + 1);
  }

  /** @param {string} name */
  count(name) {
    this.#injected.set(name, (this.#injected.get(name) ?? 0) + 1);
  }

  /** Meets a request before it is handled: throws what it is answered instead. @param {string} path */
  async meet(path) {
    if (/^\/devnet(\/|$)/.test(path)) return;
    const rules = this.#settings.http.filter((one) => path.startsWith(one.path));
    if (rules.length > 0) this.#draw('http');
    const rule = rules.find((one) => this.#streams.http() < one.probability);
    if (rule === undefined) return;
    this.count(`http.${rule.answer}`);
    if (rule.milliseconds !== undefined) await wait(rule.milliseconds);
    const answer = answers[rule.answer](rule);
    if (answer !== null) throw answer;
  }

  /** The fault of this broadcast. @returns {string | null} */
  broadcast() {
    const { broadcast } = this.#settings;
    if (broadcast.length === 0) return null;
    this.#draw('broadcast');
    let rest = this.#streams.broadcast();
    for (const [name, chance] of broadcast) {
      if (rest < chance) return name;
      rest -= chance;
    }
    return null;
  }

  /** How long a delayed broadcast waits. @returns {number} ms */
  get delayMs() {
    return this.config.broadcast.delay.milliseconds;
  }

  /** The reason of a refusal; one of several is drawn. @returns {string} */
  reason() {
    const { reason } = this.config.broadcast.reject;
    return Array.isArray(reason) ? reason[Math.floor(this.#streams.reason() * reason.length)] : reason;
  }

  /** The order in which a fork's transactions come again. */
  get forkRandom() {
    return this.#streams.fork;
  }

  /** A nonce as an account's owner is told it. @returns {(nonce: number) => number} the same for one answer */
  nonceLie() {
    const { nonces } = this.#settings;
    if (nonces !== null) this.#draw('nonces');
    if (nonces === null || this.#streams.nonces() >= nonces.probability) return (nonce) => nonce;
    this.count('nonces');
    return (nonce) => Math.max(0, nonce + nonces.offset);
  }
}

const streamsOf = (seed) => Object.fromEntries(
  ['broadcast', 'reason', 'http', 'nonces', 'fork'].map((name) => [name, randomStream(seed, name)]),
);
