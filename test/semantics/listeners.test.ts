import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

/** What was rejected, and nobody took: it would end the host's process. */
function untaken(): unknown[] {
  const found: unknown[] = [];
  const note = (reason: unknown) => found.push(reason);
  process.on('unhandledRejection', note);
  onTestFinished(() => void process.off('unhandledRejection', note));
  return found;
}

/** Node tells of rejections after the turn of the loop in which they came. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('an observer that is asynchronous and fails costs neither the pull nor the process', async () => {
  const rejected = untaken();
  let told = 0;
  const observer = async () => {
    told++;
    throw new Error('the database is down');
  };
  const { upstream, cache } = await startPair({ cache: { observer } });
  const leave = cache.cache.observe(observer);
  upstream.addImage('team/app', { tag: '1' });
  expect((await pullImage(cache, { path: '/v2/up/team/app', tag: '1' })).status).toBe(200);
  leave();
  await turn();
  expect(told).toBeGreaterThan(1);
  expect(rejected).toEqual([]);
});

test.each(['warm', 'export', 'import', 'scrub', 'sweep', 'purge'] as const)(
  'onProgress of %s may be asynchronous and fail',
  async (kind) => {
    const rejected = untaken();
    let told = 0;
    const onProgress = async () => {
      told++;
      throw new Error('the database is down');
    };
    const { upstream, cache: under } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    const { cache } = under;
    const how = { onProgress };
    await cache.warm(['up/team/app:1'], kind === 'warm' ? how : {});
    const directory = join(under.directory, 'layout');
    await cache.exportLayout(['up/team/app:1'], { directory, ...(kind === 'export' && how) });
    await cache.importLayout({ directory, ...(kind === 'import' && how) });
    if (kind === 'scrub') await cache.scrub(how);
    if (kind === 'sweep') await cache.sweep(how);
    if (kind === 'purge') await cache.purge({ reference: 'up/team/app:1' }, how);
    await turn();
    expect(told).toBeGreaterThan(0);
    expect(rejected).toEqual([]);
  },
);
