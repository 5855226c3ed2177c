/**
 * Makes, reads and checks server certificates for the load balancer.
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPair,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import * as l10n from '@vscode/l10n';
import type * as forgeChunk from './forge.chunk.ts';
import type { Finding } from '../model.ts';
import type { CertificateMaker, Clock } from '../ports.ts';

type Forge = typeof forgeChunk;
type KeyType = 'rsa-2048' | 'ecdsa-p256';
interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

/** Longest validity in days that every client accepts (CA/Browser Forum Baseline Requirements 2.2.6, §6.3.2: 398). */
export const maxCertificateDays = 397;

const dayMs = 24 * 60 * 60 * 1000;
/** Clients whose clocks lag by this much still accept a certificate that was just made. */
const backdatedMs = 5 * 60 * 1000;
/** `ub-common-name` of RFC 5280, appendix A. */
const maxCommonName = 64;

const generateKeyPairAsync = promisify(generateKeyPair);

/**
 * Makes a certificate authority and a server certificate signed by it.
 * - `certificate`: PEM of the server certificate, then the CA's. The server's stands first, as Google and every TLS
 *   server want it; the CA's follows so that `tls.crt` alone is a file to trust for every client.
 * - `key`: PEM (PKCS #8, not encrypted) of the server's private key.
 * - `ca`: PEM of the CA's certificate. Its private key is dropped after the one signature, so nobody can sign again.
 *
 * Rejects with an `Error` with a localised message when there is no host, or `days` is not in 1…397.
 */
