/** What `PUT /devnet/faults` takes, checked to the last field: a fault that is misspelt would test nothing. */
import { badRequest } from './http.mjs';
import { REASONS } from './fault_rejections.mjs';

export const ANSWERS = ['429', '500', 'garbage', 'slow', 'hangup'];
const MAX_MILLISECONDS = 600_000;
const MAX_OFFSET = 1_000_000;

const refuse = (where, rule) => badRequest(`${where} must be ${rule}`);

/** @param {unknown} value @param {string} where @param {string[]} names that it may have @returns {Record<string, any>} */
export function checkedObject(value, where, names) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw refuse(where, 'an object');
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown === undefined) return value;
  throw badRequest(`${where} has no ${unknown}: it has ${names.join(', ')}`);
}

/** @param {unknown} value @param {string} where @param {number} least @param {number} most @returns {number} */
export function wholeNumber(value, where, least, most) {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw refuse(where, `a whole number from ${least} to ${most}`);
}

/** @template T @param {T} value @param {string} where @param {T[]} choices @returns {T} */
export function oneOf(value, where, choices) {
  if (choices.includes(value)) return value;
  throw refuse(where, `one of ${choices.join(', ')}`);
}

function probability(value, where) {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw refuse(where, 'a number from 0 to 1');
}

/** Each fault of a broadcast gives its probability, and what else it needs. */
const broadcastFaults = {
  lose_request: probability,
  lose_answer: probability,
  forget: probability,
  duplicate: probability,
  delay: (value, where) => {
    const delay = checkedObject(value, where, ['probability', 'milliseconds']);
    wholeNumber(delay.milliseconds, `${where}.milliseconds`, 0, MAX_MILLISECONDS);
    return probability(delay.probability, `${where}.probability`);
  },
  reorder: probability,
  reject: (value, where) => {
    const reject = checkedObject(value, where, ['probability', 'reason']);
    const reasons = Array.isArray(reject.reason) ? reject.reason : [reject.reason];
    if (reasons.length === 0) throw refuse(`${where}.reason`, 'a reason or a list of reasons');
    for (const reason of reasons) oneOf(reason, `${where}.reason`, REASONS);
    return probability(reject.probability, `${where}.probability`);
  },
};

/** @param {unknown} value @returns {[name: string, probability: number][]} at most one of them meets a request */
function broadcastOf(value) {
  const faults = checkedObject(value, 'broadcast', Object.keys(broadcastFaults));
  const chances = Object.entries(faults).map(([name, one]) => [name, broadcastFaults[name](one, `broadcast.${name}`)]);
  const sum = chances.reduce((total, [, chance]) => total + chance, 0);
  // What is written as decimals may sum to a little more than 1.
  if (sum > 1 + 1e-9) throw refuse('broadcast', `probabilities with a sum of at most 1, not ${sum}`);
  return chances;
}

function checkRule(value, where) {
  const rule = checkedObject(value, where, ['path', 'probability', 'answer', 'milliseconds', 'retry_after']);
  if (typeof rule.path !== 'string' || !rule.path.startsWith('/')) throw refuse(`${where}.path`, 'text that starts with /');
  if (/^\/devnet(\/|$)/.test(rule.path)) throw refuse(`${where}.path`, 'none of /devnet/');
  probability(rule.probability, `${where}.probability`);
  oneOf(rule.answer, `${where}.answer`, ANSWERS);
  if (rule.milliseconds !== undefined || rule.answer === 'slow') {
    wholeNumber(rule.milliseconds, `${where}.milliseconds`, 0, MAX_MILLISECONDS);
  }
  if (rule.retry_after !== undefined) wholeNumber(rule.retry_after, `${where}.retry_after`, 0, MAX_MILLISECONDS);
}

/**
 * @param {unknown} value the body of the request
 * @returns {{config: any, seed: number, broadcast: [string, number][], http: any[], nonces: any}} throws HttpError
 */
export function readFaults(value) {
  const config = checkedObject(value, 'the body', ['seed', 'broadcast', 'http', 'nonces']);
  const { seed = 0, broadcast = {}, http = [], nonces = null } = config;
  wholeNumber(seed, 'seed', 0, Number.MAX_SAFE_INTEGER);
  const chances = broadcastOf(broadcast);
  if (!Array.isArray(http)) throw refuse('http', 'a list');
  for (const [index, rule] of http.entries()) checkRule(rule, `http[${index}]`);
  if (nonces !== null) {
    checkedObject(nonces, 'nonces', ['probability', 'offset']);
    probability(nonces.probability, 'nonces.probability');
    wholeNumber(nonces.offset, 'nonces.offset', -MAX_OFFSET, MAX_OFFSET);
  }
  return { config, seed, broadcast: chances, http, nonces };
}
