import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { type HashReply, type HashRequest, serveHashes } from './serve-hashes.ts';

const sha256 = digestOf(new Uint8Array());

function serve() {
  const { port1, port2 } = new MessageChannel();
  serveHashes(port2);
  onTestFinished(() => port1.close());
  return {
    async ask(...requests: HashRequest[]): Promise<HashReply[]> {
      const replies: HashReply[] = [];
      const expected = requests.filter(({ what }) => what === 'update' || what === 'digest').length;
      const all = new Promise<void>((resolve) => {
        port1.on('message', (reply) => replies.push(reply) === expected && resolve());
      });
      for (const request of requests) port1.postMessage(request);
      await all;
      return replies;
    },
    ended: () => once(port2, 'close'),
    close: () => port1.close(),
  };
}

const bytes = (text: string) => Buffer.from(text);

it('hashes bytes of several hashes in their order, and tells when it has done with each', async () => {
  const replies = await serve().ask(
    { what: 'create', hash: 1, digest: sha256 },
    { what: 'create', hash: 2, digest: digestOf(bytes(''), 'sha512') },
    { what: 'update', hash: 1, pieces: [bytes('a')] },
    { what: 'update', hash: 2, pieces: [bytes('x')] },
    { what: 'update', hash: 1, pieces: [bytes('b'), bytes('c')] },
    { what: 'digest', hash: 1 },
    { what: 'digest', hash: 2 },
  );
  expect(replies).toEqual([
    'updated',
    'updated',
    'updated',
    { hash: 1, digest: digestOf(bytes('abc')) },
    { hash: 2, digest: digestOf(bytes('x'), 'sha512') },
  ]);
});

it('hashes on from a copy without a change to what it was copied from', async () => {
  const replies = await serve().ask(
    { what: 'create', hash: 1, digest: sha256 },
    { what: 'update', hash: 1, pieces: [bytes('a')] },
    { what: 'copy', hash: 1, to: 2 },
    { what: 'update', hash: 2, pieces: [bytes('b')] },
    { what: 'free', hash: 1 },
    { what: 'digest', hash: 2 },
  );
  expect(replies.at(-1)).toEqual({ hash: 2, digest: digestOf(bytes('ab')) });
});

it('reads memory that it shares with whoever asks', async () => {
  const shared = Buffer.from(new SharedArrayBuffer(8)).fill('x');
  const replies = await serve().ask(
    { what: 'create', hash: 1, digest: sha256 },
    { what: 'update', hash: 1, pieces: [shared.subarray(2, 5)] },
    { what: 'digest', hash: 1 },
  );
  expect(replies.at(-1)).toEqual({ hash: 1, digest: digestOf(bytes('xxx')) });
});

it('ends when the other end is closed', async () => {
  const served = serve();
  const ended = served.ended();
  served.close();
  await ended;
});
