import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { coordinatorCase, type MakeCoordinators } from './harness.ts';

/** Longer than a machine under load stands still. */
const leaseMs = 3_000;

/** Rules of `acquire` and `holder`. */
export const leaseCases: Contract<MakeCoordinators> = [
  coordinatorCase('gives a lease to one holder at a time', async ({ one, other, signal }) => {
    const lease = await one.acquire('key', { for: leaseMs, signal });
    assert.ok(lease);
    assert.equal(await one.acquire('key', { for: leaseMs, signal }), undefined);
    assert.equal(await other.acquire('key', { for: leaseMs, signal }), undefined);
    await lease.release();
    const next = await other.acquire('key', { for: leaseMs, signal });
    assert.ok(next);
    await next.release();
  }),

  coordinatorCase('gives it to one of many who want it at the same time', async ({ one, other, signal }) => {
    const wanted = Array.from({ length: 20 }, (_, at) =>
      (at % 2 ? one : other).acquire('key', { for: leaseMs, signal }),
    );
    const leases = (await Promise.all(wanted)).flatMap((lease) => (lease ? [lease] : []));
    assert.equal(leases.length, 1);
    await leases[0]?.release();
  }),

  coordinatorCase('gives every lease of a key a higher token than the one before', async ({ one, other, signal }) => {
    let last = 0;
    for (let turn = 0; turn < 10; turn++) {
      const lease = await (turn % 2 ? one : other).acquire('key', { for: leaseMs, signal });
      assert.ok(lease && Number.isSafeInteger(lease.token) && lease.token > last, `${lease?.token} after ${last}`);
      last = lease.token;
      await lease.release();
    }
  }),

  coordinatorCase('tells everybody what the holder says of itself', async ({ one, other, signal }) => {
    assert.equal(await one.holder('key'), undefined);
    const value = 'http://10.0.0.1:5000\nünïcödé';
    const lease = await one.acquire('key', { for: leaseMs, value, signal });
    assert.equal(await one.holder('key'), value);
    assert.equal(await other.holder('key'), value);
    await lease?.release();
    assert.equal(await other.holder('key'), undefined);
    const silent = await other.acquire('key', { for: leaseMs, signal });
    assert.equal(await one.holder('key'), '');
    await silent?.release();
  }),

  coordinatorCase('does not end the next lease when one is released twice', async ({ one, other, signal }) => {
    const first = await one.acquire('key', { for: leaseMs, signal });
    await first?.release();
    const second = await other.acquire('key', { for: leaseMs, value: 'second', signal });
    await first?.release();
    assert.equal(await one.holder('key'), 'second');
    assert.equal(second?.lost.aborted, false);
    await second?.release();
  }),

  coordinatorCase('keeps the leases of different keys apart', async ({ one, signal }) => {
    const keys = ['a', 'a/b', 'a%2Fb', 'a b', '{a}', '}{', 'ä', '*', `sha256:${'0'.repeat(64)}`];
    const leases = await Promise.all(keys.map((key) => one.acquire(key, { for: leaseMs, value: key, signal })));
    for (const key of keys) assert.equal(await one.holder(key), key);
    for (const lease of leases) await lease?.release();
  }),

  coordinatorCase('keeps many leases at the same time, with what their holders say', async ({ one, other, signal }) => {
    const keys = Array.from({ length: 60 }, (_, at) => `ingest/hub/sha256:${at}`);
    const value = JSON.stringify({ v: 1, owner: 'host', spool: '/ü/'.repeat(600) });
    const leases = await Promise.all(
      keys.map((key, at) => (at % 2 ? one : other).acquire(key, { for: leaseMs, value: `${key} ${value}`, signal })),
    );
    assert.ok(leases.every((lease) => lease !== undefined));
    for (const key of keys) assert.equal(await one.holder(key), `${key} ${value}`);
    await Promise.all(leases.map((lease) => lease?.release()));
    for (const key of keys) assert.equal(await other.holder(key), undefined);
  }),

  coordinatorCase('passes a lease on from one who wants it to the next', async ({ one, other, signal }) => {
    let inside = 0;
    let turns = 0;
    const work = async (coordinator: typeof one) => {
      for (let done = 0; done < 5; ) {
        const lease = await coordinator.acquire('key', { for: leaseMs, signal });
        if (!lease) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        inside++;
        assert.equal(inside, 1, 'two hold it');
        await new Promise(setImmediate);
        inside--;
        turns++;
        done++;
        await lease.release();
      }
    };
    await Promise.all([work(one), work(other), work(one), work(other)]);
    assert.equal(turns, 20);
  }),

  coordinatorCase('keeps a lease for longer than it is for, until it is released', async ({ one, other, signal }) => {
    const lease = await one.acquire('key', { for: leaseMs, signal });
    const begun = performance.now();
    while (performance.now() - begun < leaseMs * 1.1) {
      assert.equal(await other.acquire('key', { for: leaseMs, signal }), undefined);
      assert.equal(lease?.lost.aborted, false);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await lease?.release();
    assert.equal(lease?.lost.aborted, false);
    assert.equal(await other.holder('key'), undefined);
  }),

  coordinatorCase('gives no lease to whoever has given up', async ({ one, signal }) => {
    const gaveUp = new Error('gave up');
    await assert.rejects(one.acquire('key', { for: leaseMs, signal: AbortSignal.abort(gaveUp) }), gaveUp);
    const controller = new AbortController();
    const asking = one.acquire('key', { for: leaseMs, signal: controller.signal });
    controller.abort(gaveUp);
    // It may have come first; then it is theirs.
    await asking.then(
      (lease) => lease?.release(),
      (error) => assert.equal(error, gaveUp),
    );
    assert.equal(await one.holder('key'), undefined);
    await (await one.acquire('key', { for: leaseMs, signal }))?.release();
  }),
];
