/**
 * Applies the chain's inputs to a session, one after the other, with what the VM does not do itself: fees, and rolling
 * back a transaction that violated its post-conditions.
 *
 * The VM cannot undo a call that succeeded. So the state is copied now and then, the inputs since are kept, and a
 * violation goes back to the copy and applies them again, without the violating body; a fork goes back further. What is
 * applied twice gives the same state twice: nothing here depends on anything but the inputs.
 */
import { sourceOfHex } from './clarity_text.mjs';
import { VmError } from './clarity_session.mjs';
import { Past } from './past.mjs';
import { violation } from './post_conditions.mjs';

/** Fees go here: an address that nobody has the key of (the hash160 is all zero). */
export const MINER = 'ST000000000000000000002AMW42H';
/** So many steps cost as much as a copy. */
const MANY_STEPS = 50;
/** The (err none) that a runtime error or a failed analysis leaves as result. */
const ERR_NONE = '0809';
const OK_TRUE = '0703';

/**
 * @typedef {{kind: 'token_transfer', recipient: string, amount: string, memo: string}
 *   | {kind: 'contract_call', contract: string, function: string, args: string[]}
 *   | {kind: 'smart_contract', name: string, code: string}} Body
 * @typedef {{kind: 'transaction', sender: string, payer?: string, fee: string, body: Body, mode: 'deny' | 'allow',
 *   conditions: import('./post_conditions.mjs').Condition[], opens?: true}} TransactionInput  opens: a call that begins a
 *   Stacks block, for of such a one the VM tells what it cost
 * @typedef {{kind: 'stacks_block'} | {kind: 'burn_blocks', count: number}
 *   | {kind: 'mint', principal: string, ustx: string, sats: string} | TransactionInput} Input
 * @typedef {{status: 'success' | 'abort_by_response' | 'abort_by_post_condition' | 'unpaid', result: string,
 *   events: import('./clarity_session.mjs').VmEvent[], costs?: object, error?: string}} Outcome  unpaid: the payer has not the fee, or
 *   an earlier transaction of sender or payer in this block was unpaid; nothing happened
 */

/** Whether it begins a Stacks block by itself. @param {TransactionInput} input */
const opens = (input) => input.opens === true || isDeployment(input);

/** A smart contract is deployed in a Stacks block of its own: the VM knows no other way. */
export const isDeployment = (input) => input.kind === 'transaction' && input.body.kind === 'smart_contract';

export class Executor {
  /** @type {Set<string>} accounts whose next nonce was left out of this block */
  #stopped = new Set();

  /** @param {import('./clarity_session.mjs').ClaritySession} session */
  constructor(session) {
    this.session = session;
    this.past = new Past(session, []);
  }

  /** @param {Input} input @returns {Outcome | null} null for what is not a transaction */
  apply(input) {
    if (this.past.isDue) this.past.mark([...this.#stopped]);
    const step = { input, undone: false };
    this.past.add(step);
    const outcome = this.#new(step);
    if (outcome?.status !== 'success' || input.body.kind === 'token_transfer') return outcome;
    const violated = violation(outcome.events, input.conditions, input.mode);
    if (violated === null) return outcome;
    step.undone = true;
    this.goBack(this.past.count);
    return { ...outcome, status: 'abort_by_post_condition', events: [], error: violated };
  }

  /** Goes back to the state after the first inputs. @param {number} count @returns {boolean} false: too long ago */
  goBack(count) {
    const found = this.past.goBack(count);
    if (found === null) return false;
    this.#stopped = new Set(found.stopped);
    for (const step of found.steps) this.#run(step);
    // Whoever goes back once often does so again soon.
    if (found.steps.length >= MANY_STEPS) this.past.mark([...this.#stopped]);
    return true;
  }

  /** What the VM refuses was no input. */
  #new(step) {
    try {
      return this.#run(step);
    } catch (error) {
      this.past.dropLast();
      throw error;
    }
  }

  /** @returns {Outcome | null} */
  #run({ input, undone }) {
    switch (input.kind) {
      case 'stacks_block':
        this.#stopped.clear();
        this.session.mineStacks(1);
        return null;
      case 'burn_blocks':
        this.#stopped.clear();
        this.session.mineBurn(input.count);
        return null;
      case 'mint':
        if (BigInt(input.ustx) > 0n) this.session.mintStx(input.principal, BigInt(input.ustx));
        if (BigInt(input.sats) > 0n) this.session.mintSbtc(input.principal, BigInt(input.sats));
        return null;
      default:
        return this.#transaction(input, undone);
    }
  }

  /** @param {TransactionInput} input @param {boolean} undone only the fee is taken @returns {Outcome} */
  #transaction(input, undone) {
    if (opens(input)) this.#stopped.clear();
    const { sender, payer = sender, fee } = input;
    if (this.#stopped.has(sender) || this.#stopped.has(payer) || !this.#payFee(payer, fee)) {
      this.#stopped.add(sender).add(payer);
      if (input.opens) this.session.mineStacks(1);
      return { status: 'unpaid', result: '', events: [] };
    }
    if (undone) {
      if (opens(input)) this.session.mineStacks(1);
      return { status: 'abort_by_post_condition', result: '', events: [] };
    }
    try {
      const { result, ok, events, costs } = this.#body(input);
      const told = costs === null ? {} : { costs };
      return ok
        ? { status: 'success', result: input.body.kind === 'smart_contract' ? OK_TRUE : result, events, ...told }
        : { status: 'abort_by_response', result, events: [], ...told };
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      return { status: 'abort_by_response', result: ERR_NONE, events: [], error: error.message };
    }
  }

  #payFee(payer, fee) {
    if (BigInt(fee) === 0n) return true;
    return this.session.execute(payer, `(stx-transfer? u${fee} tx-sender '${MINER})`).ok;
  }

  /** @param {TransactionInput} input @returns {import('./clarity_session.mjs').VmResult} */
  #body({ sender, body, opens: first }) {
    switch (body.kind) {
      case 'token_transfer': {
        const transfer = body.memo === '' ? 'stx-transfer?' : 'stx-transfer-memo?';
        const memo = body.memo === '' ? '' : ` 0x${body.memo}`;
        return this.session.execute(sender, `(${transfer} u${body.amount} tx-sender '${body.recipient}${memo})`);
      }
      case 'contract_call': {
        if (first) return this.session.call(sender, body.contract, body.function, body.args);
        const args = body.args.map(sourceOfHex).join(' ');
        return this.session.execute(sender, `(contract-call? '${body.contract} ${body.function} ${args})`);
      }
      default:
        return this.#deploy(sender, body);
    }
  }

  /** A name that is taken aborts the transaction, in its own block like any other deployment. */
  #deploy(sender, { name, code }) {
    if (this.session.source(`${sender}.${name}`) !== undefined) {
      this.session.mineStacks(1);
      throw new VmError(`contract ${sender}.${name} exists already`);
    }
    return this.session.deploy(sender, name, code);
  }
}
