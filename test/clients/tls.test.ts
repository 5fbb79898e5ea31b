import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { selfSigned } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireRoot } from '../system.ts';
import { startContainerd } from './containerd.ts';
import { publish } from './pull-scenarios.ts';
import { hasPrograms, upstreamKey, useWorld } from './world.ts';

const programs = { skopeo: 'skopeo', containerd: 'containerd', ctr: 'containerd', openssl: 'openssl' };
const ready = hasPrograms(programs) && requireRoot();

describe.skipIf(!ready)('a cache that speaks TLS with a certificate of our own authority', () => {
  let folder: string;
  beforeAll(() => {
    folder = makeTemporaryFolder('tls');
  });
  afterAll(() => removeFolder(folder));
  const authority = () => join(folder, 'ca.crt');
  const listenWithTls = async () => {
    const { ca, server } = await selfSigned();
    const tls = { cert: join(folder, 'server.pem'), key: join(folder, 'server.key.pem') };
    writeFileSync(authority(), ca);
    writeFileSync(tls.cert, server.cert);
    writeFileSync(tls.key, server.key);
    return { listen: { tls } };
  };
  const world = useWorld(
    (setting) =>
      startContainerd({ ...setting, files: { '/etc/containerd/ca.crt': authority() } }, 'file=tls/hosts.toml'),
    listenWithTls,
  );

  it('is pulled from by containerd that knows the authority', async () => {
    const { image, reference } = await publish(world, { name: 'secure' }, 'one');
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });

  it('is pulled from by skopeo that knows the authority, and by no other', async () => {
    const { image } = await publish(world, { name: 'known' }, 'one');
    const name = `docker://${world.cache.host}/${upstreamKey}/library/known:1.0`;
    const inspect = (options: string) => world.client.shell(`skopeo inspect --raw ${options} ${name}`);
    expect(await inspect(`--cert-dir ${folder}`)).toBe(Buffer.from(image.manifest.bytes).toString());
    await expect(inspect('')).rejects.toThrow(/certificate signed by unknown authority/);
  });
});
