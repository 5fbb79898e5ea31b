import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type FakeUpstream, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';
import { type RunningExample, startExample } from './running-example.ts';

const run = promisify(execFile);
const skopeo = requireProgram('skopeo');
const isPossible = [skopeo, requireProgram('redis-server')].every((program) => program !== undefined);

describe.skipIf(!isPossible)('examples/scale-out', () => {
  let upstream: FakeUpstream;
  let running: RunningExample;
  let folder: string;
  let pulls = 0;

  beforeAll(async () => {
    folder = makeTemporaryFolder('scale-out');
    upstream = await startFakeUpstream();
    running = await startExample('scale-out', ['--upstream', `own=${upstream.url}`]);
  });
  afterAll(async () => {
    // Its children end with it by a signal that it can hear.
    await running?.end('SIGTERM');
    await running?.clear();
    await upstream?.stop();
    removeFolder(folder);
  });

  /** What skopeo got of an image through the balancer: its manifest. */
  async function pull(image: string): Promise<Buffer> {
    const target = join(folder, String(pulls++));
    const source = `docker://${new URL(running.url).host}/${image}`;
    await run(skopeo!, ['copy', '--retry-times', '2', '--src-tls-verify=false', source, `dir:${target}`]);
    return readFileSync(join(target, 'manifest.json'));
  }

  /** How often the upstream was asked for each path. */
  function asked(what: RegExp): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { method, path } of upstream.requests) {
      if (what.test(path)) counts[`${method} ${path}`] = (counts[`${method} ${path}`] ?? 0) + 1;
    }
    return counts;
  }

  const processId = (name: string) => Number(new RegExp(`${name} +port \\d+ +pid (\\d+)`).exec(running.said())?.[1]);

  test('has each blob brought in once, and a tag asked for once, for all that pull by either server', async () => {
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3_000_000, 200_000, 1_000] });
    const [manifest] = await Promise.all([pull('team/app:1'), pull('team/app:1'), pull('team/app:1')]);
    expect(sha256(manifest!)).toBe(image.root.digest);
    await pull('team/app:1');
    const blobs = [image.config, ...image.layers].map(({ digest }) => [`GET /v2/team/app/blobs/${digest}`, 1]);
    // A server may ask whether the upstream has a blob that the other has just brought in; that moves no byte of it.
    const moved = Object.entries(asked(/\/blobs\//)).filter(([request]) => request.startsWith('GET '));
    expect(Object.fromEntries(moved)).toEqual(Object.fromEntries(blobs));
    expect(Object.values(asked(/\/manifests\/1$/))).toEqual([1]);
  });

  test('serves on by the other server when one is killed, and without Redis', async () => {
    upstream.addImage('team/other', { tag: '1', layerSizes: [100_000] });
    await pull('team/other:1');
    for (const name of ['replica-1', 'redis']) {
      process.kill(processId(name), 'SIGKILL');
      expect((await pull('team/other:1')).length).toBeGreaterThan(0);
    }
    upstream.addImage('team/late', { tag: '1', layerSizes: [100_000] });
    expect((await pull('team/late:1')).length).toBeGreaterThan(0);
  });

  test('ends all that it started', async () => {
    const pids = ['s3', 'replica-2'].map(processId);
    expect(await running.end('SIGTERM')).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });
});
