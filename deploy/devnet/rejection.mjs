/** Why the node refuses a transaction; codes and data as the real node's `POST /v2/transactions` has them. */
export class Rejection extends Error {
  /** @param {string} reason @param {object} [data] */
  constructor(reason, data) {
    super(reason);
    this.reason = reason;
    this.data = data;
  }

  /** The body of the answer. @param {string} txid */
  toJson(txid) {
    const answer = { error: 'transaction rejected', reason: this.reason, txid };
    return this.data === undefined ? answer : { ...answer, reason_data: this.data };
  }
}

/** What the node says besides the nonces when too many wait. */
export const CHAINING_MESSAGE = 'Nonce would exceed chaining limit in mempool';

/** Amounts in a rejection are 16 bytes in hex. @param {bigint} amount */
export const amountHex = (amount) => `0x${amount.toString(16).padStart(32, '0')}`;
