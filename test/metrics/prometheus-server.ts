import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

/** A sample as Prometheus keeps it. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Debian's Prometheus, which reads one target every two seconds. */
export interface PrometheusServer {
  /** What a query gives now. @throws Error with what Prometheus says is wrong with it */
  query(expression: string): Promise<readonly Sample[]>;
  /** What it says of its target. */
  target(): Promise<{ health: string; lastError: string } | undefined>;
  close(): Promise<void>;
}

/** Starts one. @param url of the metrics */
export async function startPrometheus(program: string, url: string): Promise<PrometheusServer> {
  const folder = makeTemporaryFolder('prometheus');
  const { host, pathname } = new URL(url);
  const config = {
    global: { scrape_interval: '2s', scrape_timeout: '2s' },
    scrape_configs: [{ job_name: 'proxycache', metrics_path: pathname, static_configs: [{ targets: [host] }] }],
  };
  // YAML holds JSON.
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
  mkdirSync(join(folder, 'data'));
  const { port, started: daemon } = await onFreePort(async (free) => {
    const server = startDaemon(program, [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${free}`,
    ]);
    await server.says(/Server is ready to receive web requests/);
    return server;
  });
  const ask = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    const said = (await answer.json()) as { status: string; error?: string; data: Record<string, unknown> };
    if (said.status !== 'success') throw new Error(said.error);
    return said.data;
  };
  return {
    async query(expression) {
      const data = await ask(`query?query=${encodeURIComponent(expression)}`);
      const result = data['result'] as { metric: Record<string, string>; value: [number, string] }[];
      return result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
    },
    async target() {
      const data = await ask('targets');
      return (data['activeTargets'] as { health: string; lastError: string }[])[0];
    },
    async close() {
      await daemon.stop();
      removeFolder(folder);
    },
  };
}
