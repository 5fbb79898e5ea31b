import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { isDead, type Owner, ownerName, parseOwner, thisOwner } from './process-owner.ts';

const now = Date.UTC(2026, 0, 1);
const minute = 60_000;

it('reads back the name it writes, as one path component', () => {
  const owner = thisOwner();
  expect(parseOwner(ownerName(owner))).toEqual(owner);
  expect(ownerName(owner)).not.toContain('/');
});

it.each(['', 'a', 'host~1~2', 'host~1~x~3', 'host~1~2~3~4', '~1~2~3', 'host~~2~3', 'lost+found', '.keep'])(
  'takes %j for no owner of ours',
  (name) => {
    expect(parseOwner(name)).toBeUndefined();
  },
);

it('is alive itself', () => {
  expect(isDead(thisOwner(), 0, now)).toBe(false);
});

it('is dead when its process has ended, however lately it touched what it owns', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const owner: Owner = { ...thisOwner(), pid: child.pid! };
  const alive = { ...owner, startedAt: '0' };
  expect(isDead(alive, now, now)).toBe(false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isDead(alive, now, now)).toBe(true);
});

it('is dead when its pid belongs to another process by now', () => {
  const { startedAt } = thisOwner();
  expect(isDead({ ...thisOwner(), startedAt: `${Number(startedAt) - 1}` }, now, now)).toBe(true);
});

it.each([{ host: 'elsewhere' }, { namespace: '1' }])(
  'of another host or namespace (%j), only silence tells',
  (other) => {
    const owner = { ...thisOwner(), ...other, pid: 2 ** 22 - 1 };
    expect(isDead(owner, now - 15 * minute, now)).toBe(false);
    expect(isDead(owner, now - 15 * minute - 1000, now)).toBe(true);
  },
);
