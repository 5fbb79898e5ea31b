import { createClient, type UpstreamParts } from './client.ts';
import { endpointSettings } from './endpoint-settings.ts';
import type { Reply } from './upstream.ts';
import { isUpstreamError, type UpstreamError, type UpstreamErrorCode, type UpstreamFailure } from './upstream-error.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/**
 * Why an endpoint does not do: what an `UpstreamError` says, or
 *
 * - `credentials-wanted`: it is a registry, and there is no credential for it
 * - `denied`: it is a registry, and does not let this credential in
 */
export type CheckFailure =
  | Exclude<UpstreamErrorCode, 'foreign-answer'>
  | UpstreamFailure
  | 'credentials-wanted'
  | 'denied';

/** What a check found at one base URL. */
export type EndpointCheck = {
  /** Host and port. */
  host: string;
  durationMs: number;
} & (
  | { ok: true }
  | {
      ok: false;
      reason: CheckFailure;
      /** What is wrong and what to do, for those who run the cache: it names hosts, and no secret. */
      message: string;
      /** The status it answered with, where it did. */
      status?: number;
    }
);

/** What a check of an upstream found. */
export interface UpstreamCheck {
  /** The upstream's key. */
  upstream: string;
  /** Whether its `url` and all of its `endpoints` do. */
  ok: boolean;
  /** `url`, then `endpoints`. */
  endpoints: readonly EndpointCheck[];
}

/** What checking takes. */
export type CheckParts = Omit<UpstreamParts, 'crowded' | 'lanes'>;

/** How long a check may take in all, whatever the upstream's own times are, in ms. */
const longest = 30_000;

/**
 * Asks each base URL of an upstream at `/v2/`, with its credential: whether it can be reached, is a registry and lets us in.
 * It is asked once, over a connection of its own and with a fresh token: what pulls have lately learned of it says nothing
 * here, and what is learned here says nothing to them.
 *
 * @throws the signal's reason; nothing else
 */
export async function checkEndpoints(
  settings: UpstreamSettings,
  { signal, ...parts }: CheckParts & { signal: AbortSignal },
): Promise<UpstreamCheck> {
  const endpoints = await Promise.all(
    endpointSettings(settings).map((own) => checkEndpoint(own, { signal, ...parts })),
  );
  return { upstream: settings.key, ok: endpoints.every(({ ok }) => ok), endpoints };
}

async function checkEndpoint(
  settings: UpstreamSettings,
  { signal, ...parts }: CheckParts & { signal: AbortSignal },
): Promise<EndpointCheck> {
  const { clock } = parts;
  const startedAt = clock.monotonic();
  const asked = { host: new URL(settings.url).host, durationMs: 0 };
  const took = () => ({ ...asked, durationMs: clock.monotonic() - startedAt });
  const client = createClient(settings, parts);
  try {
    const reply = await client.ping({ scope: '-', deadlineAt: startedAt + longest, signal });
    const refusal = refusalOf(reply, settings);
    return refusal ? { ...took(), ok: false, ...refusal } : { ...took(), ok: true };
  } catch (error) {
    signal.throwIfAborted();
    if (!isUpstreamError(error)) throw error;
    const { code, failure, status } = error;
    const reason = failure ?? (code === 'foreign-answer' ? 'no-registry' : code);
    return { ...took(), ok: false, reason, message: wordsOf(error), ...(status !== undefined && { status }) };
  } finally {
    await client.close();
  }
}

function refusalOf(
  reply: Reply<undefined>,
  { key, auth, credentials }: UpstreamSettings,
): { reason: CheckFailure; message: string; status: number } | undefined {
  if (reply.kind !== 'denied') return undefined;
  // It asks for its callers' credentials, and here is none of them: it does what it is to do.
  if (credentials === 'caller') return undefined;
  const { status, message } = reply;
  if (auth === 'anonymous') {
    const wanted = `${key} is a registry that wants a credential (${status}: ${message}); give it one as auth`;
    return { reason: 'credentials-wanted', message: wanted, status };
  }
  return { reason: 'denied', message: `${key} does not let its credential in (${status}: ${message})`, status };
}

/** Of an error of a host also which: clients are not told, it is the cause's first word. */
function wordsOf({ code, message, host, upstream, cause }: UpstreamError): string {
  if (code === 'offline') return `${upstream} is set to offline: a check asks it nothing either; change its mode first`;
  if (host === undefined || !(cause instanceof Error)) return message;
  const isSame = cause.message === message.replace(`${upstream}`, () => host);
  return isSame ? cause.message : `${message} (${cause.message})`;
}
