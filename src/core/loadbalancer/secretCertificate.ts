import { X509Certificate } from 'node:crypto';
import * as l10n from '@vscode/l10n';
import type { Finding, ObjectRef } from '../model.ts';
import type { TlsSecret } from '../ports.ts';
import { checkCertificate } from '../tls/certificate.ts';

/** What a TLS Secret is good for. `notAfter` is RFC 3339; `problem` is absent when it can be used. */
export interface SecretCertificate {
  problem?: Finding;
  notAfter?: string;
}

/** Whether the certificate of a Secret can serve `host`. `now` is in milliseconds since the epoch. */
export function certificateOfSecret(
  secret: TlsSecret,
  namespace: string,
  host: string,
  now: number,
): SecretCertificate {
  // Who may not read it must not be told that it is broken.
  if (secret.state === 'forbidden') return {};
  const object: ObjectRef = { apiVersion: 'v1', kind: 'Secret', namespace, name: secret.name };
  const certificate = secret.certificate ?? '';
  const problem =
    wrongSecret(secret) ??
    secret.keyProblem ??
    checkCertificate({ certificate, host, now }).find((finding) => finding.severity === 'error');
  const notAfter = expiry(certificate);
  return { ...(problem ? { problem: { ...problem, object } } : {}), ...(notAfter === undefined ? {} : { notAfter }) };
}

function wrongSecret({ name, state, type }: TlsSecret): Finding | undefined {
  const finding = { severity: 'error' as const, cause: l10n.t('The Ingress takes its certificate from this Secret.') };
  if (state === 'missing')
    return {
      ...finding,
      rule: 'certificate-secret-missing',
      message: l10n.t('Secret {0} does not exist.', name),
      fix: { kind: 'advice', text: l10n.t('Choose another Secret, or let the setup generate a certificate.') },
    };
  if (type === 'kubernetes.io/tls') return undefined;
  return {
    ...finding,
    rule: 'certificate-secret-type',
    message: l10n.t('Secret {0} is of type {1}; an Ingress needs kubernetes.io/tls.', name, type ?? 'Opaque'),
    fix: {
      kind: 'command',
      text: l10n.t('Create it anew.'),
      command: `kubectl create secret tls ${name} --cert=tls.crt --key=tls.key`,
    },
  };
}

function expiry(certificate: string): string | undefined {
  try {
    return new X509Certificate(certificate).validToDate.toISOString();
  } catch {
    return undefined;
  }
}