export function createCertificateMaker(clock: Pick<Clock, 'now'>): CertificateMaker {
  return async ({ hosts, keyType, days }) => {
    const [host] = hosts;
    if (host === undefined) throw new Error(l10n.t('A certificate needs at least one host name.'));
    if (!Number.isInteger(days) || days < 1 || days > maxCertificateDays)
      throw new Error(
        l10n.t('A certificate is made for 1 to {0} days, not for {1}.', maxCertificateDays, String(days)),
      );
    const [forge, authority, server] = await Promise.all([
      import('./forge.chunk.ts'),
      newKeyPair(keyType),
      newKeyPair(keyType),
    ]);
    const now = clock.now();
    const validity = { notBefore: new Date(now - backdatedMs), notAfter: new Date(now - backdatedMs + days * dayMs) };
    const authorityKeyId = keyIdentifier(authority.publicKey);
    // The identifier in the name keeps the CAs of two certificates for one host apart in a trust store.
    const authorityName = `Milvus Layer 7 CA ${authorityKeyId.toString('hex').slice(0, 8)}`;
    const serverName = host.length <= maxCommonName ? host : host.slice(-maxCommonName).replace(/^[^.]*\./, '');

    const ca = issue(forge, {
      ...validity,
      subject: authorityName,
      issuer: authorityName,
      publicKey: authority.publicKey,
      signer: authority.privateKey,
      extensions: [
        { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
        { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
      ],
    });
    const leaf = issue(forge, {
      ...validity,
      subject: serverName,
      issuer: authorityName,
      publicKey: server.publicKey,
      signer: authority.privateKey,
      extensions: [
        { name: 'basicConstraints', critical: true, cA: false },
        { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: keyType === 'rsa-2048' },
        { name: 'extKeyUsage', serverAuth: true },
        {
          name: 'subjectAltName',
          altNames: hosts.map((name) => (isIP(name) ? { type: 7, ip: name } : { type: 2, value: name })),
        },
        { name: 'authorityKeyIdentifier', keyIdentifier: authorityKeyId.toString('binary') },
      ],
    });
    const key = server.privateKey.export({ type: 'pkcs8', format: 'pem' });
    return { certificate: leaf + ca, key: key.toString(), ca };
  };
}

/** {@link createCertificateMaker} with this machine's clock. */
export const makeCertificate: CertificateMaker = createCertificateMaker({ now: () => Date.now() });

function newKeyPair(keyType: KeyType): Promise<KeyPair> {
  return keyType === 'rsa-2048'
    ? generateKeyPairAsync('rsa', { modulusLength: 2048 })
    : generateKeyPairAsync('ec', { namedCurve: 'prime256v1' });
}

/** RFC 7093 §2, method 4. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(spkiOf(publicKey)).digest();
}

function spkiOf(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** What a person wants to know of a certificate. Times are RFC 3339. */
export interface CertificateSummary {
  subject: string;
  issuer: string;
  names: readonly string[];
  notBefore: string;
  notAfter: string;
  fingerprint256: string;
  /** Such as `RSA-2048` or `P-256`. */
  key: string;
  selfSigned: boolean;
  /** Certificates in the PEM, the server's own included. */
  chainLength: number;
}

/** Reads the first certificate of a PEM. Throws an `Error` with a localised message when there is none. */
export function inspectCertificate(pem: string): CertificateSummary {
  const chain = parseChain(pem);
  if (typeof chain === 'string') throw new Error(chain);
  const [leaf] = chain;
  return {
    subject: oneLine(leaf.subject),
    issuer: oneLine(leaf.issuer),
    names: subjectAltNames(leaf),
    notBefore: leaf.validFromDate.toISOString(),
    notAfter: leaf.validToDate.toISOString(),
    fingerprint256: leaf.fingerprint256,
    key: keyKind(leaf.publicKey),
    selfSigned: leaf.checkIssued(leaf),
    chainLength: chain.length,
  };
}

/** A distinguished name as `node:crypto` prints it, on one line. */
export function oneLine(distinguishedName: string): string {
  return distinguishedName.split('\n').filter(Boolean).join(', ');
}

/** DNS names and IP addresses of the subject alternative name extension. */
export function subjectAltNames(certificate: Pick<X509Certificate, 'subjectAltName'>): string[] {
  // Names with special characters are quoted by Node as JSON (CVE-2021-44532).
  const entries = certificate.subjectAltName?.match(/(?:DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]+)/g) ?? [];
  return entries.map((entry) => {
    const value = entry.slice(entry.indexOf(':') + 1);
    return value.startsWith('"') ? String(JSON.parse(value)) : value;
  });
}

/** Whether a client that ignores the common name, as Go's and browsers do, takes the certificate for the host. */
export function coversHost(certificate: X509Certificate, host: string): boolean {
  if (isIP(host)) return certificate.checkIP(host) !== undefined;
  // A host rule for *.example.com needs the very same wildcard.
  if (host.startsWith('*.')) return subjectAltNames(certificate).some((name) => name.toLowerCase() === host);
  return certificate.checkHost(host, { subject: 'never' }) !== undefined;
}

/**
 * Everything that keeps Google's load balancer or a client from using a certificate, worst first; empty when it is
 * good. Accepted keys: RSA-2048 and ECDSA P-256 (Google Cloud, "Use self-managed SSL certificates"); at most five
 * certificates in the chain, the server's first.
 * @param options.certificate PEM as in `tls.crt`
 * @param options.key PEM as in `tls.key`; its content never gets into a message
 * @param options.now milliseconds since the epoch
 */
export function checkCertificate(options: {
  certificate: string;
  key?: string;
  host: string;
  now: number;
}): readonly Finding[] {
  const chain = parseChain(options.certificate);
  const findings: Finding[] = [];
  if (typeof chain === 'string') findings.push(unreadable(chain));
  else findings.push(...checkChain(chain, options.host.toLowerCase(), options.now));
  if (options.key !== undefined) findings.push(...checkKey(options.key, typeof chain === 'string' ? undefined : chain));
  return findings.sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity));
}

const severities = ['error', 'warning', 'info'];
/** From here on a renewal is due. */
const renewBeforeMs = 14 * dayMs;
/** Google Cloud, "SSL certificates overview": the chain holds no more than five certificates. */
const maxChainLength = 5;
/** RFC 5280 §4.2.1.12. */
const serverAuth = '1.3.6.1.5.5.7.3.1';

type Chain = readonly [X509Certificate, ...X509Certificate[]];

const pemBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM that can be read, in their order. */
export function readCertificates(pem: string): X509Certificate[] {
  return (pem.match(pemBlock) ?? []).flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

/**
 * The self-signed certificate in a PEM chain: what clients must be given when its Secret has no `ca.crt`, as one that
 * was made with `kubectl create secret tls`. Undefined for a chain that ends at a public authority.
 */
export function selfSignedAuthority(pem: string): string | undefined {
  return readCertificates(pem)
    .find((certificate) => certificate.checkIssued(certificate))
    ?.toString();
}

/** The certificates of a PEM in their order, or a localised sentence about what it is instead. */
function parseChain(pem: string): Chain | string {
  const blocks = pem.match(pemBlock) ?? [];
  const certificates: X509Certificate[] = [];
  for (const [index, block] of blocks.entries()) {
    try {
      certificates.push(new X509Certificate(block));
    } catch (error) {
      return l10n.t('Certificate {0} of the file cannot be read: {1}.', index + 1, messageOf(error));
    }
  }
  const [leaf, ...others] = certificates;
  if (leaf !== undefined) return [leaf, ...others];
  if (pem.trim() === '') return l10n.t('The certificate is empty.');
  if (pem.includes('CERTIFICATE REQUEST-----'))
    return l10n.t('This is a certificate signing request, not the certificate that the authority issued for it.');
  if (pem.includes('PRIVATE KEY-----')) return l10n.t('This is a private key, not a certificate.');
  if (pem.includes('PKCS7-----')) return l10n.t('This is a PKCS #7 bundle, not PEM certificates.');
  return l10n.t('There is no PEM certificate (-----BEGIN CERTIFICATE-----) in it.');
}

function unreadable(message: string): Finding {
  return {
    rule: 'certificate-unreadable',
    severity: 'error',
    message,
    cause: l10n.t('Google and Kubernetes take certificates in PEM only, the certificate of the server first.'),
    fix: {
      kind: 'command',
      text: l10n.t('Convert a DER file to PEM'),
      command: 'openssl x509 -inform der -in server.der -out tls.crt',
    },
  };
}

function checkChain(chain: Chain, host: string, now: number): Finding[] {
  const findings: Finding[] = [];
  const [leaf] = chain;
  const names = subjectAltNames(leaf);
  if (!coversHost(leaf, host))
    findings.push({
      rule: 'certificate-host',
      severity: 'error',
      message:
        names.length > 0
          ? l10n.t('The certificate is for {0}, not for {1}.', names.join(', '), host)
          : l10n.t(
              'The certificate names {0} only in its subject ({1}), not as subject alternative name.',
              host,
              oneLine(leaf.subject),
            ),
      cause:
        names.length > 0
          ? l10n.t(
              'Clients compare the host name they connect to with the subject alternative names and refuse others.',
            )
          : l10n.t('Go clients and browsers do not read the common name any more and refuse the connection.'),
      fix: { kind: 'advice', text: l10n.t('Issue a certificate with the subject alternative name DNS:{0}.', host) },
    });
  const kind = keyKind(leaf.publicKey);
  if (kind !== 'RSA-2048' && kind !== 'P-256')
    findings.push({
      rule: 'certificate-key-kind',
      severity: 'error',
      message: l10n.t('The key of the certificate is {0}.', kind),
      cause: l10n.t(
        'A certificate of a GKE Ingress can only have an RSA-2048 or an ECDSA P-256 key; Google refuses others.',
      ),
      fix: { kind: 'advice', text: l10n.t('Issue the certificate for an RSA-2048 or an ECDSA P-256 key.') },
    });
  // An authority that ends with the certificate is no second fault.
  const dates = chain.flatMap((certificate, index) => checkDates(certificate, index, now));
  findings.push(...dates.filter(({ rule }, index) => dates.findIndex((other) => other.rule === rule) === index));
  const usages = extendedKeyUsages(leaf);
  if (usages.length > 0 && !usages.includes(serverAuth))
    findings.push({
      rule: 'certificate-usage',
      severity: 'error',
      message: l10n.t('The certificate is not meant for servers.'),
      cause: l10n.t('Its extended key usage does not list serverAuth, so clients refuse it.'),
      fix: { kind: 'advice', text: l10n.t('Issue the certificate with the extended key usage serverAuth.') },
    });
  const misplaced = chain.findIndex((certificate, index) => {
    const issuer = chain[index + 1];
    return issuer !== undefined && !(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey));
  });
  if (misplaced >= 0)
    findings.push({
      rule: 'certificate-chain-order',
      severity: 'error',
      message: l10n.t('Certificate {0} of the chain is not issued by certificate {1}.', misplaced + 1, misplaced + 2),
      cause: l10n.t(
        'The certificate of the server stands first, then each certificate followed by the one that issued it.',
      ),
      fix: {
        kind: 'advice',
        text: l10n.t('Put the certificates in that order and leave out those that do not belong to it.'),
      },
    });
  if (chain.length > maxChainLength)
    findings.push({
      rule: 'certificate-chain-length',
      severity: 'error',
      message: l10n.t('The chain holds {0} certificates.', chain.length),
      cause: l10n.t('Google takes at most {0}.', maxChainLength),
      fix: { kind: 'advice', text: l10n.t('Leave the root certificate out; clients have it.') },
    });
  return findings;
}

