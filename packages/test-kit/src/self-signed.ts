import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Certificates as PEM, all of one authority made for the occasion. */
export interface SelfSigned {
  ca: string;
  /** For 127.0.0.1, 127.0.0.2, ::1 and localhost. */
  server: { key: string; cert: string };
  client: { key: string; cert: string };
}

const run = promisify(execFile);

/**
 * Makes an authority, and a server's and a client's certificate of it, good for a day. Nothing stays on disk.
 *
 * @param options.hosts more names for the server's certificate
 * @throws Error when there is no `openssl` program
 */
export async function selfSigned(options: { hosts?: readonly string[] } = {}): Promise<SelfSigned> {
  const directory = await mkdtemp(join(tmpdir(), 'proxycache-certificates-'));
  const at = (name: string) => join(directory, name);
  const names = [
    'DNS:localhost',
    'IP:127.0.0.1',
    'IP:127.0.0.2',
    'IP:::1',
    ...(options.hosts ?? []).map((h) => `DNS:${h}`),
  ];

  async function issue(name: string, extensions: string): Promise<{ key: string; cert: string }> {
    await writeFile(at(`${name}.ext`), extensions);
    await openssl([...newKey, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${name}`]);
    await openssl([
      ...['x509', '-req', '-days', '1', '-in', at(`${name}.csr`), '-out', at(`${name}.crt`)],
      ...['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at(`${name}.ext`)],
    ]);
    return { key: await readFile(at(`${name}.key`), 'utf8'), cert: await readFile(at(`${name}.crt`), 'utf8') };
  }

  // A configuration of our own: the machine's may ask for more, or be missing.
  const newKey = ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  newKey.push('-config', at('empty.cnf'));

  try {
    await writeFile(at('empty.cnf'), '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n');
    await openssl([
      ...[...newKey, '-x509', '-days', '1', '-extensions', 'ca', '-subj', '/CN=proxycache test authority'],
      ...['-keyout', at('ca.key'), '-out', at('ca.crt')],
    ]);
    const server = await issue('server', `subjectAltName=${names.join(',')}\nextendedKeyUsage=serverAuth\n`);
    const client = await issue('client', 'extendedKeyUsage=clientAuth\n');
    return { ca: await readFile(at('ca.crt'), 'utf8'), server, client };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function openssl(args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new Error(
      missing ? 'selfSigned needs the openssl program: install the openssl package' : `openssl ${args[0]}: ${said}`,
      { cause: error },
    );
  }
}
