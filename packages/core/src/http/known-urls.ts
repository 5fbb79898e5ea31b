import type { Groups } from '../group/groups.ts';
import { isOfNow, type Target } from '../pull/target.ts';
import type { HttpRequest } from './message.ts';
import { parseRoute, type Route } from './route.ts';

/** What knowing URLs takes. */
export interface KnownUrlsParts {
  /** Finds what a name means; `undefined`: nothing that is served here. */
  locate(route: { name: string } & Pick<Route, 'ns' | 'host'>): { target: Target; clientName: string } | undefined;
  /** Has `fn` called when {@link KnownUrlsParts.locate} may give something else for a route than before. */
  whenRelocated(fn: () => void): void;
  groups: Pick<Groups, 'held'>;
}

/** What a URL means that asks for content. */
export interface KnownUrl<T> {
  /** The `Host` that it was asked for at, on which it may depend what the URL means. */
  host: string | null;
  ns: string | undefined;
  target: Target;
  /** The group's key that it was asked for by, where it was one's. */
  group: string | undefined;
  /** Whether it means that still: a repository of a group may have got another owner. Default: it does. */
  holds: (() => boolean) | undefined;
  isKept: boolean;
  content: T;
}

/** A request for content. */
export type ContentRoute<K extends 'manifest' | 'blob'> = Extract<Route, { kind: K }>;

/** What URLs of one kind mean, of those that were answered. */
export interface KnownUrls<T> {
  /** `undefined`: it asks for something else, or what it asks for is told by whoever handles it. */
  find(request: HttpRequest): KnownUrl<T> | undefined;
  /** Remembers one that was answered. */
  keep(url: string, known: KnownUrl<T>): void;
}

// About a kilobyte each. One that is forgotten is parsed and found again.
const mostKnown = 4096;
const longestUrl = 512;
/** A domain name with its port (RFC 1035 2.3.4). */
const longestHost = 261;

/**
 * @param kind what is asked for
 * @param contentOf what is found there by each request
 */
export function createKnownUrls<R extends ContentRoute<'manifest' | 'blob'>, T>(
  parts: KnownUrlsParts,
  kind: R['kind'],
  contentOf: (target: Target, route: R) => T,
): KnownUrls<T> {
  const byUrl = new Map<string, KnownUrl<T>>();
  const path = `/${kind}s/`;
  parts.whenRelocated(() => byUrl.clear());

  function routeOf(request: HttpRequest): R | undefined {
    // Spares the parsing of what is none; one that hides in percent-encoding is told by whoever handles it.
    if (!request.url.includes(path)) return undefined;
    const route = parseRoute(request);
    return route?.kind === kind ? (route as R) : undefined;
  }

  function locate(request: HttpRequest, host: string | null): KnownUrl<T> | undefined {
    try {
      const route = routeOf(request);
      const located = route && (parts.locate(route) ?? parts.groups.held(route));
      if (!located) return undefined;
      const { target } = located;
      const { group, holds } = 'holds' in located ? located : { group: undefined, holds: undefined };
      return { host, ns: route.ns, target, group, holds, isKept: false, content: contentOf(target, route) };
    } catch {
      // Told by whoever handles it. What may be an upstream's is no group's.
      return undefined;
    }
  }

  return {
    find(request) {
      const host = request.headers.get('host');
      const known = byUrl.get(request.url);
      const isStill = known && known.host === host && isOfNow(known.target) && (!known.holds || known.holds());
      return isStill ? known : locate(request, host);
    },
    keep(url, known) {
      if (known.isKept || !isPlain(url, known.ns) || (known.host?.length ?? 0) > longestHost) return;
      if (byUrl.size >= mostKnown && !byUrl.has(url)) byUrl.delete(byUrl.keys().next().value as string);
      known.isKept = true;
      byUrl.set(url, known);
    },
  };
}

/** Whether a URL is as clients write it: of what can be written in many ways, only one is remembered. */
function isPlain(url: string, ns: string | undefined): boolean {
  if (url.length > longestUrl || url.includes('%')) return false;
  const mark = url.indexOf('?');
  return mark < 0 || url.slice(mark) === `?ns=${ns}`;
}