function checkDates(certificate: X509Certificate, index: number, now: number): Finding[] {
  const from = certificate.validFromDate;
  const to = certificate.validToDate;
  const which =
    index === 0
      ? l10n.t('The certificate')
      : l10n.t('Certificate {0} of the chain ({1})', index + 1, oneLine(certificate.subject));
  const renew = { kind: 'advice', text: l10n.t('Issue a new certificate.') } as const;
  if (to.getTime() < now)
    return [
      {
        rule: 'certificate-expired',
        severity: 'error',
        message: l10n.t('{0} expired on {1}.', which, to.toISOString()),
        cause: l10n.t('Clients refuse a certificate after its last day.'),
        fix: renew,
      },
    ];
  if (from.getTime() > now)
    return [
      {
        rule: 'certificate-not-yet-valid',
        severity: 'error',
        message: l10n.t('{0} is not valid before {1}.', which, from.toISOString()),
        cause: l10n.t('Clients refuse a certificate before its first day, or the clock of this machine is wrong.'),
        fix: { kind: 'advice', text: l10n.t('Check the clock, or wait until then.') },
      },
    ];
  if (to.getTime() - now < renewBeforeMs)
    return [
      {
        rule: 'certificate-expires-soon',
        severity: 'warning',
        message: l10n.t('{0} expires on {1}.', which, to.toISOString()),
        cause: l10n.t('Clients refuse a certificate after its last day.'),
        fix: renew,
      },
    ];
  return [];
}

/**
 * What keeps a private key from serving with a certificate; nothing when it belongs to it.
 * @param key PEM as in `tls.key`; its content never gets into a message
 * @param certificate PEM as in `tls.crt`
 */
export function checkPrivateKey(key: string, certificate: string): readonly Finding[] {
  const chain = parseChain(certificate);
  return checkKey(key, typeof chain === 'string' ? undefined : chain);
}

function checkKey(pem: string, chain: Chain | undefined): Finding[] {
  const finding = (rule: string, message: string, cause: string, fix: Finding['fix']): Finding[] => [
    { rule, severity: 'error', message, cause, fix },
  ];
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(pem))
    return finding(
      'certificate-key-encrypted',
      l10n.t('The private key is encrypted.'),
      l10n.t('The load balancer cannot ask for a passphrase.'),
      {
        kind: 'command',
        text: l10n.t('Decrypt it'),
        command: 'openssl pkey -in encrypted.key -out tls.key',
      },
    );
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    return finding(
      'certificate-key-unreadable',
      pem.includes('BEGIN CERTIFICATE')
        ? l10n.t('This is a certificate, not a private key.')
        : l10n.t('The private key cannot be read as PEM.'),
      l10n.t('Google and Kubernetes take the private key in PEM (-----BEGIN PRIVATE KEY-----) only.'),
      { kind: 'advice', text: l10n.t('Use the private key that the certificate was requested with, in PEM.') },
    );
  }
  if (chain === undefined || chain[0].checkPrivateKey(key)) return [];
  const owner = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
  return owner > 0
    ? finding(
        'certificate-chain-order',
        l10n.t('The private key belongs to certificate {0} of the file, not to the first.', owner + 1),
        l10n.t('The certificate of the server stands first, then each certificate followed by the one that issued it.'),
        { kind: 'advice', text: l10n.t('Put the certificate of the server first.') },
      )
    : finding(
        'certificate-key-mismatch',
        l10n.t('The private key does not belong to the certificate.'),
        l10n.t('Google refuses a certificate whose public key is not that of the private key.'),
        { kind: 'advice', text: l10n.t('Use the private key that the certificate was requested with.') },
      );
}

/** Object identifiers of the extended key usages, which Node calls `keyUsage`; empty when the extension is absent. */
function extendedKeyUsages({ keyUsage }: { keyUsage?: readonly string[] | undefined }): readonly string[] {
  return keyUsage ?? [];
}

/** Such as `RSA-2048`, `P-256`, `P-384`, `ed25519`. */
function keyKind(publicKey: KeyObject): string {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  const type = publicKey.asymmetricKeyType ?? l10n.t('of an unknown kind');
  if (type === 'rsa') return `RSA-${modulusLength ?? 0}`;
  if (type === 'ec' && namedCurve !== undefined) return curveNames.get(namedCurve) ?? namedCurve;
  return type;
}

const curveNames = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
]);

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Issuance {
  subject: string;
  issuer: string;
  notBefore: Date;
  notAfter: Date;
  publicKey: KeyObject;
  signer: KeyObject;
  /** As `setExtensions` of node-forge takes them. */
  extensions: object[];
}

/**
 * Signs one certificate and returns its PEM. node-forge encodes names and extensions; it knows neither EC keys nor
 * ECDSA, so the public key goes in as `node:crypto` encodes it, and `node:crypto` signs.
 */
