import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { PasswordObserver, StaticUser } from '@proxycache/access';
import { type AccessOptions, type Authorize, accessRules, ProxyCacheError } from '@proxycache/core';
import type { Logger } from 'pino';
import type { Config } from './config-schema.ts';
import type { LoadedConfig } from './load-config.ts';
import { openTokens } from './open-tokens.ts';
import { renameOption } from './rename-option.ts';

type AccessConfig = NonNullable<Config['access']>;
type BasicConfig = NonNullable<AccessConfig['basic']>;

/**
 * Who may pull, as the configuration says; `undefined`: it says nothing. What checks it is loaded only where it is configured.
 *
 * @throws ProxyCacheError `invalid-options` naming the path
 */
export async function openAccess(loaded: LoadedConfig, logger: Logger): Promise<AccessOptions | undefined> {
  const { access } = loaded.config;
  if (access === undefined) return undefined;
  const { basic, tokens, rules, groups = [], ...rest } = access;
  const hooks = { ...rest, ...(rules && { authorize: authorizeBy(rules, groups) }) };
  if (basic === undefined) return hooks;
  const users = await openBasic(basic, { folder: loaded.folder, logger });
  return { ...hooks, ...(tokens ? await openTokens(tokens, loaded, users) : users.basic) };
}

function authorizeBy(
  rules: NonNullable<AccessConfig['rules']>,
  groups: NonNullable<AccessConfig['groups']>,
): Authorize {
  return renameOption({ path: 'access', prefix: /^(?=rules)/ }, () =>
    accessRules({ rules, groups: Object.fromEntries(groups.map(({ name, members }) => [name, members])) }),
  );
}

/** HTTP Basic, and the check of passwords behind it, for others to share. */
async function openBasic(
  { htpasswd, users, realm, ...rest }: BasicConfig,
  { folder, logger }: { folder: string; logger: Logger },
) {
  const { basic, passwordVerifier } = await import('@proxycache/access');
  const path = 'access.basic';
  return renameOption({ path, prefix: /^(?:passwords|basic): / }, () => {
    const verify = passwordVerifier({
      ...rest,
      ...(htpasswd !== undefined && { htpasswd: resolve(folder, htpasswd) }),
      ...(users && { users: usersOf(users, { path: `${path}.users`, folder }) }),
      observer: observerFor(logger),
    });
    // It remembers what was right by itself.
    return { basic: basic({ verify, cacheFor: 0, ...(realm !== undefined && { realm }) }), verify };
  });
}

function usersOf(
  users: NonNullable<BasicConfig['users']>,
  { path, folder }: { path: string; folder: string },
): Record<string, StaticUser> {
  // Without a prototype: a user may be called __proto__.
  const byName: Record<string, StaticUser> = Object.create(null);
  for (const [index, { name, passwordFile, ...rest }] of users.entries()) {
    if (Object.hasOwn(byName, name)) throw wrong(`${path}[${index}].name: ${JSON.stringify(name)} is there already`);
    const password =
      passwordFile === undefined ? undefined : passwordIn(resolve(folder, passwordFile), `${path}[${index}]`);
    byName[name] = { ...rest, ...(password !== undefined && { password }) };
  }
  return byName;
}

function passwordIn(file: string, path: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw wrong(`${path}.passwordFile: ${(error as Error).message}`);
  }
}

function observerFor(logger: Logger): PasswordObserver {
  return (event) => {
    if (event.type === 'warning') return logger.warn(event.message);
    const { type, ...fields } = event;
    if (type === 'htpasswd-read') logger.info(fields, 'users are read');
    else logger.warn(fields, 'the file of users cannot be used: those of before stay');
  };
}

const wrong = (message: string) => new ProxyCacheError('invalid-options', message);
