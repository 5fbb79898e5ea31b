import { readFileSync } from 'node:fs';
import { Agent, createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ProxyCacheOptions, systemClock, type UpstreamOptions } from '@proxycache/core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startCache } from './cache-under-test.ts';

const MiB = 1024 * 1024;
const piece = Buffer.alloc(64 * 1024, 7);
const blobs = 10;
const windowMs = 10_000;
const settledMs = 2_000;
const longestMs = 45_000;

/** How many bytes there were in all at some instants. */
type Curve = { at: number; bytes: number }[];

/** A host of blobs without an end, and how much of them the kernel of whoever asks has taken. */
async function startSource(redirectTo?: string): Promise<{ url: string; taken(): number }> {
  let accepted = 0;
  const size = 2 ** 40;
  const server = createServer((req, res) => {
    const [, from = '0', to = String(size - 1)] = /bytes=(\d+)-(\d+)?/.exec(req.headers.range ?? '') ?? [];
    const isRedirected = redirectTo !== undefined && /[13579]$/.test(req.url ?? '');
    if (isRedirected) return void res.writeHead(307, { location: `${redirectTo}${req.url}` }).end();
    let left = Number(to) - Number(from) + 1;
    const part = req.headers.range === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${size}` };
    res.writeHead(req.headers.range === undefined ? 200 : 206, { 'content-length': left, etag: '"x"', ...part });
    const send = () => {
      if (left <= 0) return void res.end();
      left -= piece.byteLength;
      res.write(piece, (error) => {
        if (error) return;
        accepted += piece.byteLength;
        send();
      });
    };
    send();
  });
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}`, taken: () => accepted - queuedAt(port) };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Bytes that the kernel was given to send from a port, and that nobody has taken yet. */
function queuedAt(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const sockets = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
  return sockets.reduce((sum, line) => {
    const [, from = '', , , queues = '0'] = line.trim().split(/\s+/);
    return from.endsWith(local) ? sum + Number.parseInt(queues, 16) : sum;
  }, 0);
}

/** By how much the bytes of each window are off the rate, of those windows in which this process had time to look. */
function deviations(curve: Curve, rate: number): number[] {
  const start = curve.find(({ bytes }) => bytes > 0)?.at ?? Number.POSITIVE_INFINITY;
  const found: number[] = [];
  for (let from = 0; from < curve.length; from += 5) {
    const first = curve[from];
    if (!first || first.at < start + settledMs) continue;
    const to = curve.findIndex(({ at }) => at >= first.at + windowMs);
    const last = curve[to];
    if (!last) break;
    const isCalm = curve
      .slice(Math.max(from - 10, 1), to + 1)
      .every(({ at }, i, all) => i === 0 || at - (all[i - 1]?.at ?? at) < 250);
    if (isCalm) found.push((last.bytes - first.bytes) / ((rate * (last.at - first.at)) / 1000) - 1);
  }
  return found;
}

/** Over all that came after the first moments. */
function overall(curve: Curve, rate: number): number {
  const start = curve.find(({ bytes }) => bytes > 0)?.at ?? 0;
  const first = curve.find(({ at }) => at >= start + settledMs) ?? { at: 0, bytes: 0 };
  const last = curve.at(-1) ?? first;
  return (last.bytes - first.bytes) / ((rate * (last.at - first.at)) / 1000) - 1;
}

/** Ten clients pull a blob each; ends when some windows were seen. */
async function measure(rate: number, options: Partial<UpstreamOptions>, cacheOptions: Partial<ProxyCacheOptions>) {
  const cdn = await startSource();
  const registry = await startSource(cdn.url);
  const upstreams = [{ key: 'up', url: registry.url, limits: { bytesPerSecond: rate }, ...options }];
  const cache = await startCache({ upstreams, clock: systemClock, ...cacheOptions });
  const agent = new Agent();
  onTestFinished(() => agent.destroy());
  let received = 0;
  for (let i = 0; i < blobs; i++) {
    get(`${cache.url}/v2/up/team/app/blobs/sha256:${String(i).repeat(64)}`, { agent }, (res) => {
      res
        .on('error', () => undefined)
        .on('data', (chunk: Buffer) => {
          received += chunk.byteLength;
        });
    }).on('error', () => undefined);
  }
  const [taken, got]: [Curve, Curve] = [[], []];
  const begun = performance.now();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const at = performance.now();
    taken.push({ at, bytes: registry.taken() + cdn.taken() });
    got.push({ at, bytes: received });
    const isSeen = Math.min(deviations(taken, rate).length, deviations(got, rate).length) >= 4;
    if (isSeen || at - begun > longestMs) break;
  }
  return { taken, got };
}

describe('50: limits.bytesPerSecond holds within 5 % in every 10 s after the first 2 s, over 10 cold blobs of two hosts', () => {
  test.each<[string, number, Partial<UpstreamOptions>, Partial<ProxyCacheOptions>]>([
    ['that come in small steps', 10 * MiB, {}, {}],
    [
      'over lanes of another thread, with segments',
      20 * MiB,
      { segments: { connections: 4, minSize: MiB } },
      { offload: 'ingest' },
    ],
  ])('%s', { timeout: 2 * longestMs }, async (_how, rate, options, cacheOptions) => {
    const curves = await measure(rate, options, cacheOptions);
    for (const [where, curve] of Object.entries(curves)) {
      const windows = deviations(curve, rate);
      for (const deviation of windows) {
        expect([where, Math.abs(deviation) <= 0.05 || windows]).toEqual([where, true]);
      }
      // A host without time for it may lag behind the rate; it never goes beyond.
      expect(overall(curve, rate)).toBeLessThanOrEqual(0.05);
      expect(overall(curve, rate)).toBeGreaterThan(-0.3);
    }
  });
});
