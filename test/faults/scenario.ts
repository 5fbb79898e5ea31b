import type { ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import type { FakeCdn, FakeUpstream, FakeUpstreamOptions, FlakyStorage, Step } from '@proxycache/test-kit';
import type { CacheUnderTest } from '../semantics/cache-under-test.ts';

/** What a scenario plays with. Nobody asks `spare` unless `spare` is given, nor `cdn` unless `cdn` is. */
export interface World {
  upstream: FakeUpstream;
  spare: FakeUpstream;
  cdn: FakeCdn;
  storage: FlakyStorage;
  cache: CacheUnderTest;
}

/** One line of the table: what goes wrong, and what everybody sees of it. */
export interface Scenario {
  what: string;
  /** How things stand before. `stored`: the image was pulled. `spare`: there is a second endpoint. `cdn`: blobs are redirected. */
  given?: {
    stored?: true;
    spare?: true;
    cdn?: true;
    fake?: FakeUpstreamOptions;
    options?: Partial<UpstreamOptions>;
    cache?: Partial<ProxyCacheOptions>;
  };
  fault(world: World): unknown;
  /** What is pulled then: by tag, or a layer of 40 KiB or of 3 MiB. */
  ask: 'tag' | 'small' | 'large';
  /** What the client sees. Times are those of the clock. */
  client: { status: number; end?: 'broken'; warning?: true; retryAfter?: string; withinMs?: number };
  /** What the upstream (or the host that is named) was asked about it: requests, and bytes as multiples of the content. */
  asked: { gets?: number; heads?: number; atMost?: number };
  /** Whether the content is in the store afterwards. */
  disk: 'stored' | 'nothing';
  /** Events that tell of it, among others: the type, then what sets it apart. */
  events: readonly string[];
  /** What another client gets later, the fault taken away. Default: all of it. */
  next?: { status: number };
}
export const MiB = 1024 * 1024;
export const layers = { method: 'GET', path: /\/blobs\// };
export const manifests = { path: /\/manifests\// };
export const script =
  (...steps: Step[]) =>
  ({ upstream }: World) =>
    upstream.script(layers, steps);
export const cut = (cutAfter: number, how: 'fin' | 'rst' = 'fin'): Step => ({ cutAfter, how });
export const stored = ['ingest-started', 'ingest-ended stored'];
export const whole = { status: 200 };
