import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import {
  type FakeHost,
  type FakeHostOptions,
  manualClock,
  type SelfSigned,
  selfSigned,
  startFakeHost,
} from '@proxycache/test-kit';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { collect } from '../runtime/bytes.ts';
import type { Lookup } from './connector.ts';
import { createTransport, type Transport } from './transport.ts';
import type { UpstreamOptions } from './upstream-options.ts';

let certificates: SelfSigned;
let cleanups: (() => Promise<void>)[];

beforeAll(async () => {
  certificates = await selfSigned({ hosts: ['registry.example'] });
});
beforeEach(() => {
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function start(options: FakeHostOptions = {}): Promise<FakeHost> {
  const host = await startFakeHost(options, () => ({ status: 200, headers: {}, body: 'hello' }));
  cleanups.push(host.stop);
  return host;
}

function transportTo(url: string, { lookup, ...more }: Partial<UpstreamOptions> & { lookup?: Lookup } = {}): Transport {
  const settings = upstreamSettings({ key: 'hub', url, ...more });
  const transport = createTransport(settings, {
    clock: manualClock(),
    userAgent: 'test',
    observe: () => undefined,
    ...(lookup && { lookup }),
  });
  cleanups.push(() => transport.close());
  return transport;
}

const to =
  (address: string): Lookup =>
  (_name, _options, callback) =>
    callback(null, [{ address, family: 4 }]);

describe.each([
  ['undici', false],
  ['a lane', true],
])('over %s', (_wire, long) => {
  async function ask(transport: Transport, url: string): Promise<string> {
    const signal = new AbortController().signal;
    const deadlineAt = Number.POSITIVE_INFINITY;
    const { body } = await transport.send({ url: new URL(url), method: 'GET', headers: {}, deadlineAt, signal, long });
    return new TextDecoder().decode(await collect(body, 1_000));
  }

  describe('TLS options', () => {
    it('of the upstream hold for the upstream and its token hosts', async () => {
      const registry = await start({ tls: { ...certificates.server, clientCa: certificates.ca } });
      const tokens = await start({ tls: { ...certificates.server, clientCa: certificates.ca }, address: '127.0.0.2' });
      const tls = { ca: certificates.ca, ...certificates.client };
      const transport = transportTo(registry.url, { tls, tokenHosts: [tokens.host] });
      expect(await ask(transport, registry.url)).toBe('hello');
      expect(await ask(transport, tokens.url)).toBe('hello');
    });

    it('of the upstream hold for no other host, be it on another port', async () => {
      const registry = await start({ tls: certificates.server });
      const other = await start({ tls: certificates.server });
      for (const tls of [{ ca: certificates.ca }, { insecure: true }]) {
        const transport = transportTo(registry.url, { tls });
        expect(await ask(transport, registry.url)).toBe('hello');
        await expect(ask(transport, other.url)).rejects.toMatchObject({
          code: 'unreachable',
          message: expect.stringContaining('not trusted'),
        });
      }
    });

    it('check the name of the certificate', async () => {
      const registry = await start({ tls: certificates.server });
      const url = (name: string) => registry.url.replace('127.0.0.1', name);
      const tls = { ca: certificates.ca };
      const good = transportTo(url('registry.example'), { tls, lookup: to('127.0.0.1') });
      expect(await ask(good, url('registry.example'))).toBe('hello');
      const bad = transportTo(url('other.example'), { tls, lookup: to('127.0.0.1') });
      await expect(ask(bad, url('other.example'))).rejects.toMatchObject({
        message: expect.stringContaining('another name'),
      });
    });

    it('that are no PEM are told when the upstream is made', () => {
      expect(() => transportTo('https://registry.example', { tls: { ca: 'x', cert: 'y' } })).toThrow('expected PEM');
    });

    it('take authorities as a list, beside those of the machine', async () => {
      const registry = await start({ tls: certificates.server });
      expect(await ask(transportTo(registry.url, { tls: { ca: [certificates.ca] } }), registry.url)).toBe('hello');
    });
  });

  describe('addresses', () => {
    it('are checked on the connection made: a name that leads to a metadata service is refused', async () => {
      const registry = await start();
      const transport = transportTo(registry.url, { lookup: to('169.254.169.254') });
      await expect(ask(transport, 'http://cdn.example/')).rejects.toMatchObject({ code: 'address-refused' });
      await expect(ask(transport, 'http://169.254.169.254/')).rejects.toMatchObject({ code: 'address-refused' });
      await expect(ask(transport, 'http://[::ffff:169.254.169.254]/')).rejects.toMatchObject({
        code: 'address-refused',
      });
      await expect(ask(transport, 'http://0.0.0.0/')).rejects.toMatchObject({ code: 'address-refused' });
    });

    it('are said to be for allowPrivate only where it can allow them', async () => {
      const url = 'http://registry.example';
      const messageOf = async (address: string, asked: string) => {
        const error = await ask(transportTo(url, { lookup: to(address) }), asked).catch((thrown: unknown) => thrown);
        return (error as Error).message;
      };
      for (const asked of ['http://cdn.example/', 'http://10.0.0.1/']) {
        expect(await messageOf('10.0.0.1', asked)).toContain('allowPrivate');
      }
      for (const address of ['169.254.169.254', '0.0.0.0', '100.100.100.200']) {
        expect(await messageOf(address, 'http://cdn.example/')).not.toContain('allowPrivate');
        expect(await messageOf('10.0.0.1', `http://${address}/`)).not.toContain('allowPrivate');
      }
    });

    it('of other hosts may be where the upstream itself lives', async () => {
      const registry = await start();
      const other = await start({ address: '127.0.0.2' });
      const lookup = to('127.0.0.1');
      const named = registry.url.replace('127.0.0.1', 'registry.example');
      const transport = transportTo(named, { lookup });
      // Before the upstream was reached, it counts as public.
      await expect(ask(transport, other.url)).rejects.toMatchObject({ code: 'address-refused' });
      expect(other.count()).toBe(0);
      expect(await ask(transport, named)).toBe('hello');
      expect(await ask(transport, other.url)).toBe('hello');
    });

    it('that are private are refused to others, unless allowPrivate lists them', async () => {
      const other = await start({ address: '127.0.0.2' });
      const asked = other.url.replace('127.0.0.2', 'cdn.example');
      const url = 'https://registry.example';
      const lookup = to('127.0.0.2');
      await expect(ask(transportTo(url, { lookup }), asked)).rejects.toMatchObject({ code: 'address-refused' });
      for (const listed of ['cdn.example', '127.0.0.2', '127.0.0.0/8', new URL(asked).host]) {
        expect(await ask(transportTo(url, { lookup, allowPrivate: [listed] }), asked)).toBe('hello');
      }
      expect(other.count()).toBe(4);
    });

    it.each([
      ['in decimal', 'http://2130706434/'],
      ['in hexadecimal', 'http://0x7f000002/'],
      ['in octal', 'http://0177.0.0.2/'],
      ['in short', 'http://127.2/'],
      ['mapped into IPv6', 'http://[::ffff:127.0.0.2]/'],
      ['mapped into IPv6, in hexadecimal', 'http://[::ffff:7f00:2]/'],
      ['translated into IPv6', 'http://[64:ff9b::7f00:2]/'],
      ['of IPv6', 'http://[::1]/'],
      ['private', 'http://0xa.1/'],
      ['unique local', 'http://[fd00::1]/'],
      ['of this host by its name', 'http://localhost/'],
      ['of this host by a name below it', 'http://x.localhost./'],
    ])('that are written otherwise are refused as what they are: %s', async (_what, asked) => {
      const transport = transportTo('https://registry.example', { lookup: to('127.0.0.2') });
      await expect(ask(transport, asked)).rejects.toMatchObject({ code: 'address-refused' });
    });

    it('are those of each connection: a name that was public a moment ago leads nowhere else', async () => {
      const other = await start({ address: '127.0.0.2' });
      const asked = other.url.replace('127.0.0.2', 'cdn.example');
      const answers = ['127.0.0.2', '127.0.0.3', '169.254.169.254'];
      const lookup: Lookup = (...call) => to(answers.shift() ?? '10.0.0.1')(...call);
      const transport = transportTo('https://registry.example', { lookup, allowPrivate: ['127.0.0.2'] });
      expect(await ask(transport, asked)).toBe('hello');
      await other.stop();
      for (let times = 0; times < 3; times++) {
        await expect(ask(transport, asked)).rejects.toMatchObject({ code: 'address-refused' });
      }
    });

    it('that are refused are left out where a name has others', async () => {
      const other = await start({ address: '127.0.0.2' });
      const lookup: Lookup = (_name, _options, callback) =>
        callback(null, [
          { address: '169.254.169.254', family: 4 },
          { address: '127.0.0.2', family: 4 },
        ]);
      const transport = transportTo('https://registry.example', { lookup, allowPrivate: ['127.0.0.2'] });
      expect(await ask(transport, other.url.replace('127.0.0.2', 'cdn.example'))).toBe('hello');
    });
  });

  describe('a proxy', () => {
    /** An HTTP proxy that leads every name to 127.0.0.1. */
    async function startProxy(): Promise<{ url: string; seen: string[]; authorizations: (string | undefined)[] }> {
      const seen: string[] = [];
      const authorizations: (string | undefined)[] = [];
      const note = (request: IncomingMessage) => {
        seen.push(`${request.method} ${request.url}`);
        authorizations.push(request.headers['proxy-authorization']);
      };
      const server = createServer((request, response) => {
        note(request);
        response.end('from the proxy');
      });
      server.on('connect', (request, socket) => {
        note(request);
        const target = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
          target.pipe(socket).pipe(target);
        });
        const close = () => {
          target.destroy();
          socket.destroy();
        };
        target.on('error', close).on('close', close);
        socket.on('error', close).on('close', close);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      cleanups.push(async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      });
      const { port } = server.address() as AddressInfo;
      return { url: `http://ann:s3cr3t@127.0.0.1:${port}`, seen, authorizations };
    }

    it('is asked for plain http in the absolute form, with its own credential', async () => {
      const proxy = await startProxy();
      const transport = transportTo('http://registry.example', { proxy: proxy.url });
      expect(await ask(transport, 'http://registry.example/v2/')).toBe('from the proxy');
      expect(proxy.seen).toEqual(['GET http://registry.example/v2/']);
      expect(proxy.authorizations).toEqual([`Basic ${Buffer.from('ann:s3cr3t').toString('base64')}`]);
    });

    it('is tunnelled through for https, to the upstream by its TLS options and to others by the defaults', async () => {
      const proxy = await startProxy();
      const registry = await start({ tls: certificates.server });
      const url = registry.url.replace('127.0.0.1', 'registry.example');
      const transport = transportTo(url, { proxy: proxy.url, tls: { ca: certificates.ca } });
      expect(await ask(transport, url)).toBe('hello');
      expect(proxy.seen).toEqual([`CONNECT ${new URL(url).host}`]);
      const other = url.replace('registry.example', 'other.example');
      await expect(ask(transport, other)).rejects.toMatchObject({ code: 'unreachable' });
    });

    it('leaves only literal addresses to be checked', async () => {
      const proxy = await startProxy();
      const transport = transportTo('http://registry.example', { proxy: proxy.url });
      for (const url of ['http://10.0.0.1/', 'http://[::1]/', 'http://localhost/', 'http://169.254.169.254/']) {
        await expect(ask(transport, url)).rejects.toMatchObject({ code: 'address-refused' });
      }
      expect(await ask(transport, 'http://cdn.example/')).toBe('from the proxy');
      const allowed = transportTo('http://registry.example', { proxy: proxy.url, allowPrivate: ['10.0.0.0/8'] });
      expect(await ask(allowed, 'http://10.0.0.1/')).toBe('from the proxy');
    });

    it('that is not there is a failure that names the host asked, and no secret', async () => {
      const proxy = await startProxy();
      await cleanups.pop()?.();
      const transport = transportTo('https://registry.example', { proxy: proxy.url });
      const error = await ask(transport, 'https://registry.example/').catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'unreachable' });
      expect(String(error)).not.toContain('s3cr3t');
    });
  });
});
