import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credential, SecretOf } from '@proxycache/core';

/**
 * Resolves references by files of a folder, as Kubernetes and Docker mount secrets: `NAME/username` and `NAME/password`, or
 * `NAME/token`. They are read when they are needed, and again when what they gave was refused.
 */
export function secretsFolder(folder: string): SecretOf {
  return async (reference, { signal }) => {
    // A name alone: whoever may add an upstream may not read other files of this machine.
    if (!/^[\w-][\w.-]*$/.test(reference))
      throw new Error('the reference is not the name of a folder of secretsFolder');
    const read = async (name: string) => {
      const text = await readFile(join(folder, reference, name), { encoding: 'utf8', signal });
      return text.replace(/\r?\n$/, '');
    };
    return await readToken(read).catch(async (): Promise<Credential> => {
      const [username, password] = await Promise.all([read('username'), read('password')]);
      return { username, password };
    });
  };
}

async function readToken(read: (name: string) => Promise<string>): Promise<Credential> {
  return { token: await read('token') };
}
