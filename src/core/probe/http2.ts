/**
 * Stage 4 of the connection test: who answers a gRPC call on this host name, Milvus or the load balancer itself?
 */
import { connect, constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import * as l10n from '@vscode/l10n';
import { failed, passed, type Outcome, type ProbeFailure } from './outcome.ts';
import { clientCertificateCause, clientCertificateFix } from './tls.ts';

/** An HTTP answer that is no gRPC answer. */
export interface HttpAnswer {
  status: number;
  contentType: string;
  location: string;
  /** The beginning of the body as text. */
  body: string;
}

const getVersion = '/milvus.proto.milvus.MilvusService/GetVersion';
/** gRPC frame of an empty message: not compressed, no bytes. */
const emptyMessage = Buffer.alloc(5);
const maxBody = 2048;

/**
 * Calls `GetVersion` by plain HTTP/2 on the TLS connection. Any gRPC answer passes, also one that refuses the call for
 * want of credentials: it shows that the call went through. Destroys the connection.
 */
export async function http2Stage(socket: TLSSocket, host: string, signal: AbortSignal): Promise<Outcome<true>> {
  const session = connect(`https://${host}`, { createConnection: () => socket });
  try {
    const answer = await new Promise<HttpAnswer>((resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
      session.on('error', reject);
      session.on('goaway', (code) => {
        if (code !== constants.NGHTTP2_NO_ERROR) reject(new Error(`GOAWAY ${code}`));
      });
      session.on('close', () => {
        reject(new Error(l10n.t('the connection was closed')));
      });
      const stream = session.request({
        ':method': 'POST',
        ':path': getVersion,
        ':authority': host,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.on('error', reject);
      stream.on('response', (headers) => {
        const text = (value: unknown) => (typeof value === 'string' ? value : '');
        const answer: HttpAnswer = {
          status: headers[':status'] ?? 0,
          contentType: text(headers['content-type']),
          location: text(headers.location),
          body: '',
        };
        if (isGrpc(answer)) {
          resolve(answer);
          return;
        }
        stream.setEncoding('utf8');
        stream.on('data', (chunk: string) => {
          answer.body = (answer.body + chunk).slice(0, maxBody);
        });
        stream.on('end', () => {
          resolve(answer);
        });
      });
      stream.end(emptyMessage);
    });
    return isGrpc(answer)
      ? passed(l10n.t('HTTP/2 {0}, {1}', answer.status, answer.contentType), true)
      : failed(explainHttpAnswer(answer, host));
  } catch (error) {
    signal.throwIfAborted();
    return failed(explainHttp2Error(error));
  } finally {
    session.destroy();
  }
}

function isGrpc(answer: HttpAnswer): boolean {
  return answer.status === constants.HTTP_STATUS_OK && answer.contentType.startsWith('application/grpc');
}

/** The failure when the call was not answered in time. */
export function http2Timeout(actual: string): ProbeFailure {
  return {
    expected: expectedAnswer(),
    actual,
    cause: l10n.t(
      'The connection is open but the call is not answered: the load balancer waits for Milvus, or Milvus hangs.',
    ),
    fix: { kind: 'advice', text: l10n.t('Check the health of the backends and the logs of the Milvus pods.') },
  };
}

function expectedAnswer(): string {
  return l10n.t('a gRPC answer of Milvus');
}

function explainHttp2Error(error: unknown): ProbeFailure {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const text = `${code} ${message}`.replaceAll('_', ' ').toLowerCase();
  const expected = expectedAnswer();
  if (/certificate required|bad certificate/.test(text))
    return { expected, actual: message, cause: clientCertificateCause(), fix: clientCertificateFix() };
  if (text.includes('http2 stream error') || text.includes('stream closed'))
    return {
      expected,
      actual: message,
      cause: l10n.t(
        'The server took the connection but broke off the call: the load balancer lost its connection to Milvus, or it is just being changed.',
      ),
      fix: {
        kind: 'advice',
        text: l10n.t(
          'Run the test again; when it stays so, check the health of the backends and the logs of the Milvus pods.',
        ),
      },
    };
  return {
    expected,
    actual: message,
    cause: l10n.t('The server agreed on HTTP/2 but broke off the connection.'),
    fix: { kind: 'advice', text: l10n.t('Run the test again; when it stays so, check what answers on this port.') },
  };
}

/** Body of gin's and Go's own 404, which Milvus' REST server gives. */
const goNotFound = '404 page not found';

/** What an HTTP answer in place of a gRPC answer means behind a GKE Ingress. */
export function explainHttpAnswer(answer: HttpAnswer, host: string): ProbeFailure {
  const { status, contentType, location, body } = answer;
  const failure = {
    expected: expectedAnswer(),
    actual: describe(answer),
  };
  const advice = (cause: string, text: string): ProbeFailure => ({ ...failure, cause, fix: { kind: 'advice', text } });
  const backendsOverHttp1 = () =>
    advice(
      l10n.t('Milvus itself answered as a web server: the load balancer speaks HTTP/1.1 to it instead of HTTP/2.'),
      l10n.t(
        'Annotate the Service with cloud.google.com/app-protocols: \'{"milvus":"HTTP2"}\', with the name of its gRPC port in place of milvus.',
      ),
    );
  if (status === 404 && body.includes(goNotFound)) return backendsOverHttp1();
  if (status === 415 || body.includes('invalid content-type') || body.includes('invalid gRPC request'))
    return backendsOverHttp1();
  if (status === 404)
    return advice(
      l10n.t(
        'The load balancer has no rule for the host name {0}, so its default backend answered. The Ingress names another host, or the load balancer is not programmed yet.',
        host,
      ),
      l10n.t('Compare the host of the Ingress rule with {0}. A change of the Ingress takes some minutes.', host),
    );
  if (status === 502)
    return advice(
      l10n.t(
        'The load balancer cannot talk to Milvus: Milvus does not speak TLS (tlsMode 0), app-protocols is not HTTP2, or its pods restart.',
      ),
      l10n.t(
        'Check that the effective configuration of Milvus has common.security.tlsMode 1, the annotation cloud.google.com/app-protocols of the Service, and its pods.',
      ),
    );
  if (status === 503)
    return advice(
      l10n.t(
        'The load balancer has no healthy backend: no pod is ready, or its health check asks the wrong port or path.',
      ),
      l10n.t(
        'Check that the Service names a BackendConfig whose health check is HTTP on port 9091 with the path /healthz, and that the Milvus pods are ready.',
      ),
    );
  if (status === 504)
    return advice(
      l10n.t('Milvus did not answer within the time-out of the backend service.'),
      l10n.t('Raise timeoutSec of the BackendConfig, and check the logs of the Milvus pods.'),
    );
  if (status >= 300 && status < 400)
    return location.includes('accounts.google.com')
      ? identityAwareProxy(failure)
      : advice(
          l10n.t(
            'The load balancer or a proxy in between redirects to {0}; gRPC clients follow no redirect.',
            location,
          ),
          l10n.t(
            'Use the port of the HTTPS forwarding rule (443), and remove the redirect from the FrontendConfig when it is not wanted.',
          ),
        );
  if (status === 401) return identityAwareProxy(failure);
  if (status === 403)
    return advice(
      l10n.t(
        'A policy in front of Milvus refuses this client: Cloud Armor, Identity-Aware Proxy, or a proxy of this network.',
      ),
      l10n.t('Allow the address of this client in the Cloud Armor policy that the BackendConfig names.'),
    );
  if (status === 429)
    return advice(
      l10n.t('A rate limit of the load balancer refuses the call.'),
      l10n.t('Wait, or raise the rate limit of the Cloud Armor policy.'),
    );
  if (status === 400)
    return advice(
      l10n.t('Something in front of Milvus takes the call for malformed, such as a proxy that knows no gRPC.'),
      l10n.t('Go around the proxy in between, and check the annotation cloud.google.com/app-protocols of the Service.'),
    );
  if (status === 200)
    return advice(
      l10n.t(
        'Something other than Milvus answers: {0} is no gRPC content type.',
        contentType === '' ? '""' : contentType,
      ),
      l10n.t('Check that the rule of the Ingress leads to the Service of Milvus and its port 19530.'),
    );
  return advice(
    l10n.t('Something in front of Milvus answers instead of it.'),
    l10n.t('Check what answers for {0}, and the health of the backends.', host),
  );
}

function identityAwareProxy(failure: { expected: string; actual: string }): ProbeFailure {
  return {
    ...failure,
    cause: l10n.t('Identity-Aware Proxy asks for a login, which gRPC clients cannot do.'),
    fix: { kind: 'advice', text: l10n.t('Switch off iap in the BackendConfig of the Service.') },
  };
}

function describe({ status, contentType, location, body }: HttpAnswer): string {
  const text = body
    .replace(/<(style|script|title)[\s\S]*?<\/\1>/gi, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 160);
  return [`HTTP ${status}`, contentType, location, text === '' ? '' : `"${text}"`].filter(Boolean).join(', ');
}
