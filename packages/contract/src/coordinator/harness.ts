import assert from 'node:assert/strict';
import type { Coordinator } from '@proxycache/core';
import type { ContractCase } from '../contract.ts';

/**
 * Makes coordinators of two owners who share everything, with nothing held and nobody listening. Of a coordinator that
 * knows one process only, both are the same.
 */
export type MakeCoordinators = () => Promise<{ one: Coordinator; other: Coordinator; close(): Promise<void> }>;

/** What a case works with. */
export interface CoordinatorFixture {
  one: Coordinator;
  other: Coordinator;
  signal: AbortSignal;
}

/** A case that runs on fresh coordinators. */
export function coordinatorCase(
  name: string,
  check: (fixture: CoordinatorFixture) => Promise<void>,
): ContractCase<MakeCoordinators> {
  return {
    name,
    async run(make) {
      const { one, other, close } = await make();
      try {
        await check({ one, other, signal: new AbortController().signal });
      } finally {
        await close();
      }
    },
  };
}

const longestMs = 15_000;

/** Waits until `check` gives true, doing `meanwhile` before each look. */
export async function until(
  what: string,
  check: () => boolean,
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<void> {
  const deadline = performance.now() + longestMs;
  while (!check()) {
    assert.ok(performance.now() < deadline, `${what} did not happen within ${longestMs} ms`);
    await meanwhile();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
