/**
 * Loads the Clarity VM's WebAssembly module so that its linear memory, which is the VM's whole state, can be copied
 * and put back.
 *
 * Two things are needed for that and happen only while the module loads: the instance is caught as it is made, and
 * the module's finalizers are left out: one that ran after the memory was put back would free what is in use again.
 * So whoever makes one of the module's objects frees it.
 */
import { createRequire } from 'node:module';

function load() {
  const { Instance } = WebAssembly;
  const registry = globalThis.FinalizationRegistry;
  /** @type {WebAssembly.Memory | undefined} */
  let memory;
  WebAssembly.Instance = function CaughtInstance(module, imports) {
    const instance = new Instance(module, imports);
    memory = instance.exports.memory;
    return instance;
  };
  delete globalThis.FinalizationRegistry;
  try {
    const wasm = createRequire(import.meta.url)('@stacks/clarinet-sdk-wasm');
    if (!(memory instanceof WebAssembly.Memory)) throw new Error('the Clarity VM exports no memory');
    return { wasm, memory };
  } finally {
    WebAssembly.Instance = Instance;
    globalThis.FinalizationRegistry = registry;
  }
}

export const { wasm, memory } = load();

/** What is compared at once: first the larger, then within what differs the smaller; a quarter of the time of one. */
const REGION = 65_536;
const PAGE = 4_096;

/** What a copy held where a later one differs, to go back to it. @typedef {{length: number, pages: Map<number, Uint8Array>}} Undo */

/** A copy of the VM's memory, and how it differed from the copies before it. */
export class MemoryCopy {
  #buffer = new Uint8Array(0);
  #length = 0;

  /** Copies the memory as it is now. @returns {Undo} what leads back to the copy before */
  take() {
    const current = new Uint8Array(memory.buffer);
    /** @type {Undo} */ const undo = { length: this.#length, pages: new Map() };
    for (let at = 0; at < this.#length; at += REGION) {
      if (this.#differs(current, at, REGION)) this.#update(current, at, undo.pages);
    }
    if (this.#buffer.length < current.length) {
      const larger = new Uint8Array(current.length);
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(current.subarray(this.#length), this.#length);
    this.#length = current.length;
    return undo;
  }

  /** Puts the copy back. Memory that was added since stays, unused: WebAssembly memory cannot shrink. */
  putBack() {
    new Uint8Array(memory.buffer).set(this.#buffer.subarray(0, this.#length));
  }

  /** Becomes the copy before. @param {Undo} undo what `take` gave for this one */
  goBack({ length, pages }) {
    for (const [at, page] of pages) this.#buffer.set(page, at);
    this.#length = length;
  }

  #differs(current, at, size) {
    return Buffer.compare(this.#buffer.subarray(at, at + size), current.subarray(at, at + size)) !== 0;
  }

  #update(current, region, pages) {
    for (let at = region; at < region + REGION; at += PAGE) {
      if (!this.#differs(current, at, PAGE)) continue;
      pages.set(at, this.#buffer.slice(at, at + PAGE));
      this.#buffer.set(current.subarray(at, at + PAGE), at);
    }
  }
}
