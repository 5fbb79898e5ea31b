import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** An account in two files, which may change. */
export interface CredentialFiles {
  /** An upstream's `auth`. */
  auth: { usernameFile: string; passwordFile: string };
  /** Both files, as an editor leaves them: the name with a line's end. */
  write(username: string, password: string): void;
  /** Deletes them. */
  remove(): void;
}

/** Files of an account in a folder of their own. There are none before the first `write`. */
export function credentialFiles(): CredentialFiles {
  const folder = mkdtempSync(join(tmpdir(), 'proxycache-account-'));
  const auth = { usernameFile: join(folder, 'username'), passwordFile: join(folder, 'password') };
  return {
    auth,
    write(username, password) {
      writeFileSync(auth.usernameFile, `${username}\n`);
      writeFileSync(auth.passwordFile, password);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
