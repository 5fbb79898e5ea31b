import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A client that sends what it is told, byte by byte. */
export interface RawClient {
  readonly socket: Socket;
  /** All that came so far, as latin1. */
  got(): string;
  send(bytes: string): void;
  /** Sends this again and again, as fast as it is taken, until the connection closes; the bytes that were taken. */
  flood(piece: string): Promise<number>;
  /** Resolves when the server has closed the connection. */
  closed: Promise<unknown>;
}

export async function rawClient(url: string): Promise<RawClient> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  let got = '';
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  socket.setEncoding('latin1').on('data', (chunk) => {
    got += chunk;
  });
  return {
    socket,
    got: () => got,
    send: (bytes) => void socket.write(bytes, 'latin1'),
    async flood(piece) {
      const bytes = Buffer.from(piece, 'latin1');
      let taken = 0;
      while (!socket.destroyed) {
        if (socket.write(bytes)) await new Promise((resolve) => setImmediate(resolve));
        else await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
        taken = socket.bytesWritten;
      }
      return taken;
    },
    closed,
  };
}

/** One answer: all that a server sends to this until it closes the connection. */
export async function say(url: string, bytes: string): Promise<{ status: number; headers: string; body: string }> {
  const client = await rawClient(url);
  client.send(bytes);
  await client.closed;
  const [headers = '', ...rest] = client.got().split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(headers)?.[1]), headers, body: rest.join('\r\n\r\n') };
}
