// A cache with a file storage behind Node's server, as a process that can be killed. Arguments: the folder, the
// upstream's URL, and further options of the upstream as JSON, with `s3` those of s3Blobs: then blobs are in S3, and in a folder before it. Its first line says where it listens, and which spool files there were when createProxyCache returned;
// each event follows as a line. With `hurry` what waits for most of a minute is done after a second.
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createProxyCache, fileBlobs, fileStorage, systemClock, tiered } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';

const [, , folder, url, options = '{}'] = process.argv;
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const { s3, hurry = false, ...upstream } = JSON.parse(options);
const isLong = (ms) => ms > 40_000 && ms < 60_000;
const clock = { ...systemClock, after: (ms, fn) => systemClock.after(hurry && isLong(ms) ? 1_000 : ms, fn) };
const storage = fileStorage(folder);
// The SDK takes a while to load.
const remote = s3 && (await import('@proxycache/s3')).s3Blobs(s3);
const local = () => fileBlobs(join(folder, 'local'), { maxBytes: 1e9 });
const blobs = remote ? tiered({ local: local(), remote }) : storage.blobs;
const cache = createProxyCache({
  upstreams: [{ key: 'up', url, ...upstream }],
  storage: { ...storage, blobs },
  minFree: 0,
  clock,
  observer: tell,
});
const spooled = readdirSync(join(folder, 'spool'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map(({ name }) => name);
const server = createServer(createNodeHandler(cache)).listen(0, '127.0.0.1', () => {
  tell({ url: `http://127.0.0.1:${server.address().port}`, spooled });
});
