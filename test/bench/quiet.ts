import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { processTree, ticksPerSecond } from './process-tree.ts';

/** Watches how much of the machine others use. Gives the function that tells their share since then, 0 to 1. */
export function watchOthers(): () => number {
  const own = processTree(process.pid);
  const [startedAt, busy, ours] = [performance.now(), busySeconds(), own.cpuSeconds()];
  return () => {
    const available = ((performance.now() - startedAt) / 1000) * cpus().length;
    const others = busySeconds() - busy - (own.cpuSeconds() - ours);
    return Math.min(1, Math.max(0, others / available));
  };
}

/** What the machine's processors have worked so far: all but idle and waiting (proc_stat.5). */
function busySeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond;
}
