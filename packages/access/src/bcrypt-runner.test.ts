import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { systemClock } from '@proxycache/core';
import { manualClock } from '@proxycache/test-kit';
import { hashSync } from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { createBcryptRunner } from './bcrypt-runner.ts';

const hash = hashSync('wonderland', 4);
const right = { password: 'wonderland', hash };
const wrong = { password: 'Wonderland', hash };
const built = () => new URL('../dist/bcrypt-thread.js', import.meta.url);
const module = (text: string) => () => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

function setUp(entry: () => URL, clock = systemClock) {
  const failures: unknown[] = [];
  const run = createBcryptRunner({ clock, failed: (cause) => failures.push(cause), entry });
  return { run, failures };
}

describe('what runs bcrypt', () => {
  test('compares in a thread', async () => {
    const { run, failures } = setUp(built);
    expect(await run(right)).toBe(true);
    expect(await run(wrong)).toBe(false);
    expect(failures).toEqual([]);
  });

  test('keeps a process alive until it is told, and no longer', async () => {
    const dist = new URL('../dist/index.js', import.meta.url).href;
    const program = [
      `import { passwordVerifier } from ${JSON.stringify(dist)};`,
      `const verify = passwordVerifier({ users: { alice: { hash: ${JSON.stringify(hash)} } } });`,
      'const { signal } = new AbortController();',
      "console.log(await verify({ user: 'alice', password: 'wonderland', signal }));",
    ].join('\n');
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
    expect(stdout).toBe("{ name: 'alice' }\n");
  });

  test('compares in a new thread after the idle one was ended', async () => {
    const clock = manualClock();
    const { run, failures } = setUp(built, clock);
    expect(await run(right)).toBe(true);
    await clock.advance(30_000);
    expect(await run(right)).toBe(true);
    expect(failures).toEqual([]);
  });

  test.each([
    ['its module is not there', () => new URL('./no-such-module.js', import.meta.url)],
    ['nobody knows where its module is', () => new URL('./bcrypt-thread.js', undefined)],
    ['its module ends at once', module('process.exit(3)')],
    ['its module throws', module('throw new Error("of its own")')],
  ])('compares without a thread where %s, and says so once', async (_, entry) => {
    const { run, failures } = setUp(entry);
    expect(await run(right)).toBe(true);
    expect(await run(wrong)).toBe(false);
    expect(failures).toHaveLength(1);
  });

  test('compares without a thread where another module answers nothing', async () => {
    const clock = manualClock();
    const { run, failures } = setUp(module('setInterval(() => {}, 1000)'), clock);
    const result = run(right);
    await clock.advance(15_000);
    expect(await result).toBe(true);
    expect(failures).toHaveLength(1);
  });

  test('says once, not for each password, that no thread can be started any more', async () => {
    const clock = manualClock();
    const entries = [built];
    const nowhere = () => new URL('./no-such-module.js', undefined);
    const { run, failures } = setUp(() => (entries.shift() ?? nowhere)(), clock);
    expect(await run(right)).toBe(true);
    await clock.advance(30_000);
    for (const _ of [1, 2, 3]) expect(await run(right)).toBe(true);
    expect(failures).toHaveLength(1);
  });

  test('compares in a new thread after one that had begun broke off', async () => {
    const ready = "import { parentPort } from 'node:worker_threads'; parentPort.postMessage('proxycache passwords');";
    const breaking = module(`${ready} parentPort.on('message', () => process.exit(1));`);
    const entries = [breaking, built];
    const { run, failures } = setUp(() => (entries.shift() ?? built)());
    expect(await run(right)).toBe(true);
    expect(failures).toHaveLength(1);
    expect(await run(wrong)).toBe(false);
    expect(entries).toEqual([]);
    expect(failures).toHaveLength(1);
  });
});
