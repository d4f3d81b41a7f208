/**
 * The VM process as the devnet uses it. When the process dies it is started again and given all inputs so far; what
 * was under way is sent again, so that callers only see a delay.
 *
 * A transaction that the VM died of several times is left out: its outcome is `problematic`.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';

const PROGRAM = fileURLToPath(new URL('./vm.mjs', import.meta.url));
const MAX_DEATHS = 3;
const MAX_START_FAILURES = 10;
/** Inputs under way at once while all are given again. */
const REPLAY_WINDOW = 500;
/** How long a read waits for a process that is starting. */
const READ_WAIT_MS = 3_000;

/** The VM refused a read. */
export class VmRefusal extends Error {}
/** The VM is starting again and takes longer than a read waits. */
export class VmBusy extends Error {}

/**
 * @typedef {{outcome: any, heights: {burn_height: number, stacks_height: number, block_time: number}}} Applied
 * @typedef {{request: any, input: any, deaths: number, resolve: (value: any) => void, reject: (error: Error) => void}}
 *   Pending
 */

/** Calls back for each whole line; what a killed process left half-written is nobody's. */
function onLines(stream, callback) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) callback(line);
  });
}

export class VmClient {
  /** @type {Pending[]} in the order they were sent */ #pending = [];
  /** @type {{input: any, applied: Applied}[]} */ #history = [];
  /** @type {import('node:child_process').ChildProcess | null} */ #child = null;
  /** @type {((answer: any) => void)[]} */ #replaying = [];
  #ready = false;
  #closed = false;
  #crashed = false;
  #id = 0;
  #startFailures = 0;

  /** @param {number} genesisTime unix seconds @param {boolean} costs whether the VM tells costs
   * @param {(error: Error) => void} onFatal the VM cannot be had */
  constructor(genesisTime, costs, onFatal) {
    this.genesisTime = genesisTime;
    this.costs = costs;
    this.onFatal = onFatal;
    this.restarts = 0;
  }

  /** @returns {boolean} whether the process is there and has all inputs */
  get ready() {
    return this.#ready;
  }

  get pid() {
    return this.#child?.pid;
  }

  start() {
    this.#ready = false;
    const child = spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    child.stdin.on('error', () => {}); // the exit tells
    onLines(child.stdout, (line) => this.#answered(JSON.parse(line)));
    const exited = new Promise((resolve) => child.once('close', resolve));
    child.once('error', () => {}); // a spawn that failed closes too
    void exited.then(() => this.#died());
    this.#prepare().catch((error) => this.onFatal(error));
  }

  async close() {
    this.#closed = true;
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('close', resolve));
    child.stdin.end();
    await exited;
  }

  /** Applies one input of the chain (executor.mjs). @returns {Promise<Applied>} */
  apply(input) {
    return this.#ask({ op: 'apply', input }, input);
  }

  /** How many inputs the VM has applied. */
  get applied() {
    return this.#history.length;
  }

  /** Goes back to the state after the first inputs. @param {number} inputs @returns {Promise<Applied['heights']>} */
  goBack(inputs) {
    return this.#ask({ op: 'go_back', inputs }, null);
  }

  /** Asks what changes nothing; throws VmRefusal. @returns {Promise<any>} */
  read(op, fields) {
    return this.#ask({ op, ...fields }, null);
  }

  /** The same for somebody who does not wait for ever; throws VmBusy too. @returns {Promise<any>} */
  async readSoon(op, fields) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new VmBusy('the VM is starting again')), READ_WAIT_MS);
    });
    try {
      return await Promise.race([this.read(op, fields), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process at once, as a panic does; no request is to blame for it. */
  crash() {
    if (this.#child.kill('SIGKILL')) this.#crashed = true;
  }

  #ask(request, input) {
    return new Promise((resolve, reject) => {
      const pending = { request, input, deaths: 0, resolve, reject };
      this.#pending.push(pending);
      if (this.#ready) this.#send(request);
    });
  }

  #send(request) {
    this.#id += 1;
    this.#child.stdin.write(`${JSON.stringify({ id: this.#id, ...request })}\n`);
  }

  /** One answer while the past is given again. */
  #given(request) {
    this.#send(request);
    return new Promise((resolve) => this.#replaying.push(resolve));
  }

  async #prepare() {
    const child = this.#child;
    await this.#given({ op: 'init', time: this.genesisTime, costs: this.costs });
    for (let start = 0; start < this.#history.length; start += REPLAY_WINDOW) {
      const part = this.#history.slice(start, start + REPLAY_WINDOW);
      const answers = await Promise.all(part.map(({ input }) => this.#given({ op: 'apply', input })));
      if (child !== this.#child) return;
      if (!answers.every((answer, index) => isDeepStrictEqual(answer.ok, part[index].applied))) {
        throw new Error('the VM gave another outcome when the chain was replayed');
      }
    }
    if (child !== this.#child) return;
    this.#startFailures = 0;
    this.#ready = true;
    for (const { request } of this.#pending) this.#send(request);
  }

  #answered(answer) {
    // Of a process that was killed nothing counts: whatever it had under way is asked again.
    if (this.#crashed) return;
    const replaying = this.#replaying.shift();
    if (replaying !== undefined) {
      replaying(answer);
      return;
    }
    const { request } = this.#pending[0];
    if (request.op === 'go_back' && 'ok' in answer) {
      this.#history.length = request.inputs;
      // Longer ago than its copies reach: a new process is given what is left, and then asked the same again.
      if (answer.ok === null) {
        this.crash();
        return;
      }
    }
    const { input, resolve, reject } = this.#pending.shift();
    if ('error' in answer) {
      reject(new VmRefusal(answer.error));
      return;
    }
    if (input !== null) this.#history.push({ input, applied: answer.ok });
    resolve(answer.ok);
  }

  #died() {
    if (this.#closed) return;
    this.#replaying = [];
    this.restarts += 1;
    if (this.#crashed) {
      this.#crashed = false;
    } else if (this.#ready) {
      this.#blameFirst();
    } else {
      this.#startFailures += 1;
    }
    if (this.#startFailures >= MAX_START_FAILURES) {
      this.onFatal(new Error('the Clarity VM does not start'));
      return;
    }
    this.start();
  }

  /** The oldest request that is not answered is what the process died of, if it died by itself. */
  #blameFirst() {
    const [first] = this.#pending;
    if (first === undefined) return;
    first.deaths += 1;
    if (first.deaths < MAX_DEATHS) return;
    this.#pending.shift();
    if (first.input?.kind === 'transaction') {
      first.resolve({ outcome: { status: 'problematic', result: '', events: [] }, heights: null });
    } else {
      first.reject(new VmRefusal('the VM dies of this request'));
    }
  }
}
