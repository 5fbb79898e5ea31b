import { AddressRefused } from './connector.ts';
import type { UpstreamErrorCode, UpstreamFailure } from './upstream-error.ts';

/** Why no answer came, in words a person can act on. */
export interface ConnectionFailure {
  code: UpstreamErrorCode;
  failure?: UpstreamFailure;
  /** Continues "HOST ..." and names no host itself. */
  why: string;
}

const network: Readonly<Record<string, string>> = {
  ENOTFOUND: 'is not known to DNS; check the name',
  EAI_AGAIN: 'could not be looked up: the DNS server did not answer',
  ECONNREFUSED: 'refused the connection: nothing listens on that port',
  ECONNRESET: 'closed the connection before it answered',
  EPIPE: 'closed the connection before it answered',
  UND_ERR_SOCKET: 'closed the connection before it answered',
  ETIMEDOUT: 'did not answer in time',
  EHOSTUNREACH: 'cannot be reached: no route to it',
  ENETUNREACH: 'cannot be reached: no route to its network',
};

const failures: Readonly<Record<string, UpstreamFailure>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'refused',
};

const certificate: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'has a self-signed certificate; give its authority as tls.ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'has a certificate of an authority that is not trusted; give it as tls.ca',
  UNABLE_TO_GET_ISSUER_CERT: 'has a certificate of an authority that is not trusted; give it as tls.ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'has a certificate of an authority that is not trusted; give it as tls.ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'has a certificate of an authority that is not trusted; give it as tls.ca',
  CERT_HAS_EXPIRED: 'has an expired TLS certificate',
  CERT_NOT_YET_VALID: 'has a TLS certificate that is not valid yet; check the clocks',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a TLS certificate for another name',
};

/** Names the cause of a failed exchange. */
export function describeFailure(error: unknown): ConnectionFailure {
  if (error instanceof AddressRefused) {
    const why = error.allowable
      ? 'lives at an address that a redirect or realm must not lead to; list it in allowPrivate if it may'
      : 'lives at an address that nothing may lead to (link-local, metadata, unspecified, multicast or reserved)';
    return { code: 'address-refused', why };
  }
  const { code = '', message = '', name = '' } = firstOf(error);
  // Ours to mend, and over in a moment: it says nothing of the host.
  if (code === 'EMFILE' || code === 'ENFILE') {
    return { code: 'busy', why: 'was not asked: this process has no file descriptor left' };
  }
  const known = network[code];
  if (known) {
    const failure = failures[code];
    return { code: 'unreachable', ...(failure && { failure }), why: known };
  }
  const distrusted = certificate[code];
  if (distrusted) return { code: 'unreachable', failure: 'tls', why: distrusted };
  if (code === 'EPROTO' || code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || message.includes('TLS')) {
    return {
      code: 'unreachable',
      failure: 'tls',
      why: 'did not complete a TLS handshake; is it plain http, or does it ask for tls.cert?',
    };
  }
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return { code: 'foreign-answer', why: 'sent more headers than the 16 KiB that are read' };
  }
  // Not all that cannot be parsed has a code.
  if (code.startsWith('HPE_') || name === 'HTTPParserError') {
    return { code: 'foreign-answer', why: 'does not speak HTTP/1.1 as it should' };
  }
  if (code.startsWith('UND_ERR_RES')) return { code: 'unreachable', why: 'sent a body of another length than it said' };
  return { code: 'unreachable', why: `could not be asked (${code || 'no reason given'})` };
}

/** Whether a server that keeps connections may simply have closed this one while the request was on its way. */
export function isClosedConnection(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].includes(firstOf(error).code ?? '');
}

/** The error of the first address tried, where a name has several. */
function firstOf(error: unknown): { code?: string; message?: string; name?: string } {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return typeof first === 'object' && first !== null ? first : {};
}
