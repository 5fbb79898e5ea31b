import http from 'node:http';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLaneHeadReader, type LaneHead } from './lane-head.ts';

const head = (...lines: string[]) => `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

/** Reads what comes in pieces that end at the given places, and then the rest. */
function readAt(text: string, ...ends: number[]): LaneHead | 'unusual' | undefined {
  const bytes = Buffer.from(text, 'latin1');
  const reader = createLaneHeadReader();
  for (const end of [...ends.toSorted((a, b) => a - b), bytes.byteLength]) {
    const found = reader.read(bytes, Math.min(end, bytes.byteLength));
    if (found !== undefined) return found;
  }
  return undefined;
}

describe('the head of an answer', () => {
  it('is read with its status, its headers and the length of its body', () => {
    const text = head('Content-Length: 12', 'ETag: "a"', 'X-Empty:', 'Set-Cookie: a', 'set-cookie:\tb \t');
    const { headers, ...rest } = readAt(`${text}the body`) as LaneHead;
    expect(rest).toEqual({ status: 200, length: 12, keepsAlive: true, end: text.length });
    expect({ ...headers }).toEqual({ 'content-length': '12', etag: '"a"', 'x-empty': '', 'set-cookie': ['a', 'b'] });
  });

  it('means the same wherever it is cut in two', () => {
    const text = `${head('Content-Length: 5', 'Connection: keep-alive', 'ETag: "x:y"')}hello`;
    const whole = readAt(text);
    expect(whole).toMatchObject({ status: 200, length: 5 });
    for (let cut = 0; cut <= text.length; cut++) expect(readAt(text, cut)).toEqual(whole);
    const bytes = Array.from({ length: text.length }, (_, at) => at);
    expect(readAt(text, ...bytes)).toEqual(whole);
  });

  it.each([
    ['close', false],
    ['Keep-Alive, CLOSE', false],
    ['keep-alive', true],
    ['disclose', true],
  ])('tells whether the connection is kept: %s', (connection, keepsAlive) => {
    expect(readAt(head('Content-Length: 0', `Connection: ${connection}`))).toMatchObject({ keepsAlive });
  });

  it('has any status that leaves no doubt about the body', () => {
    for (const status of [200, 206, 302, 307, 401, 404, 416, 429, 503]) {
      expect(readAt(`HTTP/1.1 ${status} \r\nContent-Length: 3\r\n\r\n`)).toMatchObject({ status, length: 3 });
    }
  });

  it.each([
    ['no length', head('ETag: "a"')],
    ['a body in chunks', head('Transfer-Encoding: chunked')],
    ['a body in chunks, and a length', head('Content-Length: 5', 'Transfer-Encoding: chunked')],
    ['an empty transfer encoding', head('Content-Length: 5', 'Transfer-Encoding:')],
    ['two lengths that differ', head('Content-Length: 5', 'Content-Length: 6')],
    ['the same length twice', head('Content-Length: 5', 'content-length: 5')],
    ['a list of lengths', head('Content-Length: 5, 5')],
    ['a signed length', head('Content-Length: +5')],
    ['a length below zero', head('Content-Length: -1')],
    ['a length in hexadecimal', head('Content-Length: 0x5')],
    ['a length beyond counting', head('Content-Length: 9999999999999999')],
    ['an empty length', head('Content-Length:')],
    ['a length with a space in it', head('Content-Length: 1 2')],
    ['a space before the colon', head('Content-Length : 5')],
    ['a folded line', head('X-A: b', ' c', 'Content-Length: 5')],
    ['a line without a colon', head('Content-Length: 5', 'nothing')],
    ['a line without a name', head(': x', 'Content-Length: 5')],
    ['a name that is no token', head('Content(Length: 5', 'Content-Length: 5')],
    ['a zero byte', head('X-A: a\0b', 'Content-Length: 5')],
    ['a bare carriage return', head('X-A: a\rTransfer-Encoding: chunked', 'Content-Length: 5')],
    ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 5\n\n'],
    ['one bare line feed', 'HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n'],
    ['text beyond ASCII', head('ETag: "caf\u00e9"', 'Content-Length: 5')],
    ['an older version', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n'],
    ['a newer version', 'HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\n'],
    ['another protocol', 'SSH-2.0-OpenSSH'],
    ['a page and no head', '<html>'],
    ['an empty line first', `\r\n${head('Content-Length: 5')}`],
    ['an informational answer', 'HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching\r\nContent-Length: 5\r\n\r\n'],
    ['no content', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'],
    ['nothing new', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n'],
    ['a status out of range', 'HTTP/1.1 600 OK\r\nContent-Length: 5\r\n\r\n'],
    ['no status', 'HTTP/1.1  OK\r\nContent-Length: 5\r\n\r\n'],
    ['two spaces before the status', 'HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\n'],
  ])('that is unusual is left to others, wherever it is cut: %s', (_what, text) => {
    for (let cut = 0; cut <= text.length; cut++) expect(readAt(text, cut)).toBe('unusual');
  });

  it('is known to be unusual before its end: nobody waits for the rest of what is no answer', () => {
    expect(readAt('HTTP/1.1 200 OK\r\nno field\r\n')).toBe('unusual');
    expect(readAt('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n')).toBeUndefined();
    expect(readAt('HTTP')).toBeUndefined();
    expect(readAt('')).toBeUndefined();
  });

  it('keeps names that objects have of themselves apart', () => {
    const found = readAt(head('__proto__: a', 'constructor: b', 'Content-Length: 1')) as LaneHead;
    expect(Object.entries(found.headers)).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['content-length', '1'],
    ]);
  });

  it('of 16 KiB is read in linear time, whatever it is made of', () => {
    for (const piece of ['X-A:', ' ', '\t', 'a: b\r\n', ':', '\r', 'HTTP/1.1 ', 'close,', 'Content-Length: 1\r\n']) {
      const filler = piece.repeat(16_000 / piece.length);
      for (const text of [filler, head(`X-A: ${filler}\0`), head('Content-Length: 1', `Connection: ${filler}`)]) {
        expect(() => readAt(text)).not.toThrow();
      }
    }
  });
});

/** What Node's own parser makes of an answer. */
function readByNode(text: string): Promise<{ status: number | undefined; headers: object } | undefined> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read: () => undefined,
      write(_chunk, _encoding, callback) {
        callback();
        socket.push(Buffer.from(text, 'latin1'));
        // By then it has seen all, and an end would be an error where the body is missing.
        setImmediate(() => setImmediate(() => socket.push(null)));
      },
    });
    const request = http.request({ createConnection: () => socket }, (response) => {
      response.on('error', () => undefined).resume();
      resolve({ status: response.statusCode, headers: { ...response.headersDistinct } });
      request.destroy();
    });
    request.on('error', () => resolve(undefined)).end();
  });
}

describe('a hostile head', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'HTTP/1.1 200 OK',
      'HTTP/1.1 206 ',
      '\r\n',
      '\n',
      '\r',
      ' ',
      '\t',
      'Content-Length: 5',
      'Content-Length: 6',
      'content-length:7',
      'Transfer-Encoding: chunked',
      'Connection: close',
      'ETag: "a"',
      ':',
      '\r\n\r\n',
      '\0',
      '\u00ff',
      ',',
    ),
    fc.string({ maxLength: 3 }),
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((all) => all.join('')),
    fc.array(piece, { maxLength: 8 }).map((all) => `HTTP/1.1 200 OK\r\n${all.join('\r\n')}\r\n\r\n`),
  );

  it('means the same however it is cut into pieces', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 200 }), { maxLength: 6 }), (made, cuts) => {
        const whole = readAt(made);
        const inPieces = readAt(made, ...cuts);
        expect(inPieces).toEqual(whole);
      }),
      { numRuns: 2_000 },
    );
  });

  it('that is taken is one that another parser reads in the same way', async () => {
    await fc.assert(
      fc.asyncProperty(text, async (made) => {
        const found = readAt(made);
        if (found === undefined || found === 'unusual') return;
        const other = await readByNode(made);
        expect(other?.status).toBe(found.status);
        const all = Object.entries(found.headers).map(([name, value]) => [name, [value].flat()]);
        expect(other?.headers).toEqual(Object.fromEntries(all));
      }),
      { numRuns: 2_000 },
    );
  });
});
