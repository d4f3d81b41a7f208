/**
 * The append-only log: one JSON record per line. A record counts once `append` has resolved: it is on the disk then.
 * Records that arrive while the disk is busy are written together.
 */
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The log holds what this program did not write, or cannot be written. */
export class LogError extends Error {}

export class Log {
  /** @type {{line: string, done: () => void, failed: (error: Error) => void}[]} */
  #waiting = [];
  #writing = false;
  /** @type {Error | null} */
  #broken = null;

  /** @param {import('node:fs/promises').FileHandle} file */
  constructor(file) {
    this.file = file;
  }

  /**
   * Opens a log, or starts one. A last line without its end is one that nobody was promised: it is cut off.
   * @param {string} path @returns {Promise<{log: Log, records: any[]}>} the records so far
   */
  static async open(path) {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'a+');
    const text = await readFile(path, 'utf8');
    const end = text.lastIndexOf('\n') + 1;
    await file.truncate(Buffer.byteLength(text.slice(0, end)));
    const lines = text.slice(0, end).split('\n').slice(0, -1);
    const records = lines.map((line, index) => {
      try {
        return JSON.parse(line);
      } catch (error) {
        if (error instanceof SyntaxError) throw new LogError(`${path}, line ${index + 1}: not a record`);
        throw error;
      }
    });
    return { log: new Log(file), records };
  }

  /** @param {object} record @returns {Promise<void>} resolves when it is on the disk; rejects when it cannot be */
  append(record) {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise((done, failed) => {
      this.#waiting.push({ line: `${JSON.stringify(record)}\n`, done, failed });
      if (!this.#writing) void this.#write();
    });
  }

  async #write() {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.file.appendFile(batch.map(({ line }) => line).join(''));
        await this.file.datasync();
        for (const { done } of batch) done();
      } catch (error) {
        // What lies on the disk now is unknown: nothing more may be promised.
        this.#broken = new LogError(`the log cannot be written: ${error.message}`);
        for (const { failed } of [...batch, ...this.#waiting]) failed(this.#broken);
        this.#waiting = [];
      }
    }
    this.#writing = false;
  }

  async close() {
    await this.file.close();
  }
}
