import { createServer, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { listenOnLoopback } from '@proxycache/contract';
import { afterEach, describe, expect, test } from 'vitest';
import { type ParsedBody, readRequestBody } from './request-body.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** What reading the body of a POST comes to in a server where `before` runs first. */
async function outcome(
  sent: string,
  before: (req: IncomingMessage) => Promise<ParsedBody>,
  limit = 100,
): Promise<string> {
  const server = createServer((req, res) => {
    before(req)
      .then((parsed) => readRequestBody(req, limit, parsed))
      .then(
        (bytes) => res.end(bytes),
        (error) => res.end(`${error.code}: ${error.message}`),
      );
  });
  const host = await listenOnLoopback(server, '');
  closing.push(host.close);
  const answer = await fetch(host.url, { method: 'POST', body: sent });
  return answer.text();
}

const unread = async () => ({});
const parse = (keep: (text: string) => ParsedBody) => async (req: IncomingMessage) => {
  let text = '';
  for await (const part of req) text += part;
  return keep(text);
};

describe('readRequestBody', () => {
  test('reads a body that nobody has read', async () => {
    expect(await outcome('{"a": 1}', unread)).toBe('{"a": 1}');
    // Express 4 sets an empty object where its parsers found nothing to parse.
    expect(await outcome('raw', async () => ({ body: {} }))).toBe('raw');
  });

  test.each<[string, (text: string) => ParsedBody]>([
    ['a buffer', (text) => ({ body: Buffer.from(text) })],
    ['a string', (text) => ({ body: text })],
    ['raw bytes beside a parsed value', (text) => ({ body: JSON.parse(text), rawBody: Buffer.from(text) })],
  ])('takes what a body parser left behind as %s', async (_, keep) => {
    expect(await outcome('{"a":  1}', parse(keep))).toBe('{"a":  1}');
    expect(await outcome('{"a":  1}', parse(keep), 4)).toMatch(/^body-too-large: /);
  });

  test('does not invent the bytes of a body that a parser kept only the meaning of', async () => {
    expect(
      await outcome(
        '{"a":  1}',
        parse((text) => ({ body: JSON.parse(text) })),
      ),
    ).toMatch(/^invalid-options: .* mount the proxy cache above it$/);
  });

  test('rejects when the client leaves in the middle of its body', async () => {
    const failed = new Promise<unknown>((resolve) => {
      const server = createServer((req) => void readRequestBody(req, 100, {}).catch(resolve));
      void listenOnLoopback(server, '').then((host) => {
        closing.push(host.close);
        const socket = connect(Number(new URL(host.url).port), '127.0.0.1');
        socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy());
      });
    });
    expect(await failed).toMatchObject({ code: 'aborted' });
  });
});
