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

  coordinatorCase('brings long messages, and many of them in order', async ({ one }) => {
    const seen: string[] = [];
    one.subscribe('channel', (message) => seen.push(message));
    const sent = Array.from({ length: 200 }, (_, at) => `${at} ${'ü'.repeat(at % 20 ? 10 : 50_000)}`);
    for (const message of sent) await one.publish('channel', message);
    await until('the last message', () => seen.length >= sent.length);
    assert.deepEqual(seen, sent);
  }),

  coordinatorCase('keeps channels of any name apart', async ({ one }) => {
    const names = ['a', 'a/b', 'a*', '*', '[ab]', 'ä', 'a b', '{a}', 'a\nb'];
    const seen: string[] = [];
    for (const name of names) one.subscribe(name, (message) => seen.push(`${name} ${message}`));
    for (const name of names) await one.publish(name, name);
    await until('all messages', () => seen.length >= names.length);
    assert.deepEqual(seen.sort(), names.map((name) => `${name} ${name}`).sort());
  }),

  coordinatorCase('lets a subscriber end itself, and subscribe anew, while it is told', async ({ one }) => {
    const seen: string[] = [];
    const end = one.subscribe('channel', (message) => {
      seen.push(`first ${message}`);
      end();
      one.subscribe('channel', (next) => seen.push(`second ${next}`));
    });
    await one.publish('channel', '1');
    await until('the first message', () => seen.length > 0);
    await until(
      'a message to who subscribed anew',
      () => seen.includes('second 2'),
      () => one.publish('channel', '2'),
    );
    assert.equal(seen.filter((one) => one.startsWith('first')).length, 1);
  }),

  coordinatorCase('has nothing against a message that nobody listens to', async ({ one, other }) => {
    await one.publish('channel', 'x');
    await other.publish('channel', 'y');
  }),
];
