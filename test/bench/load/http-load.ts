import { runOk } from '../../peers/run-command.ts';
import { manifestType } from '../content.ts';
import { quantile } from '../report/statistics.ts';
import { drain } from './drain.ts';

/** How a server did under small requests. */
export interface HttpLoad {
  requests: number;
  requestsPerSecond: number;
  p99Ms: number;
}

/** Requests for one path, as many at once as there are connections, for a while. */
export interface HttpLoadPlan {
  url: string;
  connections: number;
  seconds: number;
}

/** GETs by wrk. @throws Error when one was not answered with success */
export async function runWrk(program: string, { url, connections, seconds }: HttpLoadPlan): Promise<HttpLoad> {
  const header = ['-H', `Accept: ${manifestType}`];
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '60s', '--latency', ...header, url];
  return parseWrk((await runOk({ program, args })).stdout);
}

const msOf = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** Reads wrk's report. */
export function parseWrk(report: string): HttpLoad {
  const problem = /^\s*(?:Non-2xx|Socket errors).*$/m.exec(report);
  if (problem !== null) throw new Error(`wrk: ${problem[0].trim()}`);
  const [, rate] = /^Requests\/sec:\s+([\d.]+)$/m.exec(report) ?? [];
  const [, requests] = /^\s*(\d+) requests in /m.exec(report) ?? [];
  const [, p99, unit] = /^\s*99%\s+([\d.]+)(us|ms|s|m)\s*$/m.exec(report) ?? [];
  if (!rate || !requests || !p99) throw new Error(`not a report of wrk:\n${report}`);
  return {
    requests: Number(requests),
    requestsPerSecond: Number(rate),
    p99Ms: Number(p99) * msOf[unit as keyof typeof msOf],
  };
}

const more = 10_000_000;

/** GETs by the load client for blobs, which does less with an answer than wrk. @throws Error when one was not answered with success */
export async function runDrain(program: string, { url, connections, seconds }: HttpLoadPlan): Promise<HttpLoad> {
  const plan = { paths: [[new URL(url).pathname]], connections, requests: more, limitMs: seconds * 1000 };
  const { requests, wallMs, firstByteMs } = await drain(program, url, plan);
  return { requests, requestsPerSecond: requests / (wallMs / 1000), p99Ms: quantile(firstByteMs, 0.99) };
}

/** HEADs by ab: wrk waits for the bodies that HEAD answers do not have. @throws Error when one failed */
export async function runAb(program: string, { url, connections, seconds }: HttpLoadPlan): Promise<HttpLoad> {
  const header = ['-H', `Accept: ${manifestType}`];
  const args = ['-i', '-k', '-q', '-c', String(connections), '-t', String(seconds), '-n', '100000000', ...header, url];
  return parseAb((await runOk({ program, args })).stdout);
}

/** Reads ab's report; its percentiles are whole milliseconds. */
export function parseAb(report: string): HttpLoad {
  const field = (name: RegExp) => Number(name.exec(report)?.[1]);
  const requests = field(/^Complete requests:\s+(\d+)$/m);
  const requestsPerSecond = field(/^Requests per second:\s+([\d.]+) /m);
  const p99Ms = field(/^\s+99%\s+(\d+)$/m);
  const problem = /^(?:Failed requests:\s+[1-9]|Non-2xx responses:).*$/m.exec(report);
  if (problem !== null) throw new Error(`ab: ${problem[0]}`);
  if ([requests, requestsPerSecond, p99Ms].some(Number.isNaN)) throw new Error(`not a report of ab:\n${report}`);
  return { requests, requestsPerSecond, p99Ms };
}
