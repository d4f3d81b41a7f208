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

/** A copy of the VM's memory, reused from one copy to the next: a warm buffer is filled at 20 GB/s. */
export class MemoryCopy {
  #buffer = new Uint8Array(0);
  #length = 0;

  /** Copies the memory as it is now. */
  take() {
    const current = new Uint8Array(memory.buffer);
    if (this.#buffer.length < current.length) this.#buffer = new Uint8Array(current.length);
    this.#buffer.set(current);
    this.#length = current.length;
  }

  /** Puts the copy back. Memory that was added since stays, unused: WebAssembly memory cannot shrink. */
  putBack() {
    new Uint8Array(memory.buffer).set(this.#buffer.subarray(0, this.#length));
  }
}
