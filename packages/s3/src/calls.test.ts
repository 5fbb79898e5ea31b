import { S3Client } from '@aws-sdk/client-s3';
import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { type CallWork, createCalls } from './calls.ts';
import { checkS3Options } from './settings.ts';

const { signal } = new AbortController();
const client = new S3Client({ region: 'us-east-1' });
const silence = () => new Promise<never>(() => undefined);

function makeCalls() {
  const clock = manualClock();
  const calls = createCalls(checkS3Options({ client, bucket: 'b', answerWithin: 1_000, clock }));
  const ask = (work: (given: CallWork) => Promise<unknown> = silence, rests = true) =>
    calls.run({ operation: 'GetObject', key: 'k', signal, rests }, work).catch((error: Error) => error.message);
  /** One that gets no answer. */
  async function miss(): Promise<unknown> {
    const asked = ask();
    await clock.advance(1_000);
    return asked;
  }
  return { clock, calls, ask, miss };
}

test('an S3 that keeps being silent is left alone for a while, and then asked by one caller', async () => {
  const { clock, ask, miss } = makeCalls();
  for (let time = 0; time < 3; time++) {
    expect(await miss()).toBe('S3 (bucket b) did not answer GetObject of k within 1000 ms');
  }
  const alone = 'S3 (bucket b) did not answer lately; it is left alone';
  expect(await ask()).toBe(alone);
  await clock.advance(9_999);
  expect(await ask()).toBe(alone);
  await clock.advance(1);
  const first = ask();
  expect(await ask()).toBe(alone);
  await clock.advance(1_000);
  expect(await first).toMatch(/did not answer/);
  expect(await ask()).toBe(alone);
  await clock.advance(10_000);
  expect(await ask(async () => 'answered')).toBe('answered');
  expect(await ask(async () => 'answered')).toBe('answered');
});

test('an answer in between, or a refusal, begins the count anew', async () => {
  const { ask, miss } = makeCalls();
  await miss();
  await miss();
  await ask(async () => 'answered');
  await miss();
  await miss();
  expect(await ask(() => Promise.reject(new Error('refused')))).toMatch(/refused/);
  await miss();
  await miss();
  expect(await ask(async () => 'answered')).toBe('answered');
});

test('what nobody waits for, such as an upload, may be tried also then', async () => {
  const { ask, miss } = makeCalls();
  for (let time = 0; time < 3; time++) await miss();
  expect(await ask(async () => 'answered', false)).toBe('answered');
  expect(await ask(async () => 'answered')).toBe('answered');
});

test('headway begins the deadline anew, and its end fires the signal of the work', async () => {
  const { clock, ask } = makeCalls();
  let work: CallWork | undefined;
  const asked = ask((given) => {
    work = given;
    return silence();
  });
  for (let time = 0; time < 5; time++) {
    await clock.advance(600);
    work?.headway();
  }
  expect(work?.abortSignal.aborted).toBe(false);
  await clock.advance(1_000);
  expect(await asked).toMatch(/within 1000 ms/);
  expect(work?.abortSignal.aborted).toBe(true);
});
