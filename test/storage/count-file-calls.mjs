// Does one thing with a cache on a folder, and writes as JSON how often it used which function of node:fs, on which part
// of the store. Arguments: the folder, the upstream's URL, what to do, and what that is about.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { relative } from 'node:path';

const [, , folder, url, what, ...about] = process.argv;
const calls = {};

/** `metadata/link`, `blobs/sha256`: what is told of a path. */
function partOf(path) {
  const [top, kind] = relative(folder, path).split('/');
  if (top === '..') return undefined;
  return top === 'spool' || kind === undefined ? top : `${top}/${kind}`;
}

function count(module, name) {
  const original = module[name];
  module[name] = (path, ...rest) => {
    const part = typeof path === 'string' ? partOf(path) : undefined;
    if (part !== undefined) {
      const call = `${name.replace(/Sync$/, '')} ${part}`;
      calls[call] = (calls[call] ?? 0) + 1;
    }
    return original(path, ...rest);
  };
  // Whoever promisifies it gets what is counted, too.
  Object.assign(module[name], original);
}

const counted = ['open', 'opendir', 'readFile', 'readdir', 'stat', 'lstat', 'access', 'unlink', 'rename', 'rm'];
for (const name of counted) {
  count(fs, name);
  count(fs, `${name}Sync`);
  count(fs.promises, name);
}
syncBuiltinESMExports();

const { createProxyCache, fileStorage } = await import('@proxycache/core');
const storage = fileStorage(folder);
const upstream = { key: 'up', url, freshFor: '36500d', retry: { attempts: 1 } };
const cache = createProxyCache({ upstreams: [upstream], storage, minFree: 0 });
const get = async (path) => {
  const answer = await cache.fetch(new Request(`http://cache${path}`));
  await answer.arrayBuffer();
  return answer.status;
};

const work = {
  start: () => get('/v2/'),
  pull: async () => {
    const statuses = [];
    for (const path of about) statuses.push(await get(path));
    return statuses;
  },
  /** All keys below a prefix, a page at a time. */
  async list([prefix, limit]) {
    const { signal } = new AbortController();
    let listed = 0;
    for (let after; ; ) {
      const page = await storage.metadata.list(prefix, { limit: Number(limit), signal, ...(after && { after }) });
      listed += page.length;
      after = page.at(-1);
      if (page.length < Number(limit)) return listed;
    }
  },
  /** The first so many blobs and records, and by how many MiB the memory that is in use grew meanwhile. */
  async scrub([blobs, records]) {
    const over = new AbortController();
    const used = () => {
      globalThis.gc();
      return process.memoryUsage().heapUsed;
    };
    const before = used();
    let grown = 0;
    const checked = { blobs: 0, records: 0 };
    const onProgress = (report) => {
      checked.blobs = report.blobs.checked;
      checked.records = report.records.checked;
      const most = checked.records > 0 ? Number(records) : Number(blobs);
      const done = checked.records || checked.blobs;
      if (done % Math.ceil(most / 4) === 0) grown = Math.max(grown, used() - before);
      if (checked.records >= Number(records)) over.abort();
    };
    await cache.scrub({ signal: over.signal, onProgress }).catch((error) => {
      if (!over.signal.aborted) throw error;
    });
    return { ...checked, grownMiB: grown / 2 ** 20 };
  },
};
const outcome = await work[what](about);
console.log(JSON.stringify({ outcome, calls }));
await cache.close();
