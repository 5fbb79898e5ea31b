import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { BasicAccess, JsonWebKeySet, PasswordVerifier, TokenKeys } from '@proxycache/access';
import { type AccessOptions, ProxyCacheError } from '@proxycache/core';
import type { Config } from './config-schema.ts';
import type { LoadedConfig } from './load-config.ts';
import { renameOption } from './rename-option.ts';

type TokensConfig = NonNullable<NonNullable<Config['access']>['tokens']>;

const path = 'access.tokens';

/**
 * Gives tokens to the users that `verify` knows. Who brings a password unasked is let in as well, but no client is asked for
 * one: where both are, docker pulls nothing without a login.
 *
 * @throws ProxyCacheError `invalid-options` naming the path
 */
export async function openTokens(
  { secret, secretFile, privateKey, jwks, publicUrl, ...rest }: TokensConfig,
  { config, folder }: LoadedConfig,
  { basic, verify }: { basic: BasicAccess; verify: PasswordVerifier },
): Promise<Pick<AccessOptions, 'authenticate' | 'challenge' | 'handle'>> {
  const { anyOf, tokenService } = await import('@proxycache/access');
  const keys: TokenKeys =
    privateKey === undefined
      ? { secret: secret ?? secretsIn(folder, secretFile ?? '') }
      : {
          privateKey: privateKey.includes('-----BEGIN ') ? privateKey : read('privateKey', folder, privateKey),
          ...(jwks !== undefined && { jwks: keySetIn(folder, jwks) }),
        };
  const options = { ...rest, verify, keys, publicUrl: publicUrl ?? config.publicUrl ?? '' };
  const anonymous = config.access?.anonymous ?? false;
  const tokens = renameOption({ path, prefix: /^tokenService: (?:keys\.)?/ }, () =>
    tokenService({ ...options, anonymous }),
  );
  const { authenticate } = anyOf(tokens, basic);
  return { ...tokens, authenticate };
}

const secretsIn = (folder: string, file: string) =>
  read('secretFile', folder, file)
    .split(/\r?\n/)
    .filter((line) => line !== '');

function keySetIn(folder: string, file: string): JsonWebKeySet {
  const text = read('jwks', folder, file);
  try {
    return JSON.parse(text);
  } catch {
    throw new ProxyCacheError('invalid-options', `${path}.jwks: expected JSON in ${file}`);
  }
}

function read(name: string, folder: string, file: string): string {
  try {
    return readFileSync(resolve(folder, file), 'utf8');
  } catch (error) {
    throw new ProxyCacheError('invalid-options', `${path}.${name}: ${(error as Error).message}`);
  }
}
