import { inspect } from 'node:util';
import { isProxyCacheError } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { type RedisOptions, readRedisOptions } from './settings.ts';

const client = { sendCommand: async () => undefined };

/** The error of options that are refused, with all that hangs on it. */
function refusal(options: unknown): string {
  try {
    readRedisOptions(options as RedisOptions);
  } catch (error) {
    expect(isProxyCacheError(error) && error.code).toBe('invalid-options');
    return inspect(error, { depth: 10, showHidden: true });
  }
  return expect.unreachable();
}

test('a url is taken apart, with what is encoded in it', () => {
  const { target, server } = readRedisOptions({ url: 'rediss://us%40er:p%3A%2F@redis.example:7000/3' });
  expect(target).toEqual({ kind: 'server', address: { host: 'redis.example', port: 7000 } });
  expect(server).toEqual({ username: 'us@er', password: 'p:/', database: 3, tls: {}, answerWithinMs: 1_000 });
});

test.each([
  ['redis://localhost', 'localhost', 6379],
  ['redis://localhost/', 'localhost', 6379],
  ['redis://:secret@[::1]:1', '::1', 1],
])('%s is %s at %d', (url, host, port) => {
  expect(readRedisOptions({ url }).target).toMatchObject({ address: { host, port } });
});

test('nodes are hosts with or without a port, which is another one for sentinels', () => {
  const nodes = ['a', 'b:7', '[::1]:8'];
  const [b, c] = [
    { host: 'b', port: 7 },
    { host: '::1', port: 8 },
  ];
  const sentinel = readRedisOptions({ sentinel: { name: 'main', nodes, password: 'x' }, username: 'y', database: 2 });
  expect(sentinel.target).toEqual({
    kind: 'sentinel',
    name: 'main',
    nodes: [{ host: 'a', port: 26379 }, b, c],
    credentials: { username: undefined, password: 'x' },
  });
  expect(sentinel.server).toMatchObject({ username: 'y', password: undefined, database: 2 });
  expect(readRedisOptions({ cluster: { nodes } }).target).toEqual({
    kind: 'cluster',
    nodes: [{ host: 'a', port: 6379 }, b, c],
  });
});

describe('what is wrong with the options is said', () => {
  test.each([
    [undefined, 'expected one of "url"'],
    [{}, 'received none'],
    [{ url: 'redis://a', client }, 'received url and client'],
    [{ url: 'localhost' }, 'received what is no URL'],
    [{ url: 'http://a' }, 'received http://'],
    [{ url: 'redis://' }, 'received no host'],
    [{ url: 'redis://a/b' }, 'database that is no number'],
    [{ url: 'redis://a', database: -1 }, 'database: expected a number'],
    [{ url: 'redis://a', prefix: 'a{b' }, 'prefix: expected'],
    [{ url: 'redis://a', prefix: '' }, 'prefix: expected'],
    [{ url: 'redis://a', answerWithin: 0 }, 'answerWithin: expected 1 ms to 60 s, received 0'],
    [{ url: 'redis://a', answerWithin: '2m' }, 'answerWithin: expected'],
    [{ url: 'redis://a', answerWithin: 'soon' }, 'expected a duration'],
    [{ sentinel: { name: '', nodes: ['a'] } }, 'sentinel.name'],
    [{ sentinel: { name: 'main', nodes: [] } }, 'sentinel.nodes: expected some'],
    [{ cluster: { nodes: ['a', 'redis://b'] } }, 'cluster.nodes[1]: expected "host:port"'],
    [{ cluster: { nodes: [7] } }, 'cluster.nodes[0]'],
    [{ client: {} }, 'client: expected'],
  ])('%j: %s', (options, message) => {
    expect(refusal(options)).toContain(message);
  });

  test.each([
    { url: 'redis//user:hunter2@a' },
    { url: 'redis://user:hunter2@a:port' },
    { url: 'http://user:hunter2@a' },
    { url: 'redis://user:hunter2@a/x' },
    { url: 'redis://user:hunter2%@a' },
    { cluster: { nodes: ['user:hunter2@a'] } },
    { url: 'redis://a', password: 'hunter2', prefix: '*' },
  ])('without the secret of %j', (options) => {
    expect(refusal(options)).not.toContain('hunter2');
  });
});

test('what an observer throws is dropped', () => {
  const observer = () => {
    throw new Error('a defect of the host');
  };
  readRedisOptions({ client, observer }).tell({ type: 'redis-ready', server: 'a:1' });
});

test('a database beside a URL that names none counts', () => {
  expect(readRedisOptions({ url: 'redis://h', database: 3 }).server.database).toBe(3);
  expect(readRedisOptions({ url: 'redis://h/2', database: 3 }).server.database).toBe(2);
});
