import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { useHostClient } from './host-client.ts';

test("while the host's client hung, each question waited for the whole deadline", async () => {
  const clock = manualClock();
  const asked: string[] = [];
  const waiting: (() => void)[] = [];
  let hangs = false;
  const client = {
    isReady: true,
    async sendCommand(args: readonly string[]) {
      asked.push(args.join(' '));
      if (hangs) await new Promise<void>((resolve) => waiting.push(resolve));
      return args.join(' ');
    },
  };
  const redis = useHostClient(client, { clock, answerWithinMs: 1_000 });
  const get = (key: string) => redis.send(key, ['GET', key], {}).catch((error: Error) => error.message);
  hangs = true;
  const first = get('a');
  await clock.advance(1_000);
  expect(await first).toContain('did not answer GET within 1000 ms');
  expect(await get('b')).toContain('did not answer');
  await clock.advance(60_000);
  // One looks whether it is back, and nothing queues up in the client.
  expect(asked).toEqual(['GET a', 'PING']);
  hangs = false;
  for (const answer of waiting.splice(0)) answer();
  await clock.advance(1_000);
  expect(await get('c')).toBe('GET c');
  expect(clock.pending()).toBe(0);
});
