import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Contract } from '../contract.ts';
import { adapterCase, type MountAdapter } from './adapter-case.ts';
import { ask, open } from './client.ts';
import { chunks, found, scriptedBody, wholeBody } from './scripted-body.ts';

const mebibyte = 1024 * 1024;

/** Bodies on their way. */
export const bodyCases: Contract<MountAdapter> = [
  adapterCase('sends the chunks of a body in order, with and without a Content-Length', async ({ serve }) => {
    const url = await serve(({ url: path }) =>
      found(chunks('one ', '', 'two ', 'three'), path === '/v2/known' ? { 'content-length': '13' } : {}),
    );
    const known = await ask(`${url}/v2/known`);
    assert.equal(known.body.toString(), 'one two three');
    assert.equal(known.headers['content-length'], '13');
    const unknown = await ask(`${url}/v2/unknown`);
    assert.equal(unknown.body.toString(), 'one two three');
    assert.equal(unknown.headers['transfer-encoding'], 'chunked');
  }),

  adapterCase('has let go of a chunk before it asks for the next, whose memory may be the same', async ({ serve }) => {
    const memory = Buffer.alloc(mebibyte);
    const count = 48;
    const sent = createHash('sha256');
    const url = await serve(() =>
      found(
        scriptedBody((index) => {
          if (index > 0) sent.update(memory);
          memory.fill(index);
          return index < count ? memory : undefined;
        }),
        { 'content-length': `${count * mebibyte}` },
      ),
    );
    const received = createHash('sha256');
    for await (const part of await open(`${url}/v2/app/blobs/1`)) {
      received.update(part as Buffer);
      // A client that takes a break every now and then finds the kernel's buffers full.
      await new Promise(setImmediate);
    }
    assert.equal(received.digest('hex'), sent.digest('hex'));
  }),

  adapterCase('asks for no more than a client that stopped reading takes', async ({ serve }) => {
    const chunk = Buffer.alloc(mebibyte);
    const body = scriptedBody((index) => (index < 512 ? chunk : undefined));
    const url = await serve(({ url: path }) => (path === '/v2/' ? found(null) : found(body)));
    const incoming = await open(`${url}/v2/app/blobs/1`);
    // Other requests serve as the clock: while they are answered, the first has every chance to go on.
    for (let round = 0; round < 50; round++) await ask(`${url}/v2/`);
    assert.ok(body.asked < 64, `${body.asked} MiB were taken from the cache for a client that reads nothing`);
    incoming.on('error', () => undefined).destroy();
    await body.closed;
  }),

  adapterCase('sends a body that is here in one piece, and says when its memory is free', async ({ serve }) => {
    const bytes = createHash('shake128', { outputLength: mebibyte }).update('one piece').digest();
    let body = wholeBody(bytes);
    const url = await serve(() => {
      body = wholeBody(bytes);
      return found(body, { 'content-length': `${bytes.byteLength}` });
    });
    for (const method of ['GET', 'GET', 'HEAD']) {
      const answer = await ask(`${url}/v2/app/blobs/1`, { method });
      assert.ok(answer.body.equals(method === 'HEAD' ? Buffer.alloc(0) : bytes), 'other bytes came');
      assert.equal(answer.headers['content-length'], `${bytes.byteLength}`);
      assert.equal(await body.over, method !== 'HEAD');
    }
  }),

  adapterCase('keeps the memory of a body in one piece until its client has it, or has left', async ({ serve }) => {
    // More than the kernel takes for a client that reads nothing.
    const bytes = Buffer.alloc(64 * mebibyte, 'piece');
    let body = wholeBody(bytes);
    const url = await serve(({ url: path }) => {
      if (path === '/v2/') return found(null);
      body = wholeBody(bytes);
      return found(body, { 'content-length': `${bytes.byteLength}` });
    });
    for (const leaves of [false, true]) {
      const incoming = await open(`${url}/v2/app/blobs/1`);
      let isOver = false;
      const over = body.over.then((complete) => {
        isOver = true;
        return complete;
      });
      // Other requests serve as the clock: while they are answered, the first has every chance to be given up.
      for (let round = 0; round < 20; round++) await ask(`${url}/v2/`);
      assert.equal(isOver, false, 'its memory was let go of before it was sent');
      if (leaves) incoming.on('error', () => undefined).destroy();
      else {
        let length = 0;
        for await (const part of incoming) {
          assert.ok((part as Buffer).equals(bytes.subarray(length, length + (part as Buffer).byteLength)));
          length += (part as Buffer).byteLength;
        }
        assert.equal(length, bytes.byteLength);
      }
      assert.equal(await over, !leaves);
    }
  }),

  adapterCase('gives clients that pull at the same time each their own bytes', async ({ serve }) => {
    const url = await serve(({ url: path }) =>
      found(scriptedBody((index) => (index < 20 ? Buffer.alloc(50_000, path.at(-1)) : undefined))),
    );
    const names = [...'abcdefgh'];
    const answers = await Promise.all(names.map((name) => ask(`${url}/v2/${name}`)));
    for (const [index, { body }] of answers.entries()) {
      assert.ok(body.equals(Buffer.alloc(1_000_000, names[index])), `the body of ${names[index]} is not its own`);
    }
  }),
];
