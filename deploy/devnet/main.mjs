/**
 * The devnet: `node main.mjs --state FOLDER [--port 3999] [--host 127.0.0.1] [--market-start ISO] [--speed 0]
 * [--block-interval MS] [--genesis FILE] [--costs] [--until-stdin-ends]`. Prints one line `listening URL` when it is ready;
 * README.md lists its paths.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createHash } from 'node:crypto';
import { realpath, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Applier, LOG_VERSION, vmGenesisTime } from './applier.mjs';
import { Broadcasts } from './fault_broadcasts.mjs';
import { Faults } from './faults.mjs';
import { FAUCET_ACCOUNT, Faucet } from './faucet.mjs';
import { makeServer } from './http.mjs';
import { Log } from './log.mjs';
import { Producer } from './producer.mjs';
import { devnetRoutes } from './routes_devnet.mjs';
import { extendedRoutes } from './routes_extended.mjs';
import { faultRoutes } from './routes_faults.mjs';
import { nodeRoutes } from './routes_node.mjs';
import { readSettings } from './settings.mjs';
import { VmClient } from './vm_client.mjs';
import { serveWebsocket } from './websocket.mjs';

/** One clear line, and the end. @param {Error} error */
function fatal(error) {
  process.stderr.write(`devnet: ${error.message}\n`);
  process.exit(1);
}

/** One process per state folder: whoever holds the name first. It goes with the process, however that ends. */
async function claim(folder) {
  await mkdir(folder, { recursive: true });
  if (process.platform !== 'linux') return;
  const name = createHash('sha256').update(await realpath(folder)).digest('hex');
  const holder = createServer();
  holder.listen(`\0bithedge-devnet-${name}`);
  try {
    await once(holder, 'listening');
  } catch (error) {
    throw error.code === 'EADDRINUSE' ? new Error(`another devnet uses the folder ${folder}`) : error;
  }
  holder.unref();
}

/** @param {import('node:http').Server} server */
async function listen(server, host, port) {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw error.code === 'EADDRINUSE' ? new Error(`port ${port} of ${host} is in use`) : error;
  }
  return `http://${host}:${server.address().port}`;
}

/** Reads the log again, or starts one. @returns {Promise<{log: Log, vm: VmClient, applier: Applier}>} */
async function restore(settings) {
  const { log, records } = await Log.open(join(settings.state, 'chain.log'));
  if (records.length === 0) {
    const accounts = [FAUCET_ACCOUNT, ...settings.accounts];
    const genesis = { t: 'genesis', version: LOG_VERSION, time_ms: settings.marketStartMs, accounts };
    await log.append(genesis);
    records.push(genesis);
  }
  const vm = new VmClient(vmGenesisTime(records[0].time_ms), settings.costs, fatal);
  vm.start();
  const applier = new Applier(vm);
  applier.forbid(records);
  for (const record of records) await applier.apply(record);
  return { log, vm, applier };
}

async function main() {
  const settings = await readSettings(process.argv.slice(2));
  let routes = null;
  const faults = new Faults();
  const unexpected = (error) => process.stderr.write(`devnet: ${error.stack}\n`);
  const server = makeServer(() => routes, (path) => faults.meet(path), unexpected);
  const url = await listen(server, settings.host, settings.port);
  await claim(settings.state);
  const { log, vm, applier } = await restore(settings);
  const producer = new Producer(applier, log, settings, fatal);
  const broadcasts = new Broadcasts(producer, faults);
  const websocket = serveWebsocket(server, () => producer.chain);
  routes = [
    ...nodeRoutes(producer, faults, broadcasts), ...extendedRoutes(producer, faults),
    ...devnetRoutes(producer, new Faucet(producer)), ...faultRoutes(producer, faults, broadcasts),
  ];
  let ending = false;
  const end = async () => {
    if (ending) return;
    ending = true;
    server.close();
    websocket.close();
    broadcasts.close();
    await producer.close();
    await vm.close();
    await log.close();
    process.exit(0);
  };
  // A file-size limit is then an error of the write, like a full disk, and not the end without a word.
  process.on('SIGXFSZ', () => {});
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => end().catch(fatal));
  // Whoever started us is gone when our stdin ends, however that came.
  if (settings.untilStdinEnds) process.stdin.resume().on('end', () => end().catch(fatal));
  process.stdout.write(`listening ${url}\n`);
}

main().catch(fatal);
