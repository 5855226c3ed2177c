/**
 * Stage 5 of the connection test: does Milvus' own client get through?
 */
import * as l10n from '@vscode/l10n';
import { explainHttpAnswer } from './http2.ts';
import type { MilvusCalls } from './milvusClient.ts';
import { failed, passed, type Outcome, type ProbeFailure } from './outcome.ts';

/** Status codes of gRPC (grpc/grpc doc/statuscodes.md). */
export const grpcCode = {
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** How Milvus answered `Connect`. */
export type Greeting =
  | { kind: 'connected'; response: Record<string, unknown> }
  /** It wants a user name and password, or refuses those it got. */
  | { kind: 'unauthenticated'; reason: string }
  /** It knows no `Connect`: the SDK turns UNIMPLEMENTED, and with it every HTTP 404, into success. */
  | { kind: 'unknown' };

/** Calls `Connect` through the SDK. A refusal for want of credentials passes: Milvus itself gave it. */
export async function grpcStage(milvus: MilvusCalls, host: string, signal: AbortSignal): Promise<Outcome<Greeting>> {
  try {
    const response = await milvus.connect();
    if (isRecord(response) && isRecord(response.status))
      return passed(l10n.t('Milvus answered Connect'), { kind: 'connected', response });
    return await withoutConnect(milvus);
  } catch (error) {
    signal.throwIfAborted();
    const { code, details } = grpcError(error);
    if (code === grpcCode.unauthenticated)
      return passed(l10n.t('Milvus asks for credentials'), { kind: 'unauthenticated', reason: details });
    return failed(explainGrpcError(error, host));
  }
}

/** Milvus before 2.2.9 has no `Connect`; what knows no `GetVersion` either is not Milvus. */
async function withoutConnect(milvus: MilvusCalls): Promise<Outcome<Greeting>> {
  const version = await milvus.getVersion();
  if (isRecord(version) && isRecord(version.status))
    return passed(l10n.t('Milvus answered GetVersion'), { kind: 'unknown' });
  return failed({
    expected: l10n.t('Milvus answers Connect'),
    actual: l10n.t('UNIMPLEMENTED (code 12)'),
    cause: l10n.t('A gRPC server answers that is not Milvus, or the load balancer answered this connection with 404.'),
    fix: {
      kind: 'advice',
      text: l10n.t(
        'Check that the rule of the Ingress leads to the Service of Milvus and its port 19530, and run the test again.',
      ),
    },
  });
}

/** Code and text of a gRPC error; code -1 for any other error. */
export function grpcError(error: unknown): { code: number; details: string } {
  if (isRecord(error)) {
    const { code, details, message, reason } = error;
    const text = [details, reason, message].find((value) => typeof value === 'string' && value !== '');
    return { code: typeof code === 'number' ? code : -1, details: typeof text === 'string' ? text : '' };
  }
  return { code: -1, details: String(error) };
}

/** What a gRPC error means once TLS and HTTP/2 were shown to work. */
export function explainGrpcError(error: unknown, host: string): ProbeFailure {
  const { code, details } = grpcError(error);
  const httpStatus = /HTTP status code (\d{3})/.exec(details)?.[1];
  if (httpStatus !== undefined)
    return {
      ...explainHttpAnswer({ status: Number(httpStatus), contentType: '', location: '', body: '' }, host),
      actual: details,
    };
  const failure = {
    expected: l10n.t('Milvus answers Connect'),
    actual: code >= 0 ? l10n.t('{0} (code {1})', details, code) : details,
  };
  const advice = (cause: string, text: string): ProbeFailure => ({ ...failure, cause, fix: { kind: 'advice', text } });
  switch (code) {
    case grpcCode.deadlineExceeded:
      return grpcTimeout(failure.actual);
    case grpcCode.permissionDenied:
      return advice(
        l10n.t('The user has no right to this call.'),
        l10n.t('Test with another user, or grant the right in Milvus.'),
      );
    case grpcCode.resourceExhausted:
      return advice(
        l10n.t('Milvus refuses the call for its size or its rate.'),
        l10n.t('Raise proxy.grpc.serverMaxRecvSize, or the quota and limits of Milvus.'),
      );
    case grpcCode.unavailable:
      return advice(
        l10n.t(
          'The connection broke off although an earlier one worked: the pods of Milvus restart, or only some backends work.',
        ),
        l10n.t('Run the test again; when it stays so, check the Milvus pods and the health of the backends.'),
      );
    case grpcCode.internal:
      return advice(
        l10n.t(
          'The call was broken off on its way: the load balancer lost its connection to Milvus, or a proxy in between knows no gRPC trailers.',
        ),
        l10n.t('Check the logs of the Milvus pods, and go around the proxy in between.'),
      );
    default:
      return advice(
        l10n.t('The call reached a gRPC server, which refused it.'),
        l10n.t('Check the logs of the Milvus pods.'),
      );
  }
}

/** The failure when the client got no answer in time. */
export function grpcTimeout(actual: string): ProbeFailure {
  return {
    expected: l10n.t('Milvus answers Connect'),
    actual,
    cause: l10n.t(
      'The call goes through the load balancer but Milvus does not answer it: its proxy waits for a coordinator, or hangs.',
    ),
    fix: { kind: 'advice', text: l10n.t('Check the logs of the Milvus pods.') },
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
