import { once } from 'node:events';
import type { MessagePort } from 'node:worker_threads';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { afterEach, expect, it } from 'vitest';
import { createThreads, type Threads } from './threads.ts';

// Answers each message with what it was told to begin with, and which of the threads it is.
const echo = `
  import { parentPort, threadId } from 'node:worker_threads';
  parentPort.postMessage('proxycache thread');
  parentPort.on('message', ({ kind, port, init }) => {
    port.on('message', (message) => {
      if (message === 'throw') throw new Error('it broke');
      if (message === 'exit') process.exit(3);
      if (message === 'close') return port.close();
      if (message === 'options') return port.postMessage({ env: process.env, execArgv: process.execArgv });
      port.postMessage([kind, init, message, threadId]);
    });
  });`;
const module = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

const opened: Threads[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((threads) => threads.close()));
});

function threadsOf(code: string, count = 1, clock?: ManualClock): { threads: Threads; failures: unknown[] } {
  const failures: unknown[] = [];
  const threads = createThreads({
    entry: () => module(code),
    count,
    ...(clock && { clock }),
    failed: (cause) => failures.push(cause),
  });
  opened.push(threads);
  return { threads, failures };
}

function session(threads: Threads, init: unknown = undefined): MessagePort {
  const port = threads.open('echo', init);
  if (!port) throw new Error('there is no thread');
  return port;
}

async function ask(port: MessagePort, message: unknown): Promise<unknown> {
  port.postMessage(message);
  const [answer] = await once(port, 'message');
  return answer;
}

const threadOf = async (port: MessagePort) => ((await ask(port, 'which')) as unknown[])[3];

it('begins a session of a kind, with what the thread needs for it', async () => {
  const { threads } = threadsOf(echo);
  expect(await ask(session(threads, { size: 3 }), 'hello')).toEqual(['echo', { size: 3 }, 'hello', expect.any(Number)]);
});

it('gives each session to the thread that has the fewest, and starts no more of them than it may', async () => {
  const { threads } = threadsOf(echo, 2);
  const [first, second, third] = [session(threads), session(threads), session(threads)];
  expect(await threadOf(second)).not.toBe(await threadOf(first));
  expect(await threadOf(third)).toBe(await threadOf(first));
  second.close();
  await once(second, 'close');
  const fourth = session(threads);
  expect(await threadOf(fourth)).not.toBe(await threadOf(first));
});

it('starts no second thread while the first has nothing to do', async () => {
  const { threads } = threadsOf(echo, 2);
  const first = session(threads);
  const thread = await threadOf(first);
  first.close();
  await once(first, 'close');
  expect(await threadOf(session(threads))).toBe(thread);
});

it('runs nothing of the host in a thread: no flags, no environment', async () => {
  const { threads } = threadsOf(echo);
  expect(await ask(session(threads), 'options')).toEqual({ env: {}, execArgv: [] });
});

it.each(['throw', 'exit'])('closes all ports of a thread that ends by "%s", and tells it once', async (how) => {
  const { threads, failures } = threadsOf(echo);
  const ports = [session(threads), session(threads)];
  const closed = ports.map((port) => once(port, 'close'));
  ports[0]?.postMessage(how);
  await Promise.all(closed);
  await expect.poll(() => failures, { timeout: 15_000 }).toHaveLength(1);
  expect(String(failures[0])).toContain(how === 'throw' ? 'it broke' : 'exit code 3');
});

it('has no thread any more once all of them ended, and others as long as there are some', async () => {
  const { threads, failures } = threadsOf(echo, 2);
  const [first, second] = [session(threads), session(threads)];
  const left = await threadOf(second);
  first.postMessage('exit');
  await once(first, 'close');
  await expect.poll(() => failures, { timeout: 15_000 }).toHaveLength(1);
  expect(await threadOf(session(threads))).toBe(left);
  second.postMessage('exit');
  await expect.poll(() => failures, { timeout: 15_000 }).toHaveLength(2);
  expect(threads.open('echo', undefined)).toBeUndefined();
});

it('closes what was begun with a thread whose module cannot be loaded, and tells why once', async () => {
  const { threads, failures } = threadsOf(`import './nowhere.js';`);
  const ports = [session(threads), session(threads)];
  await Promise.all(ports.map((port) => once(port, 'close')));
  await expect.poll(() => failures, { timeout: 15_000 }).toHaveLength(1);
});

it('ends sessions and threads when it is closed, and begins none any more', async () => {
  const { threads, failures } = threadsOf(echo);
  const port = session(threads);
  await threadOf(port);
  const closed = once(port, 'close');
  await threads.close();
  await closed;
  expect(threads.open('echo', undefined)).toBeUndefined();
  expect(failures).toEqual([]);
});

it('goes on when the thread closes a session by itself', async () => {
  const { threads, failures } = threadsOf(echo);
  const port = session(threads);
  port.postMessage('close');
  await once(port, 'close');
  expect(await ask(session(threads), 'still')).toContain('still');
  expect(failures).toEqual([]);
});

it('waited without end for another module in the place of ours, as a bundler may leave one', async () => {
  const clock = manualClock();
  const { threads, failures } = threadsOf('setInterval(() => undefined, 1_000)', 1, clock);
  const closed = once(session(threads), 'close');
  await clock.advance(15_000);
  await closed;
  await expect.poll(() => String(failures), { timeout: 15_000 }).toContain('did not begin within 15 s');
});

it('leaves a thread alone that has said that it is ready, and one that was closed before', async () => {
  const clock = manualClock();
  const { threads, failures } = threadsOf(echo, 1, clock);
  const port = session(threads);
  await threadOf(port);
  await clock.advance(60_000);
  expect(await threadOf(port)).toEqual(expect.any(Number));
  await threads.close();
  expect([clock.pending(), failures]).toEqual([0, []]);
});

it('tells that there is no place to load its module from, as in a CommonJS bundle, and goes without', () => {
  const failures: unknown[] = [];
  const threads = createThreads({
    entry: () => new URL('./proxycache-thread.js', undefined),
    count: 1,
    failed: (cause) => failures.push(cause),
  });
  expect(threads.open('echo', undefined)).toBeUndefined();
  expect(String(failures)).toContain('Invalid URL');
});