function issue({ asn1, pki }: Forge, options: Issuance): string {
  const template = pki.createCertificate();
  template.setSubject([commonName(asn1, options.subject)]);
  template.setIssuer([commonName(asn1, options.issuer)]);
  template.setExtensions([
    ...options.extensions,
    {
      id: '2.5.29.14',
      name: 'subjectKeyIdentifier',
      value: der(asn1, octetString(asn1, keyIdentifier(options.publicKey))),
    },
  ]);
  const { SEQUENCE, INTEGER, BITSTRING, OID, UTCTIME, NULL } = asn1.Type;
  const { UNIVERSAL } = asn1.Class;
  const sequence = (...items: Asn1[]) => asn1.create(UNIVERSAL, SEQUENCE, true, items);
  const time = (date: Date) => asn1.create(UNIVERSAL, UTCTIME, false, asn1.dateToUtcTime(date));

  const rsa = options.signer.asymmetricKeyType === 'rsa';
  const algorithm = asn1.create(UNIVERSAL, OID, false, asn1.oidToDer(rsa ? sha256WithRsa : ecdsaWithSha256).getBytes());
  // RFC 4055 §5 wants NULL parameters for RSA, RFC 5758 §3.2 wants none for ECDSA.
  const signatureAlgorithm = rsa ? sequence(algorithm, asn1.create(UNIVERSAL, NULL, false, '')) : sequence(algorithm);
  const toBeSigned = sequence(
    explicit(asn1, 0, asn1.create(UNIVERSAL, INTEGER, false, asn1.integerToDer(version3).getBytes())),
    asn1.create(UNIVERSAL, INTEGER, false, serialNumber().toString('binary')),
    signatureAlgorithm,
    pki.distinguishedNameToAsn1(template.issuer),
    sequence(time(options.notBefore), time(options.notAfter)),
    pki.distinguishedNameToAsn1(template.subject),
    asn1.fromDer(spkiOf(options.publicKey).toString('binary')),
    encodedExtensions(asn1, template.extensions as EncodedExtension[]),
  );
  const signature = sign('sha256', Buffer.from(der(asn1, toBeSigned), 'binary'), options.signer);
  const certificate = sequence(
    toBeSigned,
    signatureAlgorithm,
    asn1.create(UNIVERSAL, BITSTRING, false, `\x00${signature.toString('binary')}`),
  );
  return new X509Certificate(Buffer.from(der(asn1, certificate), 'binary')).toString();
}

/** What `setExtensions` of node-forge makes of each extension. */
interface EncodedExtension {
  id: string;
  critical?: boolean;
  value: Asn1 | string;
}

function encodedExtensions(asn1: Forge['asn1'], extensions: readonly EncodedExtension[]): Asn1 {
  const { SEQUENCE, OID, BOOLEAN, OCTETSTRING } = asn1.Type;
  const { UNIVERSAL } = asn1.Class;
  const encoded = extensions.map(({ id, critical, value }) =>
    asn1.create(UNIVERSAL, SEQUENCE, true, [
      asn1.create(UNIVERSAL, OID, false, asn1.oidToDer(id).getBytes()),
      ...(critical === true ? [asn1.create(UNIVERSAL, BOOLEAN, false, '\xff')] : []),
      asn1.create(UNIVERSAL, OCTETSTRING, false, typeof value === 'string' ? value : der(asn1, value)),
    ]),
  );
  return explicit(asn1, 3, asn1.create(UNIVERSAL, SEQUENCE, true, encoded));
}

type Asn1 = ReturnType<Forge['asn1']['create']>;

const version3 = 2;
const sha256WithRsa = '1.2.840.113549.1.1.11';
const ecdsaWithSha256 = '1.2.840.10045.4.3.2';

function der(asn1: Forge['asn1'], value: Asn1): string {
  return asn1.toDer(value).getBytes();
}

/** A context-specific tag: node-forge's types only know the universal ones. */
function explicit(asn1: Forge['asn1'], tag: number, content: Asn1): Asn1 {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, true, [content]);
}

function octetString(asn1: Forge['asn1'], bytes: Buffer): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, bytes.toString('binary'));
}

/** As UTF8String, because PrintableString has no `*`. node-forge's types ask for a class where it takes a type. */
function commonName(asn1: Forge['asn1'], value: string) {
  return { name: 'commonName', value, valueTagClass: asn1.Type.UTF8 as never };
}

/** 16 random bytes that encode a positive DER INTEGER without padding. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}
