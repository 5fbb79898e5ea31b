import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

/** What the figures were taken on, in a line. */
export function describeMachine(
  today: Date,
  programs: { nginx: string | undefined; registry: string | undefined },
): string {
  const [{ model = 'unknown' } = {}] = cpus();
  const memory = Math.round(totalmem() / 1024 ** 3);
  const versions = [
    `Node ${process.versions.node}`,
    versionOf(programs.nginx, ['-v'], /nginx\/(\S+)/, 'nginx'),
    versionOf(programs.registry, ['--version'], /v?(\d+\.\d+\S*)/, 'docker-registry'),
  ];
  const machine = `${cpus().length} x ${model.replaceAll(/\s+/g, ' ').trim()}, ${memory} GiB, Linux ${release().replace(/-.*/, '')}`;
  return [today.toISOString().slice(0, 10), machine, ...versions.filter((version) => version !== undefined)].join('; ');
}

function versionOf(program: string | undefined, args: readonly string[], pattern: RegExp, name: string) {
  if (program === undefined) return undefined;
  // nginx says its version on stderr.
  const said = execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', program, ...args], { encoding: 'utf8' });
  return `${name} ${pattern.exec(said)?.[1] ?? '?'}`;
}
