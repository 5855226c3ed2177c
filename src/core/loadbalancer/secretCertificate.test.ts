import { createPrivateKey, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TlsSecret } from '../ports.ts';
import { makeCertificate } from '../tls/certificate.ts';
import { certificateOfSecret } from './secretCertificate.ts';

const host = 'my-release.milvus.example';
const day = 86_400_000;

describe('certificateOfSecret', () => {
  let secret: TlsSecret;
  beforeAll(async () => {
    const made = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    secret = {
      name: 'tls',
      state: 'present',
      type: 'kubernetes.io/tls',
      certificate: made.certificate,
      keyMatches: new X509Certificate(made.certificate).checkPrivateKey(createPrivateKey(made.key)),
    };
  });
  const problem = (change: Partial<TlsSecret>, name = host, now = Date.now()) =>
    certificateOfSecret({ ...secret, ...change }, name, now).problem;

  it('accepts the certificate that the product makes', () => {
    const { problem: none, notAfter } = certificateOfSecret(secret, host, Date.now());
    expect(none).toBeUndefined();
    expect(Date.parse(notAfter ?? '')).toBeGreaterThan(Date.now() + 80 * day);
  });

  it.each([
    ['missing', { state: 'missing' as const }, 'Secret tls does not exist.'],
    ['of another type', { type: 'Opaque' }, 'is of type Opaque; an Ingress needs kubernetes.io/tls'],
    ['without PEM', { certificate: 'garbage' }, 'holds no certificate in PEM form'],
    ['with another key', { keyMatches: false }, 'does not belong to its certificate'],
  ])('names a Secret %s', (_name, change, text) => {
    expect(problem(change)).toContain(text);
  });

  it('names an unreadable key', () => {
    const { keyMatches: _matches, ...rest } = secret;
    expect(certificateOfSecret(rest, host, Date.now()).problem).toContain('no readable private key');
  });

  it('names another host', () => {
    expect(problem({}, 'other.example')).toContain('does not cover other.example');
  });

  it('names dates', () => {
    expect(problem({}, host, Date.now() + 91 * day)).toContain('expired on');
    expect(problem({}, host, Date.now() - 30 * day)).toContain('is not valid before');
  });
});
