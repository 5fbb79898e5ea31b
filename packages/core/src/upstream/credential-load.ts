import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { runProgram } from './credential-program.ts';
import type { Credential, SecretOf, UpstreamAuth } from './credentials.ts';

/** What a loader is told: whether the credential before was refused. */
export interface LoadQuery {
  refused: boolean;
  signal: AbortSignal;
}

/** How one kind of configured credential is had. */
export interface CredentialLoader {
  load(query: LoadQuery): Promise<Credential>;
  /** Changes whenever it has to be loaded again; asked before each use. */
  version(): Promise<string>;
  /** Ms after which it is loaded again, unchanged or not. */
  holdFor: number;
  /** Whether loading again may give another one. */
  renewable: boolean;
}

/** What loaders need to know of the upstream. */
export interface LoadContext {
  /** Its key. */
  key: string;
  /** Where credential helpers file it. */
  server: string;
  /** What references stand for. */
  secretOf?: SecretOf | undefined;
  clock: Clock;
}

// Providers and helpers may be dear to ask and mostly cache for themselves; a refusal is not waited for.
const defaultHold = 5 * 60_000;
const defaultLifetime = '12h';

const always = () => Promise.resolve('');

/** The loader of a configured credential; `undefined` for anonymous. */
export function createCredentialLoader(auth: UpstreamAuth, context: LoadContext): CredentialLoader | undefined {
  const { key, server, secretOf, clock } = context;
  if (auth === 'anonymous') return undefined;
  if (typeof auth === 'function') {
    return {
      load: ({ refused, signal }) => auth({ upstream: key, refused, signal }),
      version: always,
      holdFor: defaultHold,
      renewable: true,
    };
  }
  if ('usernameFile' in auth) return fileLoader(auth);
  if ('reference' in auth) {
    return {
      async load({ signal }) {
        if (!secretOf) throw new Error('persistUpstreams.secretOf is not set');
        return await secretOf(auth.reference, { signal });
      },
      version: always,
      holdFor: defaultHold,
      renewable: true,
    };
  }
  if ('helper' in auth) {
    const program = { file: `docker-credential-${auth.helper}`, args: ['get'], input: server };
    return {
      load: async ({ signal }) => parseHelperOutput(await runProgram(program, { clock, signal })),
      version: always,
      holdFor: defaultHold,
      renewable: true,
    };
  }
  if ('exec' in auth) {
    const [file, ...args] = auth.exec;
    return {
      load: async ({ signal }) => parseExecOutput(await runProgram({ file, args, input: '' }, { clock, signal })),
      version: always,
      holdFor: parseDuration(auth.lifetime ?? defaultLifetime),
      renewable: true,
    };
  }
  return { load: async () => auth, version: always, holdFor: Number.POSITIVE_INFINITY, renewable: false };
}

function fileLoader(files: { usernameFile: string; passwordFile: string }): CredentialLoader {
  const version = async () => {
    const both = await Promise.all([files.usernameFile, files.passwordFile].map((file) => stat(file)));
    return both.map(({ ino, mtimeMs, size }) => `${ino}/${mtimeMs}/${size}`).join(' ');
  };
  return {
    version,
    holdFor: Number.POSITIVE_INFINITY,
    renewable: true,
    async load() {
      // Read again where the files changed meanwhile, so that the name of one pair never meets the password of another.
      for (let tries = 0; ; tries++) {
        const before = await version();
        const [username = '', password = ''] = await Promise.all(
          [files.usernameFile, files.passwordFile].map(async (file) =>
            (await readFile(file, 'utf8')).replace(/\r?\n$/, ''),
          ),
        );
        if (tries > 2 || before === (await version())) return { username, password };
      }
    },
  };
}

/** The Docker credential helper protocol: `{"Username","Secret"}`; the name `<token>` says that it is an identity token. */
function parseHelperOutput(text: string): Credential {
  const { Username: username, Secret: password } = parseObject(text);
  if (typeof username === 'string' && typeof password === 'string') return { username, password };
  throw new Error('it printed neither Username nor Secret');
}

function parseExecOutput(text: string): Credential {
  const { username, password, token } = parseObject(text);
  if (typeof token === 'string') return { token };
  if (typeof username === 'string' && typeof password === 'string') return { username, password };
  throw new Error('it printed neither {"username","password"} nor {"token"}');
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Absence of the cause is on purpose: its message quotes the text, and that is a secret.
  }
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
  throw new Error('it printed no JSON object');
}
