/** The command line. */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { validateStacksAddress } from '@stacks/transactions';

const OPTIONS = {
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '3999' },
  state: { type: 'string' },
  'market-start': { type: 'string', default: '2020-03-11T00:00:00Z' },
  speed: { type: 'string', default: '0' },
  'block-interval': { type: 'string', default: '100' },
  genesis: { type: 'string' },
  costs: { type: 'boolean', default: false },
  'until-stdin-ends': { type: 'boolean', default: false },
};

/** The command line, or a file that it names, is wrong: the message says how. */
export class SettingsError extends Error {}

/** @param {string} text @param {string} name @param {number} most */
function number(text, name, most) {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value <= most)) throw new SettingsError(`--${name} ${text}: not a number from 0 to ${most}`);
  return value;
}

/** @param {string} text @returns {number} */
function marketStart(text) {
  const timeMs = Date.parse(text);
  if (Number.isNaN(timeMs)) throw new SettingsError(`--market-start ${text}: not an ISO 8601 time`);
  return timeMs - (timeMs % 1000);
}

const amountOf = (value = '0') => {
  if (/^\d{1,38}$/.test(String(value))) return String(value);
  throw new SettingsError(`genesis: ${value} is not an amount`);
};

/** @param {string} path @returns {Promise<{address: string, ustx: string, sats: string}[]>} */
async function genesisAccounts(path) {
  let content;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new SettingsError(`--genesis ${path}: ${error.message}`);
  }
  if (!Array.isArray(content?.accounts)) throw new SettingsError(`--genesis ${path}: no list "accounts"`);
  return content.accounts.map(({ address, ustx, sats }) => {
    if (!validateStacksAddress(address)) throw new SettingsError(`--genesis ${path}: ${address} is no address`);
    return { address, ustx: amountOf(ustx), sats: amountOf(sats) };
  });
}

/** @param {string[]} args @returns {Promise<object>} throws SettingsError */
export async function readSettings(args) {
  let values;
  try {
    ({ values } = parseArgs({ args, options: OPTIONS }));
  } catch (error) {
    throw new SettingsError(error.message);
  }
  if (values.state === undefined) throw new SettingsError('--state FOLDER is missing');
  return {
    host: values.host,
    port: number(values.port, 'port', 65535),
    state: values.state,
    marketStartMs: marketStart(values['market-start']),
    speed: number(values.speed, 'speed', 10_000_000),
    blockIntervalMs: number(values['block-interval'], 'block-interval', 3_600_000),
    costs: values.costs,
    untilStdinEnds: values['until-stdin-ends'],
    accounts: values.genesis === undefined ? [] : await genesisAccounts(values.genesis),
  };
}
