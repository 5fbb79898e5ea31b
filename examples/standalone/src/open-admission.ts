import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  type AdmissionOptions,
  type Admit,
  allOf,
  maxSize,
  minimumAge,
  ProxyCacheError,
  platforms,
} from '@proxycache/core';
import type { Config } from './config-schema.ts';
import type { LoadedConfig } from './load-config.ts';
import { renameOption } from './rename-option.ts';

type AdmissionConfig = NonNullable<Config['admission']>;

/**
 * What may pass, as the configuration says; `undefined`: it says nothing.
 *
 * @throws ProxyCacheError `invalid-options` naming the path
 */
export async function openAdmission({
  config: { admission },
  folder,
}: LoadedConfig): Promise<AdmissionOptions | undefined> {
  if (admission === undefined) return undefined;
  const { module, upstreams, within, decisionFor } = admission;
  const own = module === undefined ? undefined : await load(resolve(folder, module));
  const policies = [...readyMade(admission), ...(own ? [own.admit] : [])];
  return {
    admit: allOf(...policies),
    ...(own?.version !== undefined && { version: own.version }),
    ...(upstreams !== undefined && { upstreams }),
    ...(within !== undefined && { within }),
    ...(decisionFor !== undefined && { decisionFor }),
  };
}

function readyMade(admission: AdmissionConfig): Admit[] {
  const { minimumAge: age, since = 'seen', platforms: allowed, maxSize: bytes } = admission;
  return renameOption({ path: 'admission', prefix: /^/ }, () => [
    ...(age === undefined ? [] : [minimumAge(age, { since })]),
    ...(allowed === undefined ? [] : [platforms(allowed)]),
    ...(bytes === undefined ? [] : [maxSize(bytes)]),
  ]);
}

async function load(file: string): Promise<Pick<AdmissionOptions, 'admit' | 'version'>> {
  let loaded: { admit?: unknown; version?: unknown };
  try {
    loaded = await import(pathToFileURL(file).href);
  } catch (cause) {
    throw wrong(`cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const { admit, version } = loaded;
  if (typeof admit !== 'function') throw wrong(`expected ${file} to export a function admit`);
  if (version !== undefined && typeof version !== 'string' && typeof version !== 'function') {
    throw wrong(`expected the version that ${file} exports to be a text, or a function that gives one`);
  }
  const policy = { admit: admit as Admit };
  return version === undefined ? policy : { ...policy, version: version as string | (() => string) };
}

const wrong = (message: string, cause?: unknown) =>
  new ProxyCacheError('invalid-options', `admission.module: ${message}`, { cause });
