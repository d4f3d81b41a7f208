/** What the wallet asks of a Stacks node: an account's next nonce, a fee, and to broadcast. */

/** The node said no; `rejection` is its answer. */
export class Rejected extends Error {
  /** @param {object} rejection */
  constructor(rejection) {
    super(`the node refused the transaction: ${rejection.reason ?? rejection.error}`);
    this.rejection = rejection;
  }
}

export class NodeApi {
  /** @param {string} url without a trailing slash */
  constructor(url) {
    this.url = url.replace(/\/+$/, '');
  }

  /** @param {string} path @param {RequestInit} [options] */
  async #json(path, options) {
    const response = await fetch(`${this.url}${path}`, options);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** The nonce after the last one that the node knows of, executed or pending. @returns {Promise<bigint>} */
  async nextNonce(address) {
    const answer = await this.#json(`/extended/v1/address/${address}/nonces`);
    return BigInt(answer.possible_next_nonce);
  }

  /** @param {string} payload hex @param {number} length of the whole transaction @returns {Promise<bigint>} uSTX */
  async estimateFee(payload, length) {
    const answer = await this.#json('/v2/fees/transaction', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ transaction_payload: payload, estimated_len: length }),
    });
    return BigInt(answer.estimations[1].fee);
  }

  /** @param {string} raw hex @returns {Promise<string>} txid, hex without 0x; throws Rejected */
  async broadcast(raw) {
    const response = await fetch(`${this.url}/v2/transactions`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Buffer.from(raw, 'hex'),
    });
    const text = await response.text();
    if (response.ok) return JSON.parse(text);
    let rejection = { error: text };
    try {
      rejection = JSON.parse(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw new Rejected(rejection);
  }
}
