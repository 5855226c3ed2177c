import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AddressInfo } from 'node:net';
import {
  checkCertificate,
  createCertificateMaker,
  inspectCertificate,
  makeCertificate,
  readCertificates,
  selfSignedAuthority,
  subjectAltNames,
} from './certificate.ts';

const run = promisify(execFile);
const host = 'my-release.milvus.io';
/** A little late, for certificates that OpenSSL makes valid from its own now on. */
const now = Date.now() + 60_000;
const day = 24 * 60 * 60 * 1000;
const keyTypes = ['rsa-2048', 'ecdsa-p256'] as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'certificate-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function file(name: string, content: string): Promise<string> {
  const target = path.join(folder, name);
  await writeFile(target, content);
  return target;
}

async function openssl(...args: string[]): Promise<string> {
  const { stdout } = await run('openssl', args, { cwd: folder });
  return stdout;
}

/** A certificate as the guide and many a how-to make it. */
async function byOpenssl(name: string, ...args: string[]): Promise<{ certificate: string; key: string }> {
  await openssl(
    ...['req', '-x509', '-nodes', '-days', '90', '-subj', `/CN=${host}`, ...args],
    ...['-keyout', `${name}.key`, '-out', `${name}.crt`],
  );
  const [certificate, key] = await Promise.all([
    readFile(path.join(folder, `${name}.crt`), 'utf8'),
    readFile(path.join(folder, `${name}.key`), 'utf8'),
  ]);
  return { certificate, key };
}

function rules(options: { certificate: string; key?: string; host?: string; now?: number }): string[] {
  return checkCertificate({ host, now, ...options }).map(({ rule }) => rule);
}

describe.each(keyTypes)('makeCertificate, %s', (keyType) => {
  it('is accepted by OpenSSL in strict mode, for the purpose and the host', async () => {
    const { certificate, ca } = await makeCertificate({ hosts: [host, '*.milvus.io', '127.0.0.1'], keyType, days: 90 });
    const leaf = await file('leaf.crt', certificate);
    const root = await file('ca.crt', ca);
    const verify = (...args: string[]) =>
      openssl('verify', '-x509_strict', '-purpose', 'sslserver', ...args, '-CAfile', root, leaf);
    expect(await verify('-verify_hostname', host)).toContain(': OK');
    expect(await verify('-verify_hostname', 'other.milvus.io')).toContain(': OK');
    expect(await verify('-verify_ip', '127.0.0.1')).toContain(': OK');
    await expect(verify('-verify_hostname', 'example.com')).rejects.toThrow('hostname mismatch');
    // `tls.crt` alone is a file to trust.
    expect(await openssl('verify', '-x509_strict', '-CAfile', leaf, leaf)).toContain(': OK');

    const text = await openssl('x509', '-in', leaf, '-noout', '-text');
    expect(text).toContain('Version: 3 (0x2)');
    expect(text).toContain(keyType === 'rsa-2048' ? 'sha256WithRSAEncryption' : 'ecdsa-with-SHA256');
    expect(text).toContain(keyType === 'rsa-2048' ? 'Public-Key: (2048 bit)' : 'NIST CURVE: P-256');
    expect(text).toContain('CA:FALSE');
    expect(text).toMatch(keyType === 'rsa-2048' ? /Digital Signature, Key Encipherment\n/ : /Digital Signature\n/);
    expect(text).toContain('TLS Web Server Authentication');
    expect(text).toContain(`DNS:${host}, DNS:*.milvus.io, IP Address:127.0.0.1`);
    expect(text).toContain('Authority Key Identifier');

    const rootText = await openssl('x509', '-in', root, '-noout', '-text');
    expect(rootText).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(rootText).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
  });

  it('has a positive 128-bit serial of its own and is backdated a little', async () => {
    const two = await Promise.all([1, 2].map(() => makeCertificate({ hosts: [host], keyType, days: 397 })));
    const leaves = two.map(({ certificate }) => new X509Certificate(certificate));
    const serials = leaves.map((leaf) => leaf.serialNumber);
    expect(new Set(serials).size).toBe(2);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
    for (const leaf of leaves) {
      const age = Date.now() - leaf.validFromDate.getTime();
      expect(age).toBeGreaterThan(4 * 60_000);
      expect(age).toBeLessThan(6 * 60_000);
      expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBe(397 * day);
    }
  });

  it('serves a TLS client that trusts the CA', async () => {
    const { certificate, key, ca } = await makeCertificate({ hosts: [host], keyType, days: 90 });
    const server = createServer({ cert: certificate, key }, (socket) => socket.end());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect({ port, host: '127.0.0.1', servername: host, ca });
    await once(client, 'secureConnect');
    expect(client.authorized).toBe(true);
    client.destroy();
    server.close();
    await once(server, 'close');
  });

  it('finds nothing wrong with its own', async () => {
    const { certificate, key } = await makeCertificate({ hosts: [host], keyType, days: 90 });
    expect(rules({ certificate, key })).toEqual([]);
    expect(inspectCertificate(certificate)).toMatchObject({
      subject: `CN=${host}`,
      names: [host],
      key: keyType === 'rsa-2048' ? 'RSA-2048' : 'P-256',
      selfSigned: false,
      chainLength: 2,
    });
  });
});

