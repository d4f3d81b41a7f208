/**
 * The wallet's keys, by seed. A seed is any text; the same text always gives the same key.
 * Keys stay in this process.
 */
import { createHash, randomBytes } from 'node:crypto';
import { hashMessage } from '@stacks/encryption';
import {
  deserializeCV, getAddressFromPrivateKey, privateKeyToPublic, signMessageHashRsv, signStructuredData,
} from '@stacks/transactions';

/** @param {string} seed @returns {string} private key, hex, ending 01: its public key is compressed */
export function privateKeyOf(seed) {
  if (typeof seed !== 'string' || seed === '') throw new TypeError('a seed is a text');
  // A digest is a valid secp256k1 key but for one in 2^128 seeds.
  return `${createHash('sha256').update(`wallet seed ${seed}`).digest('hex')}01`;
}

/** @param {{seed?: string, network?: string}} request without a seed a fresh one is made */
export function address({ seed = randomBytes(32).toString('hex'), network = 'testnet' }) {
  const key = privateKeyOf(seed);
  return { seed, address: getAddressFromPrivateKey(key, network), public_key: privateKeyToPublic(key) };
}

/** Signs a plain message as wallets do: 65 bytes r||s||recovery id.
 * @returns {{signature: string, public_key: string}} */
export function signMessage({ seed, message }) {
  const key = privateKeyOf(seed);
  const messageHash = Buffer.from(hashMessage(message)).toString('hex');
  return { signature: signMessageHashRsv({ messageHash, privateKey: key }), public_key: privateKeyToPublic(key) };
}

/** Signs structured data (SIP-018); `domain` and `message` are Clarity values in hex. */
export function signStructured({ seed, domain, message }) {
  const key = privateKeyOf(seed);
  const signature = signStructuredData({
    domain: deserializeCV(domain), message: deserializeCV(message), privateKey: key,
  });
  return { signature, public_key: privateKeyToPublic(key) };
}
