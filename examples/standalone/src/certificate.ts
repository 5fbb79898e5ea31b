import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ProxyCacheError } from '@proxycache/core';

/** Where the server's certificate chain and its key are. */
export interface CertificateFiles {
  cert: string;
  key: string;
}

/** PEM text. */
export interface Certificate {
  cert: string;
  key: string;
}

/** @throws ProxyCacheError `invalid-options` for files that cannot be read, or that do not belong together */
export function readCertificate(files: CertificateFiles): Certificate {
  const certificate = readBoth(files);
  check(certificate, files);
  return certificate;
}

const readBoth = (files: CertificateFiles): Certificate => ({ cert: read('cert', files), key: read('key', files) });

function read(name: 'cert' | 'key', files: CertificateFiles): string {
  try {
    return readFileSync(files[name], 'utf8');
  } catch (cause) {
    throw refuse(`listen.tls.${name}: cannot be read: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
}

function check(certificate: Certificate, files: CertificateFiles): void {
  let belong: boolean;
  try {
    belong = new X509Certificate(certificate.cert).checkPrivateKey(createPrivateKey(certificate.key));
  } catch (cause) {
    throw refuse(`listen.tls: expected a certificate and its key as PEM, received ${files.cert}, ${files.key}`, cause);
  }
  if (!belong) throw refuse(`listen.tls: ${files.key} is not the key of ${files.cert}`);
}

const refuse = (message: string, cause?: unknown) => new ProxyCacheError('invalid-options', message, { cause });

/**
 * Looks at the files again and again, and hands over a certificate that changed. Reading them is cheap and sees every
 * kind of change; file events miss the link swaps of Kubernetes secrets. While the two do not belong together, as
 * between the writing of one and the other, the certificate in use stays.
 *
 * @returns a function that ends it
 */
export function watchCertificate(
  files: CertificateFiles,
  options: {
    inUse: Certificate;
    everyMs: number;
    onChange: (certificate: Certificate) => void;
    onProblem: (error: unknown) => void;
  },
): () => void {
  let { inUse } = options;
  let lastProblem = '';
  const look = () => {
    try {
      const found = readBoth(files);
      if (found.cert !== inUse.cert || found.key !== inUse.key) {
        check(found, files);
        options.onChange(found);
      }
      lastProblem = '';
      inUse = found;
    } catch (error) {
      // Said once, not at every look.
      const problem = String(error);
      if (problem !== lastProblem) options.onProblem(error);
      lastProblem = problem;
    }
  };
  const timer = setInterval(look, options.everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
