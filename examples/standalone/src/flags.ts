import { parseArgs } from 'node:util';
import { ProxyCacheError } from '@proxycache/core';
import type { z } from 'zod';
import { describeValue } from './config-problems.ts';
import { integer, processes, registryUrl, text } from './config-values.ts';

/** What the command line says. It counts more than the configuration file. */
export interface Flags {
  /** `check`: look at the configuration and its upstreams, and end. */
  command: 'serve' | 'check';
  help: boolean;
  config?: string;
  host?: string;
  port?: number;
  data?: string;
  workers?: number;
  upstreams: readonly { key: string; url: string }[];
  defaultUpstream?: string;
}

export const usage = `Usage: node examples/standalone/dist/main.js [options]
       node examples/standalone/dist/main.js check [FILE] [options]

  check FILE                does not serve: says what is wrong with a configuration and
                            its upstreams, and ends with 0 only if nothing is

  --config FILE             YAML or JSON file; docs/configuration.md has all its keys
  --host HOST               address to listen at (127.0.0.1)
  --port PORT               port to listen at; 0 picks a free one (5000)
  --data DIR                where content stays (./proxycache-data)
  --workers N               processes that serve, auto for one a core (1)
  --upstream KEY=URL        one more upstream, found under /v2/KEY/...; may be given several times.
                            Moves the upstream that already has this key, without its credentials
  --default-upstream KEY    upstream for paths that name none
  --help                    this text
`;

/** @throws ProxyCacheError `invalid-options` naming the flag and the value */
export function parseFlags(args: readonly string[]): Flags {
  const { values, positionals } = parse(args);
  const [command, file, ...others] = positionals;
  if (command !== undefined && command !== 'check')
    throw refuse('command', 'expected "check FILE", or flags alone', command);
  const {
    upstream = [],
    'default-upstream': defaultUpstream,
    help = false,
    config = file,
    host,
    port,
    data,
    workers,
  } = values;
  const [surplus] = values.config !== undefined && file !== undefined ? [file] : others;
  if (surplus !== undefined) throw refuse('check', 'expected one configuration', surplus);
  return {
    command: command ?? 'serve',
    help,
    ...(config !== undefined && { config: check('--config', text('file'), config) }),
    ...(host !== undefined && { host: check('--host', text('address'), host) }),
    ...(port !== undefined && { port: check('--port', integer(0, 65_535), port) }),
    ...(data !== undefined && { data: check('--data', text('folder'), data) }),
    ...(workers !== undefined && { workers: check('--workers', processes(), workers) }),
    ...(defaultUpstream !== undefined && {
      defaultUpstream: check('--default-upstream', text('key'), defaultUpstream),
    }),
    upstreams: upstream.map(parseUpstream),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        config: { type: 'string' },
        host: { type: 'string' },
        port: { type: 'string' },
        data: { type: 'string' },
        workers: { type: 'string' },
        upstream: { type: 'string', multiple: true },
        'default-upstream': { type: 'string' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    // Node's message names the flag.
    throw new ProxyCacheError('invalid-options', error instanceof Error ? error.message : String(error));
  }
}

function check<T>(flag: string, schema: z.ZodType<T>, input: string): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw refuse(flag, parsed.error.issues[0]?.message ?? 'refused', input);
}

function parseUpstream(input: string): { key: string; url: string } {
  const at = input.indexOf('=');
  if (at < 1) throw refuse('--upstream', 'expected KEY=URL', input);
  const url = input.slice(at + 1);
  return { key: input.slice(0, at), url: check('--upstream', registryUrl(), url) };
}

const refuse = (flag: string, expected: string, received: string) =>
  new ProxyCacheError('invalid-options', describeValue(flag, expected, received));
