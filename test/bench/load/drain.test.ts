import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoopbackServer, startLoopbackServer } from '../../peers/loopback-server.ts';
import { makeTemporaryFolder, removeFolder } from '../../peers/temporary-folder.ts';
import { requireProgram } from '../../system.ts';
import { compile } from './compile.ts';
import { type DrainPlan, drain, startDrain } from './drain.ts';
import { startLink } from './link.ts';

const body = randomBytes(3_000_017);
const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
const asked: string[] = [];
let folder: string;
let server: LoopbackServer;
let programs: { drain: string; link: string };

describe.skipIf(requireProgram('cc', 'gcc') === undefined)('the load client', () => {
  beforeAll(async () => {
    folder = makeTemporaryFolder('load');
    programs = { drain: await compile('load/drain.c', folder), link: await compile('load/link.c', folder) };
    server = await startLoopbackServer(({ url = '' }, response) => {
      asked.push(url);
      if (url.startsWith('/missing')) response.writeHead(404).end();
      else if (url.startsWith('/cut'))
        response.writeHead(200, { 'content-length': 100 }).write('short', () => response.destroy());
      else if (url.startsWith('/never')) response.writeHead(200, { 'content-length': 100 }).write('some');
      else response.writeHead(200, { 'content-length': body.length }).end(body);
    });
  });
  afterAll(async () => {
    await server.stop();
    removeFolder(folder);
  });

  const run = (plan: DrainPlan, url = server.url) => drain(programs.drain, url, plan);

  it.each(['drain', 'copy', 'verify'] as const)('counts what it reads, by %s', async (mode) => {
    const { bytes, requests, firstByteMs } = await run({
      paths: [[`/a/${digest}`]],
      connections: 3,
      requests: 7,
      mode,
    });
    expect({ bytes, requests, firstBytes: firstByteMs.length }).toEqual({
      bytes: 7 * body.length,
      requests: 7,
      firstBytes: 7,
    });
  });

  it('tells bytes that are not those of their digest', async () => {
    await expect(run({ paths: [[`/a/sha256:${'0'.repeat(64)}`]], mode: 'verify' })).rejects.toThrow('other bytes');
  });

  it('asks for a group of paths when the one before is done', async () => {
    asked.length = 0;
    await run({ paths: [['/first'], ['/second', '/third']], connections: 2 });
    expect(asked[0]).toBe('/first');
    expect(new Set(asked)).toEqual(new Set(['/first', '/second', '/third']));
  });

  it('says what failed', async () => {
    await expect(run({ paths: [['/missing']] })).rejects.toThrow('/missing: HTTP/1.1 404 Not Found');
    await expect(run({ paths: [['/cut']] })).rejects.toThrow('/cut: cut off');
  });

  it('reads no faster than it is told', async () => {
    const { wallMs } = await run({ paths: [['/a']], bytesPerSecond: 10_000_000 });
    expect(wallMs).toBeGreaterThan((body.length / 10_000_000) * 1000 * 0.9);
  });

  it('says what it has seen when it is ended', async () => {
    const before = asked.length;
    const running = startDrain(programs.drain, server.url, { paths: [['/never']], requests: 1000 });
    await expect.poll(() => asked.length).toBeGreaterThan(before);
    running.end();
    expect(await running.result).toMatchObject({ failed: 0, requests: 0 });
  });

  it('gets the right bytes over a link, no sooner and no faster than the link allows', async () => {
    const link = await startLink(programs.link, server.url, { roundTripMs: 20, bytesPerSecond: 30_000_000 });
    const { wallMs, firstByteMs } = await run({ paths: [[`/a/${digest}`]], requests: 2, mode: 'verify' }, link.url);
    await link.stop();
    for (const each of firstByteMs) expect(each).toBeGreaterThanOrEqual(20);
    expect(wallMs).toBeGreaterThan(((2 * body.length) / 30_000_000) * 1000 * 0.9);
  });

  it('gets no more of a link by one connection than that may have', async () => {
    const shape = { roundTripMs: 0, bytesPerSecond: 100_000_000, bytesPerSecondOfConnection: 15_000_000 };
    const link = await startLink(programs.link, server.url, shape);
    const { wallMs } = await run({ paths: [[`/a/${digest}`]], mode: 'verify' }, link.url);
    await link.stop();
    expect(wallMs).toBeGreaterThan((body.length / 15_000_000) * 1000 * 0.9);
  });
});
