import { beforeAll, describe, expect, it } from 'vitest';
import type { TlsSecret } from '../ports.ts';
import { checkPrivateKey, makeCertificate } from '../tls/certificate.ts';
import { certificateOfSecret } from './secretCertificate.ts';

const host = 'my-release.milvus.example';
const day = 86_400_000;

describe('certificateOfSecret', () => {
  let secret: TlsSecret;
  beforeAll(async () => {
    const made = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    expect(checkPrivateKey(made.key, made.certificate)).toEqual([]);
    secret = { name: 'tls', state: 'present', type: 'kubernetes.io/tls', certificate: made.certificate };
  });
  const problem = (change: Partial<TlsSecret>, name = host, now = Date.now()) =>
    certificateOfSecret({ ...secret, ...change }, 'default', name, now).problem;

  it('accepts the certificate that the product makes', () => {
    const { problem: none, notAfter } = certificateOfSecret(secret, 'default', host, Date.now());
    expect(none).toBeUndefined();
    expect(Date.parse(notAfter ?? '')).toBeGreaterThan(Date.now() + 80 * day);
  });

  it('says nothing about a Secret that may not be read', () => {
    expect(certificateOfSecret({ name: 'tls', state: 'forbidden' }, 'default', host, Date.now())).toEqual({});
  });

  it.each([
    ['missing', { state: 'missing' as const }, 'Secret tls does not exist.'],
    ['of another type', { type: 'Opaque' }, 'is of type Opaque; an Ingress needs kubernetes.io/tls'],
    ['without PEM', { certificate: 'garbage' }, 'There is no PEM certificate'],
  ])('names a Secret %s', (_name, change, text) => {
    expect(problem(change)?.message).toContain(text);
    expect(problem(change)?.object).toMatchObject({ kind: 'Secret', namespace: 'default', name: 'tls' });
  });

  it('names a private key of another certificate, and one that is none', async () => {
    const other = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    const [mismatch] = checkPrivateKey(other.key, secret.certificate ?? '');
    expect(mismatch && problem({ keyProblem: mismatch })?.message).toBe(
      'The private key does not belong to the certificate.',
    );
    expect(checkPrivateKey('', secret.certificate ?? '')[0]?.rule).toBe('certificate-key-unreadable');
  });

  it('names another host', () => {
    expect(problem({}, 'other.example')?.message).toContain('not for other.example');
  });

  it('names dates', () => {
    expect(problem({}, host, Date.now() + 91 * day)?.message).toContain('expired on');
    expect(problem({}, host, Date.now() - 30 * day)?.message).toContain('is not valid before');
  });
});
