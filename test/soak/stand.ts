import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createProxyCache,
  fileStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type UpstreamOptions,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import {
  type FakeCdn,
  type FakeUpstream,
  type FlakyStorage,
  flakyStore,
  type ManualClock,
  manualClock,
  openFiles,
  startFakeCdn,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { type Answered, type Asked, ask } from './client.ts';
import { createPump, type Pump } from './pump.ts';
import { Violation } from './violation.ts';

/** How a cache is set up until the next restart. */
export interface Setup {
  /** Whether the second registry is a further endpoint of the upstream. */
  fallback: boolean;
  /** Whether blobs come by signed URLs of another host. */
  cdn: boolean;
  /** Whether the first registry asks for tokens. */
  bearer: boolean;
  freshFor: 0 | '30s';
  coldRange: 'pass' | 'verify';
  /** Whether layers are fetched ahead. */
  prefetch: boolean;
  /** Whether the disk is said to be full. */
  full: boolean;
  /** Whether it starts on an empty folder. */
  fresh: boolean;
  /** Whether stored blobs are read over when they are first asked for. */
  verify: boolean;
}

/** A cache behind a real server, what it stores in, and what it asks. */
export interface Stand {
  readonly main: FakeUpstream;
  readonly spare: FakeUpstream;
  readonly cdn: FakeCdn;
  readonly clock: ManualClock;
  readonly pump: Pump;
  readonly directory: string;
  readonly storage: FlakyStorage;
  /** Since the last {@link clearLogs}. */
  readonly events: readonly ProxyCacheEvent[];
  /** Answers that were nobody's fault but the cache's own. */
  readonly defects: readonly string[];
  /** The last bodies that broke, and why. */
  readonly errors: readonly string[];
  seq(): number;
  ask(asked: Asked): Promise<Answered>;
  /** Whether nobody waits for anything: no client, no request to an upstream, no blob coming in. */
  quiet(): boolean;
  /** Whether verified blobs wait for the store: after trouble it is asked again ever later, up to a minute. */
  hasUploads(): boolean;
  clearLogs(): void;
  /** Closes the cache and looks for what it left behind, does what is to be done meanwhile, then opens another. */
  restart(setup: Setup, meanwhile: () => void): Promise<void>;
  end(): Promise<void>;
}

const mostErrors = 3;
const longestClose = 10 * 60_000;

/** Starts everything; the cache itself by {@link Stand.restart}. */
export async function startStand(): Promise<Stand> {
  const clock = manualClock();
  const main = await startFakeUpstream({ clock });
  const spare = await startFakeUpstream({ clock, address: '127.0.0.2' });
  const cdn = await startFakeCdn({ clock, address: '127.0.0.3' });
  const hosts = [main, spare, cdn];
  let directory = '';
  let cache: ProxyCache | undefined;
  let storage: FlakyStorage | undefined;
  let events: ProxyCacheEvent[] = [];
  const defects: string[] = [];
  const errors: string[] = [];
  let ingests = 0;
  let waiting = 0;
  let seq = 0;
  let moves = 0;

  const moved = () =>
    hosts.reduce((sum, host) => sum + host.sentBytes() + host.requests.length + host.underWay(), moves) +
    hosts.reduce((sum, host) => sum + host.connections().accepted * 7 + host.connections().open * 13, 0);
  const pump = createPump(clock, moved);
  function onError(error: unknown): void {
    errors.push(error instanceof Error ? `${error.stack}` : String(error));
    if (errors.length > mostErrors) errors.shift();
  }
  const server = createServer((req, res) => (cache ? createNodeHandler(cache, { onError })(req, res) : res.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  function observe(event: ProxyCacheEvent): void {
    moves++;
    events.push(event);
    if (event.type === 'ingest-started') ingests++;
    if (event.type === 'ingest-ended') ingests--;
    if (event.type === 'request' && (event.defect !== undefined || event.error === 'internal')) {
      defects.push(JSON.stringify(event));
    }
  }

  function open(setup: Setup): void {
    if (setup.fresh || directory === '') {
      if (directory) rmSync(directory, { recursive: true, force: true });
      directory = mkdtempSync(join(tmpdir(), 'soak-'));
    }
    for (const host of hosts) host.heal();
    cdn.expire();
    main.change({ auth: setup.bearer ? { bearer: { expiresIn: 300 } } : 'none', personality: [] });
    spare.change({ personality: [] });
    for (const registry of [main, spare]) registry.change({ redirectBlobsTo: setup.cdn ? cdn : undefined });
    const upstream: UpstreamOptions & { endpoints?: string[] } = {
      key: 'up',
      url: main.url,
      freshFor: setup.freshFor,
      coldRange: setup.coldRange,
      prefetch: setup.prefetch ? 'layers' : 'off',
      ...(setup.fallback && { endpoints: [spare.url] }),
    };
    storage = flakyStore(fileStorage(directory, { clock }));
    ingests = 0;
    cache = createProxyCache({
      upstreams: [upstream],
      storage,
      clock,
      verifyOnRead: setup.verify ? 'first' : 'never',
      minFree: setup.full ? Number.MAX_SAFE_INTEGER : 0,
      observer: observe,
    });
  }

  async function close(): Promise<void> {
    if (!cache || !storage) return;
    await pump.drive('close', cache.close({ graceMs: 1_000 }), longestClose);
    storage.heal();
    await pump.idle();
    // What waits for a hung store is let go by its healing, and ends by the clock.
    await pump.run(60_000);
    const left = {
      files: openFiles(directory),
      blobs: storage.openBlobs(),
      timers: clock.pending(),
      connections: hosts.map((host) => host.connections().open).join(),
      spool: readdirSync(join(directory, 'spool'), { recursive: true }),
      tmp: readdirSync(join(directory, 'tmp')),
    };
    const nothing = { files: [], blobs: 0, timers: 0, connections: '0,0,0', spool: [], tmp: [] };
    if (JSON.stringify(left) !== JSON.stringify(nothing))
      throw new Violation(`left after close: ${JSON.stringify(left)}`);
    cache = undefined;
    storage = undefined;
  }

  return {
    main,
    spare,
    cdn,
    clock,
    pump,
    get directory() {
      return directory;
    },
    get storage() {
      if (!storage) throw new Error('the cache is closed');
      return storage;
    },
    get events() {
      return events;
    },
    defects,
    errors,
    seq: () => ++seq,
    async ask(asked) {
      waiting++;
      const answered = await ask(origin, asked, () => moves++);
      waiting--;
      return answered;
    },
    hasUploads: () =>
      readdirSync(join(directory, 'spool'), { recursive: true }).some((path) => /waiting-[^/]*\//.test(`${path}`)),
    quiet: () => waiting === 0 && ingests === 0 && hosts.every((host) => host.underWay() === 0),
    clearLogs() {
      events = [];
      for (const host of hosts) host.clear();
    },
    async restart(setup, meanwhile) {
      await close();
      meanwhile();
      open(setup);
    },
    async end() {
      await close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await Promise.all(hosts.map((host) => host.stop()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
