/**
 * The inputs of a chain so far, and copies of the VM's state at some of them, so that it can go back to any that is not
 * too long ago: to the copy before it, and on from there by the inputs since.
 *
 * Only the last copy is whole; of those before it the pages are kept in which they differ from the next.
 */

/** Inputs between two copies: to look for what differs costs as much as some fifty calls. */
const COPY_EVERY = 256;
/** The older copies are given up when their pages exceed this (100 MB): some twenty copies, five thousand inputs. */
const MAX_PAGES = 24_000;

/**
 * @typedef {{input: import('./executor.mjs').Input, undone: boolean}} Step  undone: a violated post-condition left only
 *   the fee
 * @typedef {{count: number, stopped: string[], undo: import('./wasm_module.mjs').Undo | null}} Mark  the state after
 *   `count` inputs; undo leads there from the next mark
 */

export class Past {
  /** @type {Step[]} the steps since the oldest mark */ #steps = [];
  /** @type {Mark[]} */ #marks = [];
  #pages = 0;

  /** @param {import('./clarity_session.mjs').ClaritySession} session @param {string[]} stopped */
  constructor(session, stopped) {
    this.session = session;
    session.checkpoint();
    this.#marks.push({ count: 0, stopped, undo: null });
  }

  /** How many inputs there were. */
  get count() {
    return this.#marks[0].count + this.#steps.length;
  }

  /** Whether it is time for another copy. */
  get isDue() {
    return this.count - this.#last.count >= COPY_EVERY;
  }

  get #last() {
    return this.#marks[this.#marks.length - 1];
  }

  /** @param {Step} step */
  add(step) {
    this.#steps.push(step);
  }

  /** The last input did nothing after all. */
  dropLast() {
    this.#steps.pop();
  }

  /** Copies the state as it is now. @param {string[]} stopped */
  mark(stopped) {
    this.#last.undo = this.session.checkpoint();
    this.#pages += this.#last.undo.pages.size;
    this.#marks.push({ count: this.count, stopped, undo: null });
    while (this.#pages > MAX_PAGES && this.#marks.length > 1) {
      const oldest = this.#marks.shift();
      this.#pages -= oldest.undo.pages.size;
      this.#steps.splice(0, this.#marks[0].count - oldest.count);
    }
  }

  /**
   * Puts back the last copy made at or before `count` inputs, and forgets all inputs after `count`.
   * @param {number} count
   * @returns {{stopped: string[], steps: Step[]} | null} the steps from the copy on; null: there is no such copy any more
   */
  goBack(count) {
    if (count < this.#marks[0].count) return null;
    while (this.#last.count > count) {
      this.#marks.pop();
      this.session.forgetCheckpoint(this.#last.undo);
      this.#pages -= this.#last.undo.pages.size;
      this.#last.undo = null;
    }
    this.session.restore();
    this.#steps.length = count - this.#marks[0].count;
    return { stopped: this.#last.stopped, steps: this.#steps.slice(this.#last.count - this.#marks[0].count) };
  }
}
