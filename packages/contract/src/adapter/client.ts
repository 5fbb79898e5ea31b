import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';

/** A whole answer. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  rawHeaders: readonly string[];
  body: Buffer;
}

/** What to ask. */
export interface Question {
  method?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
}

/** Opens an answer on a connection of its own; its body is not read yet. Registry clients accept gzip, so does this. */
export function open(url: string, { method = 'GET', headers = {}, body }: Question = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, agent: false, headers: { 'accept-encoding': 'gzip', ...headers } });
    outgoing.once('response', resolve).on('error', reject).end(body);
  });
}

/** Asks, and reads the answer to its end. Rejects when the answer is not complete. */
export async function ask(url: string, question: Question = {}): Promise<Answer> {
  const incoming = await open(url, question);
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part as Buffer);
  const { statusCode = 0, headers, rawHeaders } = incoming;
  return { status: statusCode, headers, rawHeaders, body: Buffer.concat(parts) };
}

/** A connection on which bytes are sent as they are. */
export interface RawConnection {
  socket: Socket;
  /** Resolves with everything received so far when that matches; rejects when the connection ends before. */
  received(pattern: RegExp): Promise<string>;
  /** How the connection ended: `'end'`, or the code of its error such as `'ECONNRESET'`. */
  ended: Promise<string>;
}

/** Connects to the host of a URL. */
export async function openRaw(url: string): Promise<RawConnection> {
  const { port, hostname } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname });
  let text = '';
  let how = 'end';
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => {
      how = error.code ?? error.message;
    });
    socket.on('close', () => resolve(how));
  });
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
  });
  return {
    socket,
    ended,
    received: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!pattern.test(text)) return;
          socket.off('data', look);
          resolve(text);
        };
        socket.on('data', look);
        look();
        void ended.then(() =>
          reject(new Error(`${pattern} never came, the connection ended with ${how} after: ${text}`)),
        );
      }),
  };
}
