/**
 * The websocket of the Stacks API, as far as it tells of new blocks: JSON-RPC 2.0 at /extended/v1/ws, where
 * `subscribe` with `{"event": "block"}` brings a notification `block` for each. Frames as in RFC 6455.
 */
import { createHash } from 'node:crypto';
import { blockShape } from './shapes.mjs';

const PATH = '/extended/v1/ws';
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const LOOK_MS = 5;
const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const MAX_FRAME = 64 * 1024;

/** One frame from the server, which masks nothing. @param {number} kind @param {Buffer} payload */
function frame(kind, payload) {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | kind, length]), payload]);
  const head = Buffer.alloc(length < 65536 ? 4 : 10);
  head[0] = 0x80 | kind;
  if (length < 65536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

/** The first whole frame of what a client has sent; null when more is to come. Throws when it is none of a client. */
function unframe(bytes) {
  if (bytes.length < 2) return null;
  const short = bytes[1] & 0x7f;
  const start = short === 126 ? 4 : 2;
  if ((bytes[1] & 0x80) === 0 || (bytes[0] & 0x80) === 0 || short === 127) throw new RangeError('no frame that is taken');
  if (bytes.length < start) return null;
  const length = short === 126 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < start + 4 + length) return null;
  const mask = bytes.subarray(start, start + 4);
  const payload = Buffer.from(bytes.subarray(start + 4, start + 4 + length).map((byte, at) => byte ^ mask[at % 4]));
  return { kind: bytes[0] & 0x0f, payload, rest: bytes.subarray(start + 4 + length) };
}

class Client {
  subscribed = false;
  #received = Buffer.alloc(0);

  /** @param {import('node:stream').Duplex} socket */
  constructor(socket) {
    this.socket = socket;
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('error', () => socket.destroy());
  }

  /** @param {object} message */
  send(message) {
    this.socket.write(frame(TEXT, Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))));
  }

  #take(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    try {
      for (let one = unframe(this.#received); one !== null; one = unframe(this.#received)) {
        this.#received = one.rest;
        this.#handle(one.kind, one.payload);
      }
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof SyntaxError)) throw error;
      this.socket.destroy();
    }
    if (this.#received.length > MAX_FRAME) this.socket.destroy();
  }

  #handle(kind, payload) {
    if (kind === PING) this.socket.write(frame(PONG, payload));
    if (kind === CLOSE) this.socket.end(frame(CLOSE, payload));
    if (kind !== TEXT) return;
    const { id, method, params } = JSON.parse(payload.toString('utf8'));
    const known = ['subscribe', 'unsubscribe'].includes(method) && params?.event === 'block';
    if (known) this.subscribed = method === 'subscribe';
    this.send(known ? { id, result: {} } : { id, error: { code: -32602, message: 'only blocks can be subscribed to' } });
  }
}

/**
 * Serves it beside the server's other paths.
 * @param {import('node:http').Server} server @param {() => import('./chain.mjs').Chain} chain
 */
export function serveWebsocket(server, chain) {
  /** @type {Set<Client>} */
  const clients = new Set();
  let told = '';
  server.on('upgrade', (request, socket) => {
    const key = request.headers['sec-websocket-key'];
    if (new URL(request.url, 'http://devnet').pathname !== PATH || key === undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const accept = createHash('sha1').update(key + GUID).digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n'
      + `sec-websocket-accept: ${accept}\r\n\r\n`);
    const client = new Client(socket);
    clients.add(client);
    socket.on('close', () => clients.delete(client));
  });
  const look = () => {
    const { tip } = chain();
    if (tip.hash === told) return;
    told = tip.hash;
    const params = blockShape(tip, chain());
    for (const client of clients) if (client.subscribed) client.send({ method: 'block', params });
  };
  setInterval(look, LOOK_MS).unref();
  return { close: () => { for (const { socket } of clients) socket.destroy(); } };
}
