import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Clock ticks a second of /proc/PID/stat: 100 on every Linux for users (proc_pid_stat.5, sysconf.3). */
export const ticksPerSecond = 100;

/** CPU seconds and memory of a server: its process and all that descend from it. */
export interface ProcessTree {
  /** User and system time so far, of children that have ended too. */
  cpuSeconds(): number;
  /** The most resident memory since {@link forgetPeak}, in bytes: the sum of the peaks of its processes. */
  peakBytes(): number;
  /** Starts the peak anew from what is resident now (proc_pid_clear_refs.5). */
  forgetPeak(): void;
}

/** The tree below a process. */
export function processTree(pid: number): ProcessTree {
  return {
    cpuSeconds: () => sum(treeOf(pid), cpuSecondsOf),
    peakBytes: () => sum(treeOf(pid), peakBytesOf),
    forgetPeak() {
      for (const each of treeOf(pid)) unlessGone(() => writeFileSync(`/proc/${each}/clear_refs`, '5'), undefined);
    },
  };
}

const sum = (pids: readonly number[], figure: (pid: number) => number) =>
  pids.reduce((total, pid) => total + unlessGone(() => figure(pid), 0), 0);

function treeOf(pid: number): readonly number[] {
  const children = unlessGone(
    () =>
      readdirSync(`/proc/${pid}/task`).flatMap((task) =>
        readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
      ),
    [],
  );
  return [pid, ...children.flatMap(treeOf)];
}

function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field, a program's name in brackets, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
  return ticks / ticksPerSecond;
}

function peakBytesOf(pid: number): number {
  const [, kibibytes = 0] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kibibytes) * 1024;
}

function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return otherwise;
    throw error;
  }
}
