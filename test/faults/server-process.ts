import { expect, onTestFinished } from 'vitest';
import { type SpawnedServer, spawnServer } from './spawn-server.ts';

/** A cache in a process of its own. */
export type ServerProcess = SpawnedServer;

/** Starts one on a folder; it ends with the test. */
export async function startServerProcess(
  folder: string,
  upstream: string,
  options: { hurry?: boolean } = {},
): Promise<ServerProcess> {
  const server = await spawnServer(folder, upstream, options);
  onTestFinished(server.kill);
  expect(server.url).toMatch(/^http:/);
  return server;
}
