import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { coordinatorCase, type MakeCoordinators, until } from './harness.ts';

/** Rules of `publish` and `subscribe`. */
export const messageCases: Contract<MakeCoordinators> = [
  coordinatorCase('brings a message to all who listen, also to who sent it', async ({ one, other }) => {
    const seen = { one: 0, other: 0, again: 0 };
    const message = 'ünïcödé\n{}';
    const see = (who: keyof typeof seen) => (got: string) => {
      assert.equal(got, message);
      seen[who]++;
    };
    one.subscribe('channel', see('one'));
    one.subscribe('channel', see('again'));
    other.subscribe('channel', see('other'));
    // Another owner's subscription may take a moment.
    await until(
      'a message for all',
      () => seen.one > 0 && seen.other > 0 && seen.again > 0,
      () => one.publish('channel', message),
    );
  }),

  coordinatorCase('brings what was published after subscribing, once and in order', async ({ one }) => {
    const seen: string[] = [];
    one.subscribe('channel', (message) => seen.push(message));
    one.subscribe('other', (message) => seen.push(`other ${message}`));
    for (const message of ['1', '2', '', '3']) await one.publish('channel', message);
    await until('the last message', () => seen.includes('3'));
    assert.deepEqual(seen, ['1', '2', '', '3']);
  }),

  coordinatorCase('brings nothing more once a subscription was ended', async ({ one }) => {
    const seen: string[] = [];
    const fn = (message: string) => void seen.push(message);
    const end = one.subscribe('channel', fn);
    // The same function twice is two subscriptions.
    one.subscribe('channel', fn);
    await one.publish('channel', 'both');
    await until('two messages', () => seen.length === 2);
    end();
    end();
    await one.publish('channel', 'one');
    await until('one message more', () => seen.length > 2);
    assert.deepEqual(seen, ['both', 'both', 'one']);
  }),

  coordinatorCase("drops what a subscriber throws, which is not the others' trouble", async ({ one }) => {
    const seen: string[] = [];
    one.subscribe('channel', () => {
      throw new Error('a defect');
    });
    one.subscribe('channel', (message) => seen.push(message));
    await one.publish('channel', 'x');
    await until('a message', () => seen.length > 0);
    assert.deepEqual(seen, ['x']);
  }),

  coordinatorCase('has nothing against a message that nobody listens to', async ({ one, other }) => {
    await one.publish('channel', 'x');
    await other.publish('channel', 'y');
  }),
];
