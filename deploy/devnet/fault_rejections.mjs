/**
 * A refusal for every reason that a node has (stacks-core, `MemPoolRejection::into_json`), with the data that comes with
 * it, for a transaction that nothing is wrong with.
 */
import { CHAINING_MESSAGE, Rejection, amountHex } from './rejection.mjs';

/** @typedef {import('./transaction.mjs').Transaction} Transaction */

const none = () => undefined;
const message = (text) => () => ({ message: text });

/** @type {Record<string, (tx: Transaction) => object | undefined>} */
const dataOf = {
  Serialization: message('the transaction cannot be serialized'),
  Deserialization: message('the transaction cannot be deserialized'),
  SignatureValidation: message('the signer hash is not that of the public key that signed'),
  FeeTooLow: ({ fee }) => ({ expected: Number(fee) + 1, actual: Number(fee) }),
  BadNonce: ({ nonce, sender }) => ({
    expected: Number(nonce) + 1, actual: Number(nonce), principal: sender, is_origin: true,
  }),
  NotEnoughFunds: ({ fee }) => ({ expected: amountHex(fee), actual: amountHex(fee - 1n) }),
  NoSuchContract: none,
  NoSuchPublicFunction: none,
  BadFunctionArgument: message('an argument is not of the type that the function takes'),
  ContractAlreadyExists: ({ sender, body }) => ({
    contract_identifier: body.contract ?? `${sender}.${body.name ?? 'contract'}`,
  }),
  PoisonMicroblocksDoNotConflict: none,
  PoisonMicroblockHasUnknownPubKeyHash: none,
  PoisonMicroblockIsInvalid: none,
  BadAddressVersionByte: none,
  NoCoinbaseViaMempool: none,
  NoTenureChangeViaMempool: none,
  ServerFailureNoSuchChainTip: none,
  ConflictingNonceInMempool: none,
  TooMuchChaining: ({ nonce, sender }) => ({
    message: CHAINING_MESSAGE, expected: Number(nonce) - 1, actual: Number(nonce), principal: sender, is_origin: true,
  }),
  BadTransactionVersion: none,
  TransferRecipientCannotEqualSender: ({ sender }) => ({ recipient: sender }),
  TransferAmountMustBePositive: none,
  ServerFailureDatabase: message('database is locked'),
  EstimatorError: message('no estimate is available'),
  TemporarilyBlacklisted: none,
  ServerFailureOther: message('something else failed'),
};

export const REASONS = Object.keys(dataOf);

/** @param {string} reason @param {Transaction} tx @returns {Rejection} */
export const injectedRejection = (reason, tx) => new Rejection(reason, dataOf[reason](tx));
