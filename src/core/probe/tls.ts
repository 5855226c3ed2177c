/**
 * Stage 3 of the connection test: is the load balancer's certificate one that clients accept, and does it speak HTTP/2?
 */
import { once } from 'node:events';
import { isIP, type Socket } from 'node:net';
import type { X509Certificate } from 'node:crypto';
import { connect, getCACertificates, type TLSSocket } from 'node:tls';
import * as l10n from '@vscode/l10n';
import type { ServedCertificate } from '../model.ts';
import { coversHost, oneLine, readCertificates, subjectAltNames } from '../tls/certificate.ts';
import { failed, passed, type Outcome, type ProbeFailure } from './outcome.ts';

export interface TlsExpectation {
  host: string;
  /** PEM of the CA to trust besides the system's. */
  ca?: string;
  /** False for a port-forward to Milvus itself, whose certificate is for another name. */
  verify: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

export interface TlsOutcome extends Outcome<TLSSocket> {
  /** Present once the handshake is done, also when the certificate is refused. */
  certificate?: ServedCertificate;
}

/** PEM of every root that this machine trusts, and the given CA. */
export function trustedRoots(ca: string | undefined): string[] {
  return [...new Set([...systemRoots(), ...(ca === undefined ? [] : [ca])])];
}

function systemRoots(): string[] {
  try {
    return [...getCACertificates('default'), ...getCACertificates('system')];
  } catch {
    // A store of the operating system that cannot be read leaves the roots that Node brings.
    return getCACertificates('default');
  }
}

/**
 * Does the TLS handshake on an open TCP connection. The handshake accepts any certificate, so that each fault of it can
 * be told, not only the first that OpenSSL meets; then the certificate is judged as a strict client would.
 */
export async function tlsStage(tcp: Socket, expectation: TlsExpectation, signal: AbortSignal): Promise<TlsOutcome> {
  const { host, ca, verify, now } = expectation;
  const socket = connect({
    socket: tcp,
    ...(isIP(host) ? {} : { servername: host }),
    ALPNProtocols: ['h2'],
    ca: trustedRoots(ca),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => undefined);
  try {
    await once(socket, 'secureConnect', { signal });
  } catch (error) {
    signal.throwIfAborted();
    return failed(explainHandshake(error, host));
  }
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return failed(explainHandshake(new Error(l10n.t('the server showed no certificate')), host));
  const certificate = served(socket, leaf);
  const failures = [
    ...(verify ? judge(leaf, socket.authorizationError, { host, ca, now }) : []),
    ...judgeProtocol(socket),
  ];
  const [first] = failures;
  if (first !== undefined)
    return { ...failed({ ...first, actual: failures.map((failure) => failure.actual).join('; ') }), certificate };
  const detail = [
    certificate.protocol,
    certificate.alpn,
    verify
      ? l10n.t('certificate by {0}, valid until {1}', commonName(certificate.issuer), certificate.notAfter.slice(0, 10))
      : l10n.t('certificate of Milvus itself, not checked'),
  ].join(', ');
  return { ...passed(detail, socket), certificate };
}

/** The failure when the handshake was not answered in time. */
export function tlsTimeout(host: string, actual: string): ProbeFailure {
  return {
    expected: expectedHandshake(host),
    actual,
    cause: l10n.t(
      'Something accepts connections but does not answer the TLS handshake: a service without TLS that waits, or a proxy in between.',
    ),
    fix: { kind: 'advice', text: l10n.t('Check that the port is that of the HTTPS forwarding rule (443).') },
  };
}

function served(socket: TLSSocket, leaf: X509Certificate): ServedCertificate {
  return {
    subject: oneLine(leaf.subject),
    issuer: oneLine(leaf.issuer),
    names: subjectAltNames(leaf),
    notBefore: leaf.validFromDate.toISOString(),
    notAfter: leaf.validToDate.toISOString(),
    fingerprint256: leaf.fingerprint256,
    protocol: socket.getProtocol() ?? '',
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : '',
  };
}

const dateErrors = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/** Every fault of the certificate that a client would refuse it for. */
function judge(
  leaf: X509Certificate,
  chainError: unknown,
  { host, ca, now }: { host: string; ca: string | undefined; now: number },
): ProbeFailure[] {
  const failures: ProbeFailure[] = [];
  // An Error by its type, OpenSSL's code as a string in fact.
  const chainCode = typeof chainError === 'string' ? chainError : '';
  const notBefore = leaf.validFromDate;
  const notAfter = leaf.validToDate;
  if (notAfter.getTime() < now)
    failures.push({
      expected: expectedValid(),
      actual: l10n.t('the certificate expired on {0}', notAfter.toISOString()),
      cause: l10n.t('The certificate was not renewed, or the clock of this machine is wrong.'),
      fix: {
        kind: 'advice',
        text: l10n.t(
          'Renew the certificate in its Secret; a Google-managed one renews itself once DNS leads to the load balancer.',
        ),
      },
    });
  else if (notBefore.getTime() > now)
    failures.push({
      expected: expectedValid(),
      actual: l10n.t('the certificate is not valid before {0}', notBefore.toISOString()),
      cause: l10n.t('The clock of this machine is wrong, or the certificate was issued for later.'),
      fix: { kind: 'advice', text: l10n.t('Check the clock of this machine, or issue the certificate again.') },
    });
  else if (dateErrors.has(chainCode))
    failures.push({
      expected: expectedValid(),
      actual: l10n.t('a certificate of the chain is out of its dates ({0})', chainCode),
      cause: l10n.t('An authority in the chain has expired.'),
      fix: {
        kind: 'advice',
        text: l10n.t('Put the current intermediate certificates of the authority into the Secret.'),
      },
    });
  if (chainError && !dateErrors.has(chainCode))
    failures.push(explainChain(leaf, chainError instanceof Error ? chainError.message : chainCode, ca));
  if (!coversHost(leaf, host)) failures.push(explainName(leaf, host));
  return failures;
}

function explainChain(leaf: X509Certificate, code: string, ca: string | undefined): ProbeFailure {
  const selfSigned = leaf.checkIssued(leaf);
  const leafGiven =
    ca !== undefined && readCertificates(ca).some((given) => given.fingerprint256 === leaf.fingerprint256);
  const failure = {
    expected: l10n.t('a certificate issued by an authority that clients trust'),
    actual: l10n.t('issued by {0}, which is not trusted ({1})', oneLine(leaf.issuer), code),
  };
  if (leafGiven)
    return {
      ...failure,
      cause: l10n.t(
        'The certificate to trust is the one of the server, not the one of the authority that issued it. pymilvus takes that, Node does not.',
      ),
      fix: { kind: 'advice', text: l10n.t('Trust the certificate of {0} instead.', oneLine(leaf.issuer)) },
    };
  if (selfSigned)
    return {
      ...failure,
      cause: l10n.t('The certificate is self-signed, so clients accept it only when they are given it.'),
      fix: {
        kind: 'advice',
        text: l10n.t(
          'Give clients tls.crt of its Secret as certificate authority, or use a Google-managed certificate.',
        ),
      },
    };
  return {
    ...failure,
    cause:
      ca === undefined
        ? l10n.t(
            'It was issued by a private authority that this machine does not know, or the intermediate certificate is missing in the Secret.',
          )
        : l10n.t(
            'The given certificate authority did not issue it, or the intermediate certificate is missing in the Secret.',
          ),
    fix: {
      kind: 'advice',
      text: l10n.t(
        'Give clients the certificate of {0}, or put the intermediate certificates behind the server’s in tls.crt.',
        oneLine(leaf.issuer),
      ),
    },
  };
}

function explainName(leaf: X509Certificate, host: string): ProbeFailure {
  const names = subjectAltNames(leaf);
  const expected = l10n.t('a certificate with the subject alternative name {0}', host);
  const fix = {
    kind: 'advice',
    text: l10n.t('Issue a certificate with the subject alternative name {0}.', host),
  } as const;
  return names.length > 0
    ? {
        expected,
        actual: l10n.t('the certificate is for {0}', names.join(', ')),
        cause: l10n.t('The load balancer serves a certificate of another host name.'),
        fix,
      }
    : {
        expected,
        actual: l10n.t('the certificate names {0} only in its subject', oneLine(leaf.subject)),
        cause: l10n.t(
          'It has no subject alternative name. pymilvus and Node fall back to the subject, Go clients and browsers refuse it.',
        ),
        fix,
      };
}

function judgeProtocol(socket: TLSSocket): ProbeFailure[] {
  if (socket.alpnProtocol === 'h2') return [];
  return [
    {
      expected: expectedHttp2(),
      actual: l10n.t('the server agreed on no application protocol'),
      cause: notHttp2Cause(),
      fix: http2Fix(),
    },
  ];
}

function explainHandshake(error: unknown, host: string): ProbeFailure {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // Node has OpenSSL, VS Code has BoringSSL; their texts differ.
  const text = `${code} ${message}`.replaceAll('_', ' ').toLowerCase();
  const expected = expectedHandshake(host);
  if (text.includes('no application protocol'))
    return { expected: expectedHttp2(), actual: message, cause: notHttp2Cause(), fix: http2Fix() };
  if (/wrong version number|packet length|bad record type|http request/.test(text))
    return {
      expected,
      actual: l10n.t('an answer without TLS ({0})', message),
      cause: l10n.t('This port speaks no TLS: it is port 80, Milvus without TLS, or a proxy in between answers.'),
      fix: { kind: 'advice', text: l10n.t('Use the port of the HTTPS forwarding rule (443).') },
    };
  if (/unsupported protocol|protocol version|version too low/.test(text))
    return {
      expected,
      actual: message,
      cause: l10n.t('The server speaks no TLS 1.2 or later.'),
      fix: {
        kind: 'advice',
        text: l10n.t(
          'Set an SSL policy with a newer minimum version in the FrontendConfig, or remove the proxy in between.',
        ),
      },
    };
  if (/unrecognized name|handshake failure|internal error|no certificate/.test(text))
    return {
      expected,
      actual: message,
      cause: l10n.t('The load balancer has no certificate for {0}.', host),
      fix: certificateFix(),
    };
  if (text.includes('certificate required'))
    return { expected, actual: message, cause: clientCertificateCause(), fix: clientCertificateFix() };
  if (/econnreset|disconnected|epipe|socket hang up/.test(text))
    return {
      expected,
      actual: l10n.t('the connection was reset during the handshake ({0})', message),
      cause: l10n.t(
        'The load balancer has no certificate to show: a Google-managed certificate is not Active yet, or the load balancer was changed moments ago.',
      ),
      fix: certificateFix(),
    };
  return {
    expected,
    actual: message,
    cause: l10n.t('The TLS handshake failed.'),
    fix: { kind: 'advice', text: l10n.t('Check what answers on this port.') },
  };
}

/** Milvus with `tlsMode: 2` asks its clients for a certificate. */
export function clientCertificateCause(): string {
  return l10n.t('The server wants a client certificate, as Milvus does with tlsMode 2; a load balancer has none.');
}

export function clientCertificateFix(): ProbeFailure['fix'] {
  return { kind: 'advice', text: l10n.t('Set common.security.tlsMode to 1.') };
}

function certificateFix(): ProbeFailure['fix'] {
  return {
    kind: 'advice',
    text: l10n.t(
      'Check the certificate of the Ingress: its Secret, or the status of the ManagedCertificate. After it is Active the load balancer needs up to 30 min.',
    ),
  };
}

function http2Fix(): ProbeFailure['fix'] {
  return {
    kind: 'advice',
    text: l10n.t('Use the port of the HTTPS forwarding rule (443), and go around the TLS proxy in between.'),
  };
}

function notHttp2Cause(): string {
  return l10n.t(
    'Something other than the load balancer answers, such as a TLS proxy of the network: gRPC needs HTTP/2, which the load balancer offers on HTTPS.',
  );
}

function expectedHandshake(host: string): string {
  return l10n.t('a TLS handshake for {0}', host);
}

function expectedValid(): string {
  return l10n.t('a certificate that is valid today');
}

function expectedHttp2(): string {
  return l10n.t('HTTP/2 (ALPN h2)');
}

function commonName(distinguishedName: string): string {
  return /(?:^|, )CN=([^,]+)/.exec(distinguishedName)?.[1] ?? distinguishedName;
}