describe('makeCertificate', () => {
  it('copes with names too long for a common name', async () => {
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example.com`;
    const { certificate, ca } = await makeCertificate({ hosts: [long], keyType: 'ecdsa-p256', days: 1 });
    expect(new X509Certificate(certificate).subject).toBe('CN=example.com');
    expect(rules({ certificate, host: long })).toEqual(['certificate-expires-soon']);
    const root = await file('long-ca.crt', ca);
    const leaf = await file('long.crt', certificate);
    expect(await openssl('verify', '-x509_strict', '-verify_hostname', long, '-CAfile', root, leaf)).toContain(': OK');
  });

  it.each([0, 398, 1.5])('refuses %s days', async (days) => {
    await expect(makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days })).rejects.toThrow('1 to 397 days');
  });

  it('refuses to be for nobody', async () => {
    await expect(makeCertificate({ hosts: [], keyType: 'ecdsa-p256', days: 1 })).rejects.toThrow('at least one host');
  });
});

describe('checkCertificate', () => {
  it('wants the subject alternative name, and says who refuses the common name', async () => {
    const guide = await byOpenssl('guide', '-newkey', 'rsa:2048');
    const [finding] = checkCertificate({ ...guide, host, now });
    expect(finding).toMatchObject({ rule: 'certificate-host', severity: 'error' });
    expect(finding?.message).toContain(`only in its subject (CN=${host})`);
    expect(finding?.cause).toContain('Go clients');
    expect(finding?.fix.text).toContain(`DNS:${host}`);
  });

  it('names what the certificate is for when it is for another host', async () => {
    const { certificate, key } = await makeCertificate({ hosts: ['a.io', 'b.io'], keyType: 'ecdsa-p256', days: 90 });
    const findings = checkCertificate({ certificate, key, host, now });
    expect(findings.map(({ message }) => message)).toEqual([`The certificate is for a.io, b.io, not for ${host}.`]);
  });

  it('takes a wildcard for a host below it, and for the same wildcard', async () => {
    const { certificate } = await makeCertificate({ hosts: ['*.milvus.io'], keyType: 'ecdsa-p256', days: 90 });
    expect(rules({ certificate })).toEqual([]);
    expect(rules({ certificate, host: '*.milvus.io' })).toEqual([]);
    expect(rules({ certificate, host: 'a.b.milvus.io' })).toEqual(['certificate-host']);
    expect(rules({ certificate, host: 'milvus.io' })).toEqual(['certificate-host']);
  });

  it.each([
    ['RSA-3072', ['-newkey', 'rsa:3072']],
    ['P-384', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1']],
    ['ed25519', ['-newkey', 'ed25519']],
  ])('refuses %s, which Google refuses', async (kind, args) => {
    const made = await byOpenssl('kind', ...args, '-addext', `subjectAltName=DNS:${host}`);
    const findings = checkCertificate({ ...made, host, now });
    expect(findings.map(({ rule }) => rule)).toEqual(['certificate-key-kind']);
    expect(findings[0]?.message).toContain(kind);
    expect(findings[0]?.cause).toContain('RSA-2048 or an ECDSA P-256');
  });

  it('tells expired, not yet valid and expiring soon apart', async () => {
    const at = (time: number) => createCertificateMaker({ now: () => time });
    const request = { hosts: [host], keyType: 'ecdsa-p256', days: 90 } as const;
    const { certificate: expired } = await at(now - 91 * day)(request);
    const { certificate: future } = await at(now + day)(request);
    const { certificate: ending } = await at(now - 80 * day)(request);
    expect(rules({ certificate: expired })).toEqual(['certificate-expired']);
    expect(rules({ certificate: future })).toEqual(['certificate-not-yet-valid']);
    expect(checkCertificate({ certificate: ending, host, now })[0]).toMatchObject({
      rule: 'certificate-expires-soon',
      severity: 'warning',
    });
  });

  it('refuses a client certificate', async () => {
    const made = await byOpenssl(
      ...(['client', '-newkey', 'rsa:2048', '-addext', `subjectAltName=DNS:${host}`] as const),
      ...['-addext', 'extendedKeyUsage=clientAuth'],
    );
    expect(rules(made)).toEqual(['certificate-usage']);
  });

  it('tells a chain in the wrong order, also by the key', async () => {
    const { certificate, key } = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    const reversed = readCertificates(certificate).reverse().join('');
    const findings = checkCertificate({ certificate: reversed, key, host, now });
    expect(findings.map(({ rule }) => rule)).toContain('certificate-chain-order');
    expect(findings.map(({ message }) => message)).toContain(
      'The private key belongs to certificate 2 of the file, not to the first.',
    );
    const other = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    const mixed = String(readCertificates(certificate)[0]) + other.ca;
    expect(rules({ certificate: mixed })).toEqual(['certificate-chain-order']);
  });

  it('refuses more than five certificates', async () => {
    const { certificate, ca } = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    expect(rules({ certificate: certificate + ca + ca + ca })).toEqual([]);
    expect(rules({ certificate: certificate + ca.repeat(4) })).toEqual(['certificate-chain-length']);
  });

  it('tells what is wrong with the key', async () => {
    const made = await makeCertificate({ hosts: [host], keyType: 'rsa-2048', days: 90 });
    const other = await makeCertificate({ hosts: [host], keyType: 'rsa-2048', days: 90 });
    await file('plain.key', made.key);
    const encrypted = await openssl('pkey', '-in', 'plain.key', '-aes256', '-passout', 'pass:secret');
    const traditional = await openssl('rsa', '-in', 'plain.key', '-aes256', '-traditional', '-passout', 'pass:secret');
    const { certificate } = made;
    expect(rules({ certificate, key: other.key })).toEqual(['certificate-key-mismatch']);
    expect(rules({ certificate, key: encrypted })).toEqual(['certificate-key-encrypted']);
    expect(rules({ certificate, key: traditional })).toEqual(['certificate-key-encrypted']);
    expect(rules({ certificate, key: 'garbage' })).toEqual(['certificate-key-unreadable']);
    expect(checkCertificate({ certificate, key: certificate, host, now })[0]?.message).toContain('a certificate, not');
  });

  it('never puts the key into a message', async () => {
    const made = await makeCertificate({ hosts: [host], keyType: 'rsa-2048', days: 90 });
    const other = await makeCertificate({ hosts: [host], keyType: 'rsa-2048', days: 90 });
    const cut = other.key.slice(0, 400);
    for (const key of [other.key, cut, other.key.replace('PRIVATE', 'SECRET')]) {
      const text = JSON.stringify(checkCertificate({ certificate: made.certificate, key, host, now }));
      expect(text).toContain('certificate-key');
      expect(text).not.toContain(other.key.split('\n')[1]);
    }
  });

  it.each([
    ['', 'The certificate is empty.'],
    ['garbage', 'There is no PEM certificate'],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'Certificate 1 of the file cannot be read'],
    ['-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n', 'signing request'],
    ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'This is a private key'],
    ['-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n', 'PKCS #7'],
  ])('says what it is instead of a certificate: %j', (certificate, text) => {
    const findings = checkCertificate({ certificate, host, now });
    expect(findings.map(({ rule }) => rule)).toEqual(['certificate-unreadable']);
    expect(findings[0]?.message).toContain(text);
    expect(() => inspectCertificate(certificate)).toThrow(text);
  });

  it('finds the authority that a chain brings along', async () => {
    const { certificate, ca } = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    const guide = await byOpenssl('self-signed', '-newkey', 'rsa:2048');
    expect(selfSignedAuthority(certificate)).toBe(ca);
    expect(selfSignedAuthority(guide.certificate)).toBe(guide.certificate);
    expect(selfSignedAuthority(String(readCertificates(certificate)[0]))).toBeUndefined();
    expect(selfSignedAuthority('garbage')).toBeUndefined();
  });

  it('reads names that Node quotes', () => {
    const names = subjectAltNames({
      subjectAltName: 'DNS:a.io, DNS:"b.io, DNS:evil.io", IP Address:10.0.0.1, URI:http://x',
    });
    expect(names).toEqual(['a.io', 'b.io, DNS:evil.io', '10.0.0.1']);
  });
});
