import {
  type FakeHost,
  type FakeUpstream,
  type Fault,
  htmlPage,
  type RequestMatch,
  type Step,
} from '@proxycache/test-kit';
import { createHealth, type Health } from './health.ts';
import type { Random } from './random.ts';
import type { Stand } from './stand.ts';

/** The trouble that a run makes for the hosts that content comes from. Each answers what it did, for the log. */
export interface UpstreamTrouble {
  readonly main: Health;
  readonly spare: Health;
  readonly cdn: Health;
  /** Nothing that may cost a pull: slow bodies, habits of odd registries, tokens and URLs that expire. */
  harmless(): string;
  /** What a pull must survive by itself: few failures before the next answer is right. */
  mild(): string;
  /** Anything, to a host of these. */
  rough(hosts: readonly ('main' | 'spare' | 'cdn')[]): Promise<string>;
  /** Takes all faults away; what is remembered of them stays. */
  heal(): Promise<string>;
  /** After a restart of the cache, nothing is remembered. */
  forget(): void;
  /** How long what is remembered of the faults may count, in ms. */
  rememberedFor(): number;
  /** Wrong bytes may have come at some time since. */
  corruptedSince(seq: number): boolean;
}

const blobs: RequestMatch = { path: /\/blobs\// };
const manifests: RequestMatch = { path: /\/manifests\// };
const longestRest = 16 * 60_000;
const shortestRest = 65_000;
const habits = ['head-404', 'head-405', 'head-without-digest', 'no-digest', 'no-content-length', 'no-ranges'] as const;
const middlemen = ['captive-portal', 'waf', 'html-404'] as const;

export function createUpstreamTrouble(stand: Stand, random: Random): UpstreamTrouble {
  const { main, spare, cdn, seq } = stand;
  const hosts = { main, spare, cdn };
  const health = { main: createHealth(seq), spare: createHealth(seq), cdn: createHealth(seq) };
  let stopped: FakeHost[] = [];
  let corrupting = false;
  let corruptedUntil = -1;
  let restMs = 0;

  const position = () => random.pick([0, 1, 1000, 50_000, 300_000, 1024 * 1024, 2_000_000]) + random.int(500);
  const how = () => random.pick(['fin', 'rst'] as const);
  const cut = (): Fault => ({ cutAfter: position(), how: how() });
  const stall = (): Fault => ({ stallAfter: position() });
  const refusal = (): Fault => ({ status: random.pick([500, 502, 503, 504, 408]) });
  const brief = (): Fault => (random.chance(0.5) ? refusal() : { drop: how() });
  const describe = (fault: unknown) => JSON.stringify(fault).slice(0, 120);

  function anywhere(): RequestMatch {
    return random.pick([{}, blobs, blobs, manifests, { path: '/token' }, { method: 'HEAD' }, { method: 'GET' }]);
  }

  function anyFault(): Fault {
    switch (
      random.weighted({
        status: 4,
        hang: 2,
        drop: 2,
        cut: 4,
        stall: 2,
        corrupt: 2,
        truncate: 1,
        limit: 1,
        page: 1,
        loop: 1,
      })
    ) {
      case 'hang':
        return { hang: true };
      case 'drop':
        return { drop: how() };
      case 'cut':
        return cut();
      case 'stall':
        return stall();
      case 'corrupt':
        corrupting = true;
        return { corruptAt: random.pick([0, 0, 100, 300]) };
      case 'truncate':
        corrupting = true;
        return { truncateTo: random.int(500) };
      case 'limit':
        restMs = longestRest;
        return {
          status: 429,
          ...(random.chance(0.5) && { headers: { 'retry-after': String(random.between(1, 90)) } }),
        };
      case 'page':
        return htmlPage(200, 'Sign in');
      case 'loop':
        return { redirect: `${main.url}/v2/again` };
      default:
        return refusal();
    }
  }

  return {
    ...health,
    harmless() {
      const registry: FakeUpstream = random.pick([main, spare]);
      switch (random.weighted({ slow: 2, habit: 2, expire: 1, revoke: 1 })) {
        case 'slow':
          registry.on({ ...blobs, times: 2 }, { slow: { chunkBytes: 256 * 1024, everyMs: 1 } });
          return 'slow blobs';
        case 'habit': {
          const habit = random.pick(habits);
          main.change({ personality: habit });
          return `habit ${habit}`;
        }
        case 'expire':
          cdn.expire();
          return 'signed URLs expire';
        default:
          main.revokeTokens();
          return 'tokens revoked';
      }
    },
    mild() {
      const at = random.chance(0.7) ? main : cdn;
      // What an earlier one has left would add up to more than a pull has to survive.
      for (const host of [main, cdn]) host.heal();
      const body = (): Step => (random.chance(0.6) ? cut() : stall());
      switch (random.weighted({ bodies: 5, brief: 3, corrupt: 1 })) {
        case 'brief': {
          const match = random.pick([blobs, manifests]);
          const steps = Array.from({ length: random.between(1, 2) }, brief);
          at.script(match, steps);
          return `mild ${match.path} ${describe(steps)}`;
        }
        case 'corrupt': {
          corruptedUntil = Number.POSITIVE_INFINITY;
          at.script({ ...blobs, method: 'GET' }, [{ corruptAt: 0 }]);
          return 'mild: one wrong byte';
        }
        default: {
          const steps = Array.from({ length: random.between(1, 5) }, body);
          at.script({ ...blobs, method: 'GET' }, steps);
          return `mild bodies ${describe(steps)}`;
        }
      }
    },
    async rough(names) {
      const name = random.pick(names);
      const host = hosts[name];
      health[name].ill();
      restMs = Math.max(restMs, shortestRest);
      if (random.chance(0.08)) {
        stopped.push(host);
        await host.stop();
        return `rough ${name}: stopped`;
      }
      if (random.chance(0.06) && name !== 'cdn') {
        const middleman = random.pick(middlemen);
        hosts[name].change({ personality: middleman });
        return `rough ${name}: ${middleman}`;
      }
      const match = anywhere();
      const fault = anyFault();
      const times = random.chance(0.6) ? random.between(1, 6) : undefined;
      if (corrupting) corruptedUntil = Number.POSITIVE_INFINITY;
      host.on({ ...match, ...(times !== undefined && { times }) }, fault);
      return `rough ${name}: ${match.method ?? ''} ${match.path ?? ''} ${describe(fault)} x ${times ?? 'all'}`;
    },
    async heal() {
      for (const host of [main, spare, cdn]) host.heal();
      for (const registry of [main, spare]) registry.change({ personality: [] });
      for (const host of stopped) await host.start();
      stopped = [];
      corrupting = false;
      if (corruptedUntil === Number.POSITIVE_INFINITY) corruptedUntil = seq();
      return 'heal upstreams';
    },
    forget() {
      for (const one of Object.values(health)) one.well();
      restMs = 0;
    },
    rememberedFor: () => restMs,
    corruptedSince: (from) => corruptedUntil >= from,
  };
}
