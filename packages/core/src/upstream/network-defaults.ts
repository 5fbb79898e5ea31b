import * as dns from 'node:dns';
import * as net from 'node:net';
import tls from 'node:tls';

/** How this process connects where nobody says how. Node keeps it for each thread apart: by its own flags and calls. */
export interface NetworkDefaults {
  dnsOrder: ReturnType<typeof dns.getDefaultResultOrder>;
  triesFamilies: boolean;
  familyTimeoutMs: number;
  tls: Pick<typeof tls, (typeof tlsNames)[number]>;
  /** Authorities that are trusted, where Node can tell and be told. PEM text. */
  authorities?: readonly string[];
}

const tlsNames = ['DEFAULT_MIN_VERSION', 'DEFAULT_MAX_VERSION', 'DEFAULT_CIPHERS', 'DEFAULT_ECDH_CURVE'] as const;

// Of newer Nodes.
const { getCACertificates, setDefaultCACertificates } = tls as {
  getCACertificates?: (type: 'default') => string[];
  setDefaultCACertificates?: (authorities: readonly string[]) => void;
};

/** What holds in this thread. `authorities` are many, and told only where they are needed. */
export function networkDefaults({ isSecure }: { isSecure: boolean }): NetworkDefaults {
  const { DEFAULT_MIN_VERSION, DEFAULT_MAX_VERSION, DEFAULT_CIPHERS, DEFAULT_ECDH_CURVE } = tls;
  return {
    dnsOrder: dns.getDefaultResultOrder(),
    triesFamilies: net.getDefaultAutoSelectFamily(),
    familyTimeoutMs: net.getDefaultAutoSelectFamilyAttemptTimeout(),
    tls: { DEFAULT_MIN_VERSION, DEFAULT_MAX_VERSION, DEFAULT_CIPHERS, DEFAULT_ECDH_CURVE },
    ...(isSecure && setDefaultCACertificates && getCACertificates && { authorities: getCACertificates('default') }),
  };
}

/** Makes it hold in this thread, too. @returns whether others are trusted than before */
export function useNetworkDefaults({ dnsOrder, triesFamilies, familyTimeoutMs, ...more }: NetworkDefaults): boolean {
  dns.setDefaultResultOrder(dnsOrder);
  net.setDefaultAutoSelectFamily(triesFamilies);
  net.setDefaultAutoSelectFamilyAttemptTimeout(familyTimeoutMs);
  Object.assign(tls, more.tls);
  const known = getCACertificates?.('default');
  const { authorities } = more;
  if (
    !authorities ||
    !known ||
    (authorities.length === known.length && authorities.every((pem, i) => pem === known[i]))
  ) {
    return false;
  }
  setDefaultCACertificates?.(authorities);
  return true;
}
