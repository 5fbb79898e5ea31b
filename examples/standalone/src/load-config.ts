import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isProxyCacheError, ProxyCacheError } from '@proxycache/core';
import { describeProblems } from './config-problems.ts';
import { type Config, configSchema } from './config-schema.ts';
import { parseYaml } from './parse-yaml.ts';
import { substituteEnvironment } from './substitute-environment.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A configuration, and the folder that its relative paths start from. */
export interface LoadedConfig {
  config: Config;
  folder: string;
}

/**
 * Reads a YAML or JSON file.
 *
 * @throws ProxyCacheError `invalid-options`, with a line for each thing that is wrong
 */
export function loadConfig(file: string, environment: Environment): LoadedConfig {
  const path = resolve(file);
  try {
    return { config: parseConfig(parseYaml(readText(path)), environment), folder: dirname(path) };
  } catch (cause) {
    if (!isProxyCacheError(cause)) throw cause;
    throw new ProxyCacheError(
      'invalid-options',
      `${file}:${cause.message.startsWith('\n') ? '' : ' '}${cause.message}`,
      { cause },
    );
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ProxyCacheError('invalid-options', `cannot be read: ${reason}`, { cause });
  }
}

/** What holds without a file: all defaults, and paths that start from the working directory. */
export function defaultConfig(): LoadedConfig {
  return { config: parseConfig({}, {}), folder: process.cwd() };
}

/**
 * Checks what a file held, with environment variables put in. An empty file means all defaults.
 *
 * @throws ProxyCacheError `invalid-options`, with a line for each thing that is wrong
 */
export function parseConfig(input: unknown, environment: Environment): Config {
  const { value, problems } = substituteEnvironment(input ?? {}, environment);
  if (problems.length > 0) throw refuse(problems);
  const parsed = configSchema.safeParse(value);
  if (!parsed.success) throw refuse(describeProblems(parsed.error, value));
  return parsed.data;
}

function refuse(problems: readonly string[]): ProxyCacheError {
  const [only] = problems;
  const isOne = problems.length === 1 && only !== undefined;
  return new ProxyCacheError('invalid-options', isOne ? only : ['', ...problems].join('\n  '));
}
