import { once } from 'node:events';
import { expect, it } from 'vitest';
import { createUntilClosed } from './until-closed.ts';

/** Runs until it is told to end, and then takes a moment to tidy up. */
const lasting = (tidied: () => void) => async (signal: AbortSignal) => {
  await once(signal, 'abort');
  await new Promise((resolve) => setImmediate(resolve));
  tidied();
  throw signal.reason;
};

it('gives what the work comes to', async () => {
  const { run } = createUntilClosed();
  expect(await run(undefined, async () => 7)).toBe(7);
  await expect(run(undefined, () => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
});

it('ends work by the signal of whoever wants it', async () => {
  const left = new AbortController();
  const running = createUntilClosed().run(
    left.signal,
    lasting(() => undefined),
  );
  left.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
});

it('ends all work when it is closed, is closed when that is tidy, and begins no more', async () => {
  let tidy = 0;
  const { run, close } = createUntilClosed();
  const running = [1, 2].map(() =>
    run(
      undefined,
      lasting(() => void tidy++),
    ),
  );
  const failures = Promise.allSettled(running);
  await close();
  expect(tidy).toBe(2);
  for (const { status } of await failures) expect(status).toBe('rejected');
  await expect(running[0]).rejects.toMatchObject({ code: 'closed' });
  await expect(run(undefined, async () => 7)).rejects.toMatchObject({ code: 'closed' });
});
