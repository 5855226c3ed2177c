import { X509Certificate } from 'node:crypto';
import * as l10n from '@vscode/l10n';
import type { TlsSecret } from '../ports.ts';

/** What a TLS Secret is good for. `notAfter` is RFC 3339; `problem` is localised and absent when it can be used. */
export interface SecretCertificate {
  problem?: string;
  notAfter?: string;
}

/**
 * Whether the certificate of a Secret can serve `host`. Google's classic load balancer accepts RSA 2048 and ECDSA P-256
 * only (Google Cloud documentation, self-managed SSL certificates). `now` is in milliseconds since the epoch.
 */
export function certificateOfSecret(secret: TlsSecret, host: string, now: number): SecretCertificate {
  if (secret.state === 'missing') return { problem: l10n.t('Secret {0} does not exist.', secret.name) };
  if (secret.state === 'forbidden') return {};
  if (secret.type !== 'kubernetes.io/tls')
    return {
      problem: l10n.t(
        'Secret {0} is of type {1}; an Ingress needs kubernetes.io/tls.',
        secret.name,
        secret.type ?? 'Opaque',
      ),
    };
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(secret.certificate ?? '');
  } catch {
    return { problem: l10n.t('Secret {0} holds no certificate in PEM form under tls.crt.', secret.name) };
  }
  const notAfter = certificate.validToDate.toISOString();
  const problem = problemOf(certificate, secret, host, now);
  return problem === undefined ? { notAfter } : { problem, notAfter };
}

function problemOf(certificate: X509Certificate, secret: TlsSecret, host: string, now: number): string | undefined {
  const { name } = secret;
  if (secret.keyMatches === undefined) return l10n.t('Secret {0} holds no readable private key under tls.key.', name);
  if (!secret.keyMatches) return l10n.t('The private key in Secret {0} does not belong to its certificate.', name);
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
  const accepted =
    (asymmetricKeyType === 'rsa' && asymmetricKeyDetails?.modulusLength === 2048) ||
    (asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1');
  if (!accepted)
    return l10n.t(
      'The key in Secret {0} is {1}; Google accepts RSA 2048 and ECDSA P-256.',
      name,
      `${asymmetricKeyType ?? '?'} ${asymmetricKeyDetails?.modulusLength ?? asymmetricKeyDetails?.namedCurve ?? ''}`.trim(),
    );
  if (certificate.validToDate.getTime() <= now)
    return l10n.t(
      'The certificate in Secret {0} expired on {1}.',
      name,
      certificate.validToDate.toISOString().slice(0, 10),
    );
  if (certificate.validFromDate.getTime() > now)
    return l10n.t(
      'The certificate in Secret {0} is not valid before {1}.',
      name,
      certificate.validFromDate.toISOString(),
    );
  if (certificate.subjectAltName === undefined)
    return l10n.t('The certificate in Secret {0} has no subject alternative name; Go clients refuse it.', name);
  if (certificate.checkHost(host, { subject: 'never' }) === undefined)
    return l10n.t(
      'The certificate in Secret {0} does not cover {1}: it is for {2}.',
      name,
      host,
      certificate.subjectAltName,
    );
  return undefined;
}
