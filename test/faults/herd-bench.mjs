// How long 49 clients of one cold blob of 64 MiB take, alone and beside one that reads 1 MB/s for 5 s and leaves.
// `npm run build && node test/faults/herd-bench.mjs [rounds]` prints both medians, over rounds that take turns.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { seededBytes, startFakeUpstream } from '@proxycache/test-kit';

const size = 64 * 1024 * 1024;
const clients = 49;
const slowFor = 5_000;
const slowBytesPerSecond = 1_000_000;

/** The server's half, a process of its own: an upstream and a cache; a message asks for a new blob. */
async function serve() {
  const folder = mkdtempSync(join(tmpdir(), 'herd-'));
  process.on('disconnect', () => {
    rmSync(folder, { recursive: true, force: true });
    process.exit();
  });
  const upstream = await startFakeUpstream();
  const storage = fileStorage(folder);
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstream.url }], storage });
  const server = createServer(createNodeHandler(cache)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  process.on('message', (seed) => {
    upstream.removeRepository('team/app');
    const digest = upstream.putBlob('team/app', seededBytes(seed, size));
    process.send({ url: `http://127.0.0.1:${port}/v2/up/team/app/blobs/${digest}` });
  });
  process.send({ ready: true });
}

function ask(url) {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject);
  });
}

/** Ms until all of it has come. */
async function timeOf(url) {
  const from = performance.now();
  let length = 0;
  for await (const chunk of await ask(url)) length += chunk.length;
  if (length !== size) throw new Error(`${length} bytes came, not ${size}`);
  return performance.now() - from;
}

async function readSlowly(url) {
  const answer = await ask(url);
  const from = performance.now();
  let read = 0;
  for await (const chunk of answer) {
    read += chunk.length;
    const due = from + (read / slowBytesPerSecond) * 1000;
    if (due - from > slowFor) break;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
  }
  answer.destroy();
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure(rounds) {
  const child = fork(fileURLToPath(import.meta.url), ['serve']);
  const answer = async () => (await once(child, 'message'))[0];
  await answer();
  const medians = { alone: [], beside: [] };
  for (let round = -1; round < rounds; round++) {
    for (const how of round % 2 ? ['alone', 'beside'] : ['beside', 'alone']) {
      child.send(`${round} ${how}`);
      const { url } = await answer();
      const slow = how === 'beside' ? readSlowly(url) : undefined;
      const times = await Promise.all(Array.from({ length: clients }, () => timeOf(url)));
      await slow;
      // The first round warms up.
      if (round >= 0) medians[how].push(median(times));
    }
  }
  child.disconnect();
  const [alone, beside] = [median(medians.alone), median(medians.beside)];
  const list = (values) => values.map((value) => value.toFixed(0)).join(' ');
  console.log(`alone:            median of medians ${alone.toFixed(0)} ms (${list(medians.alone)})`);
  console.log(`beside a slow one: median of medians ${beside.toFixed(0)} ms (${list(medians.beside)})`);
  // Rounds of the same moment, so that what else the machine does counts for both.
  const ratios = medians.alone.map((value, round) => medians.beside[round] / value);
  console.log(`ratio ${(beside / alone).toFixed(3)}, median ratio of a round ${median(ratios).toFixed(3)}`);
}

if (process.argv[2] === 'serve') await serve();
else await measure(Number(process.argv[2] ?? 7));
