/**
 * What wallets use, `@stacks/transactions`, in a warm loop of one process. JSON lines on stdin and stdout:
 *
 *   {"op": "sign", "call": {...}, "first_nonce": n, "count": n}  builds, signs and serializes -> {seconds, raw}
 *   {"op": "read", "raws": [hex, ...]}                           decodes and verifies -> {seconds, signer}
 *
 * `raw` is the last transaction, `signer` the last hash of an account, so that both sides can be compared.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const library = createRequire(new URL('../../../deploy/wallet/', import.meta.url));
const {
  AnchorMode, Cl, TransactionSigner, deserializeTransaction, makeUnsignedContractCall, privateKeyToPublic,
} = library('@stacks/transactions');
const { STACKS_TESTNET } = library('@stacks/network');

/** The arguments of settle-policy, made anew for each transaction. */
const settlement = ({ receipt, ...call }) => [
  Cl.uint(call.onchain_id),
  Cl.tuple({
    'policy-id': Cl.bufferFromHex(receipt.policy_id),
    activation: Cl.uint(receipt.activation),
    'btc-price-e8': Cl.uint(receipt.btc_price_e8),
    'stx-price-e8': Cl.uint(receipt.stx_price_e8),
    'observed-at': Cl.uint(receipt.observed_at),
    'burn-height': Cl.uint(receipt.burn_height),
  }),
  Cl.bufferFromHex(call.signature),
  Cl.uint(call.btc_round),
  Cl.uint(call.stx_round),
];

/**
 * The quickest of the library's ways that was found: with the public key known, so that it is not derived each time.
 */
async function signed(call, publicKey, nonce) {
  const transaction = await makeUnsignedContractCall({
    contractAddress: call.deployer,
    contractName: 'policy-registry',
    functionName: 'settle-policy',
    functionArgs: settlement(call),
    publicKey,
    network: STACKS_TESTNET,
    nonce,
    fee: call.fee,
    anchorMode: AnchorMode.Any,
    postConditionMode: 'deny',
    postConditions: [{
      type: 'stx-postcondition',
      address: `${call.deployer}.liquidity-pool-vault`,
      condition: 'lte',
      amount: call.max_payout,
    }],
  });
  new TransactionSigner(transaction).signOrigin(call.key);
  return transaction;
}

const operations = {
  async sign({ call, first_nonce: first, count }) {
    const publicKey = privateKeyToPublic(call.key);
    const start = performance.now();
    let raw = '';
    for (let nonce = first; nonce < first + count; nonce += 1) {
      const transaction = await signed(call, publicKey, nonce);
      raw = transaction.serialize();
      transaction.txid();
    }
    return { seconds: (performance.now() - start) / 1000, raw };
  },
  read({ raws }) {
    const start = performance.now();
    let signer = '';
    for (const raw of raws) {
      const transaction = deserializeTransaction(raw);
      // Recovers the key from the signature and compares its hash with the signer's; throws otherwise.
      transaction.verifyOrigin();
      signer = transaction.auth.spendingCondition.signer;
    }
    return { seconds: (performance.now() - start) / 1000, signer };
  },
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const request = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await operations[request.op](request))}\n`);
}
