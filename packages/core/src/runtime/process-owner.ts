import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Who a file or folder of work under way belongs to: one process. Told apart by host, process namespace (two containers may share a volume
 * and both be pid 1), pid, and the instant the process started (pids are used again).
 */
export interface Owner {
  host: string;
  namespace: string;
  pid: number;
  /** Clock ticks since boot, or `0` where the system does not tell. */
  startedAt: string;
}

/** What an owner of another host has not touched for so long is a dead owner's. */
const foreignSilenceMs = 15 * 60_000;

/** The running process, as an owner. */
export function thisOwner(): Owner {
  return {
    host: hostname().replaceAll(/[^A-Za-z0-9.-]/g, '_') || 'localhost',
    namespace: processNamespace(),
    pid: process.pid,
    startedAt: processState(process.pid)?.startedAt ?? '0',
  };
}

/** The owner as a path component. */
export function ownerName(owner: Owner): string {
  return [owner.host, owner.namespace, owner.pid, owner.startedAt].join('~');
}

/** The owner such a name tells of; `undefined` for a name that is not ours. */
export function parseOwner(name: string): Owner | undefined {
  const [host, namespace, pid, startedAt, ...rest] = name.split('~');
  if (!host || !namespace || !startedAt || rest.length > 0 || !/^\d{1,10}$/.test(pid ?? '')) return undefined;
  return { host, namespace, pid: Number(pid), startedAt };
}

/**
 * Whether an owner is certainly gone. One of this host and namespace is looked up; of any other, only its silence can
 * tell.
 *
 * @param touchedAt when it last touched what it owns, in ms since the epoch
 * @param now likewise
 */
export function isDead(owner: Owner, touchedAt: number, now: number): boolean {
  const self = thisOwner();
  if (owner.host !== self.host || owner.namespace !== self.namespace) {
    return now - touchedAt > foreignSilenceMs;
  }
  const state = processState(owner.pid);
  if (state) return state.ended || (owner.startedAt !== '0' && state.startedAt !== owner.startedAt);
  if (process.platform === 'linux') return true;
  try {
    process.kill(owner.pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** What /proc says of a process (proc(5)); `undefined` where there is no such process, or no /proc. */
function processState(pid: number): { ended: boolean; startedAt: string } | undefined {
  try {
    // The second field, the program's name in parentheses, may hold anything; the third is the state, the 22nd the start.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { ended: fields[0] === 'Z' || fields[0] === 'X', startedAt: fields[19] ?? '0' };
  } catch {
    return undefined;
  }
}

function processNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}
