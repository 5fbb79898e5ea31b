import type { HttpRequest, HttpResponse, ProxyCache } from '@proxycache/core';
import type { ContractCase } from '../contract.ts';

/** A host that runs the adapter under test, listening on plain http. */
export interface AdapterHost {
  /** Origin and prefix without a slash at the end, such as `http://127.0.0.1:41234/pfx`. */
  url: string;
  /** Stops listening and drops every connection. */
  close(): Promise<void>;
}

/**
 * Starts a host that mounts the adapter with `cache` at `prefix`, which is `''` or a path such as `/pfx`. What the
 * adapter passes on, the host answers itself: 200 with {@link hostAnswer} of the whole URL as it came.
 */
export type MountAdapter = (cache: Pick<ProxyCache, 'handle'>, prefix: string) => Promise<AdapterHost>;

/** What the host behind the adapter says to a request that reached it. */
export function hostAnswer(url: string): string {
  return `the host answers ${url}`;
}

/** What a case works with. */
export interface Bench {
  /** Mounts the adapter before a cache that answers so; the URL to ask. */
  serve(
    handle: (request: HttpRequest) => Promise<HttpResponse | undefined> | HttpResponse | undefined,
  ): Promise<string>;
  /** The same at a prefix. */
  serveAt(prefix: string, handle: ProxyCache['handle']): Promise<string>;
}

// No rule takes longer; a runner that is told which one hung is of more use than one that times out.
const deadlineMs = 15_000;

/**
 * Makes a case of a rule that every adapter keeps; what it mounted is closed at its end. Where the scripted cache answers
 * without a promise the rule is kept once more when `handle.fromMemory` gives the same.
 */
export function adapterCase(name: string, rule: (bench: Bench) => Promise<void>): ContractCase<MountAdapter> {
  return {
    name,
    async run(mount) {
      let isAtOnce = false;
      await runOn(mount, (scripted) => async (request) => {
        const given = scripted(request);
        isAtOnce ||= !(given instanceof Promise);
        return given;
      });
      if (isAtOnce) await runOn(mount, fromMemory);
    },
  };

  async function runOn(mount: MountAdapter, handleOf: (scripted: Scripted) => ProxyCache['handle']): Promise<void> {
    const hosts: AdapterHost[] = [];
    const serveAt: Bench['serveAt'] = async (prefix, handle) => {
      const host = await mount({ handle }, prefix);
      hosts.push(host);
      return host.url;
    };
    try {
      await inTime(rule({ serveAt, serve: (scripted) => serveAt('', handleOf(scripted)) }), name);
    } finally {
      await Promise.all(hosts.map((host) => host.close()));
    }
  }
}

type Scripted = Parameters<Bench['serve']>[0];

/** What is there at once is given from memory; the cache is asked once for each request, all the same. */
function fromMemory(scripted: Scripted): ProxyCache['handle'] {
  const asked = new WeakMap<HttpRequest, ReturnType<Scripted>>();
  return Object.assign(async (request: HttpRequest) => (asked.has(request) ? asked.get(request) : scripted(request)), {
    fromMemory(request: HttpRequest) {
      const given = scripted(request);
      if (given !== undefined && !(given instanceof Promise)) return given;
      asked.set(request, given);
      return undefined;
    },
  });
}

async function inTime(work: Promise<void>, name: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${deadlineMs} ms: ${name}`)), deadlineMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
