/**
 * One Clarity simnet session: the VM's calls, in plain values (hex strings, decimal strings, numbers).
 * Everything here is synchronous except `create`, and deterministic: the VM's clock is pinned at creation,
 * so that the same calls in the same order give the same state, block times included.
 */
import { Cl, validateStacksAddress } from '@stacks/transactions';
import { sourceOfHex } from './clarity_text.mjs';
import { MemoryCopy, wasm } from './wasm_module.mjs';

export const SBTC_CONTRACT = 'SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token';
const SBTC_ASSET = `${SBTC_CONTRACT}.sbtc-token`;
const EPOCH = '3.3';
const CLARITY_VERSION = 4;
const FUNCTION_NAME = /^([a-zA-Z][a-zA-Z0-9_!?+<>=/*-]*|[-+=/*]|[<>]=?)$/;

/** A refusal of the VM: a runtime error, a failed analysis, a missing contract. State is as before. */
export class VmError extends Error {}

/** @param {string} hex with or without 0x @returns {Uint8Array} */
export function bytesOf(hex) {
  const digits = hex.startsWith('0x') ? hex.slice(2) : hex;
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) throw new VmError('an argument is not hex');
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** @param {string} hex a serialized Clarity value @returns {string} */
function sourceOfArgument(hex) {
  try {
    return sourceOfHex(hex);
  } catch (error) {
    throw new VmError(`an argument is not a Clarity value: ${error.message}`);
  }
}

/**
 * Runs a VM function; what it throws (a string) becomes a VmError.
 * @template T @param {() => T} action @returns {T}
 */
function guarded(action) {
  try {
    return action();
  } catch (thrown) {
    // The VM's own refusals are texts. Anything else (a trap, a stack that is too deep) leaves its memory in an unknown
    // state, which only a new process mends.
    throw typeof thrown === 'string' ? new VmError(thrown) : thrown;
  }
}

/** Runs `action` with the process's clock standing at `unixSeconds`. */
async function withClock(unixSeconds, action) {
  const systemNow = Date.now;
  const SystemDate = globalThis.Date;
  class PinnedDate extends SystemDate {
    constructor(...args) {
      super(...(args.length === 0 ? [unixSeconds * 1000] : args));
    }
  }
  PinnedDate.now = () => unixSeconds * 1000;
  globalThis.Date = PinnedDate;
  try {
    return await action();
  } finally {
    globalThis.Date = SystemDate;
    globalThis.Date.now = systemNow;
  }
}

/**
 * @typedef {{type: string, data: Record<string, unknown>}} VmEvent  the VM's own names: print_event,
 *   stx_transfer_event, ft_transfer_event, ...
 * @typedef {{result: string, ok: boolean, events: VmEvent[], costs: object | null}} VmResult
 *   result: serialized Clarity value in hex; ok: false when it is `(err ...)`
 */

/** The VM dies of a mint to a contract or to a bad address: refuse it here. */
function checkMint(principal, amount) {
  if (!validateStacksAddress(principal)) throw new VmError(`cannot mint to ${principal}: not a standard principal`);
  if (amount <= 0n) throw new VmError('cannot mint nothing');
}

/** Reads a response and frees it. @returns {VmResult} */
function resultOf(response) {
  const events = JSON.parse(response.events).map((text) => {
    const { event, data } = JSON.parse(text);
    return { type: event, data };
  });
  const costs = JSON.parse(response.costs);
  const result = response.result.startsWith('0x') ? response.result.slice(2) : response.result;
  response.free();
  return { result, ok: !result.startsWith('08'), events, costs: costs === null ? null : costs.total };
}

export class ClaritySession {
  /** @param {any} sdk */
  constructor(sdk) {
    this.sdk = sdk;
    this.sender = '';
    this.copy = new MemoryCopy();
  }

  /** Remembers the whole state. @returns {import('./wasm_module.mjs').Undo} what leads back to the one before */
  checkpoint() {
    return this.copy.take();
  }

  /** Remembers the state before the last checkpoint instead. @param {import('./wasm_module.mjs').Undo} undo */
  forgetCheckpoint(undo) {
    this.copy.goBack(undo);
  }

  /** Goes back to the state of the last checkpoint. */
  restore() {
    this.copy.putBack();
    this.sender = '';
  }

  /** Ends the session. */
  close() {
    this.sdk.free();
  }

  /**
   * A new chain at epoch 3.3 (Clarity 4), burn height 1, Stacks height 1.
   * @param {number} unixSeconds the chain's time at genesis
   * @param {boolean} costs whether deployments and calls tell what they cost: a call takes six times as long then
   */
  static async create(unixSeconds, costs) {
    return withClock(unixSeconds, async () => {
      const noFiles = () => { throw new VmError('the session reads no files'); };
      const sdk = new wasm.SDK(noFiles, new wasm.SDKOptions(costs, false, false));
      await sdk.initEmptySession(null);
      sdk.setEpoch(EPOCH);
      return new ClaritySession(sdk);
    });
  }

  heights() {
    return {
      burn_height: this.sdk.burnBlockHeight,
      stacks_height: this.sdk.stacksBlockHeight,
      block_time: Number(this.sdk.getBlockTime()),
    };
  }

  /** @param {string} principal @param {bigint} amount uSTX */
  mintStx(principal, amount) {
    checkMint(principal, amount);
    guarded(() => this.sdk.mintSTX(principal, amount));
  }

  /** @param {string} principal @param {bigint} amount sats */
  mintSbtc(principal, amount) {
    checkMint(principal, amount);
    guarded(() => this.sdk.mintFT(SBTC_ASSET, principal, amount));
  }

  /** Throws VmError when the contract exists: the VM itself would die of it. */
  deploy(sender, name, code) {
    const contract = `${sender}.${name}`;
    if (this.sdk.getContractSource(contract) !== undefined) throw new VmError(`contract ${contract} exists already`);
    const options = new wasm.ContractOptions(CLARITY_VERSION);
    const deployment = new wasm.DeployContractArgs(name, code, options, sender);
    try {
      return resultOf(guarded(() => this.sdk.deployContract(deployment)));
    } finally {
      deployment.free();
    }
  }

  /** Calls a public function in a Stacks block of its own. */
  call(sender, contract, functionName, args) {
    return this.#invoke('callPublicFn', sender, contract, functionName, args);
  }

  /** Evaluates a read-only function at the tip; no block. */
  read(sender, contract, functionName, args) {
    return this.#invoke('callReadOnlyFn', sender, contract, functionName, args);
  }

  /**
   * Evaluates a read-only function at the end of a Stacks block that the chain has; the burn height it sees is the tip's.
   * @param {number} height
   */
  readAt(height, sender, contract, functionName, args) {
    // The VM knows no hash of its last block, which is where it stands.
    if (height === this.sdk.stacksBlockHeight) return this.read(sender, contract, functionName, args);
    if (!validateStacksAddress(sender)) throw new VmError(`invalid sender address ${sender}`);
    if (!FUNCTION_NAME.test(functionName)) throw new VmError(`${functionName} is not the name of a function`);
    const call = [`contract-call? '${contract}`, functionName, ...args.map(sourceOfArgument)].join(' ');
    return this.execute(sender, `(at-block (unwrap-panic (get-stacks-block-info? id-header-hash u${height})) (${call}))`);
  }

  #invoke(method, sender, contract, functionName, args) {
    const call = new wasm.CallFnArgs(contract, functionName, args.map(bytesOf), sender);
    try {
      return resultOf(guarded(() => this.sdk[method](call)));
    } finally {
      call.free();
    }
  }

  /** Transfers uSTX in a Stacks block of its own. */
  transfer(sender, recipient, amount) {
    const transfer = new wasm.TransferSTXArgs(amount, recipient, sender);
    try {
      return resultOf(guarded(() => this.sdk.transferSTX(transfer)));
    } finally {
      transfer.free();
    }
  }

  /** Runs one top-level expression in the current Stacks block; tx-sender and contract-caller are the sender. */
  execute(sender, expression) {
    if (this.sender !== sender) {
      guarded(() => this.sdk.executeCommand(`::set_tx_sender ${sender}`));
      this.sender = sender;
    }
    return resultOf(guarded(() => this.sdk.execute(expression)));
  }

  /** @param {string} principal @returns {{ustx: string, sats: string}} */
  balances(principal) {
    const sender = principal.split('.')[0];
    const account = Cl.deserialize(this.execute(sender, `(stx-account '${principal})`).result);
    const owner = Cl.serialize(Cl.principal(principal));
    const sats = Cl.deserialize(this.read(sender, SBTC_CONTRACT, 'get-balance', [owner]).result);
    return { ustx: String(account.value.unlocked.value), sats: String(sats.value.value) };
  }

  mineStacks(count) {
    guarded(() => this.sdk.mineEmptyStacksBlocks(count));
  }

  /** Mines burn blocks, each with one empty Stacks block. */
  mineBurn(count) {
    guarded(() => this.sdk.mineEmptyBurnBlocks(count));
  }

  /** @returns {string | undefined} the source of a contract, undefined when there is none */
  source(contract) {
    return this.sdk.getContractSource(contract);
  }

  /** @returns {object | undefined} the interface that the analysis found */
  interfaceOf(contract) {
    return this.sdk.getContractsInterfaces().get(contract);
  }
}
