/**
 * Stage 2 of the connection test: does something listen on the address?
 */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import * as l10n from '@vscode/l10n';
import { failed, passed, type Outcome, type ProbeFailure } from './outcome.ts';

/** Opens a TCP connection. The caller owns the socket. */
export async function tcpStage(address: string, port: number, signal: AbortSignal): Promise<Outcome<Socket>> {
  const socket = connect({ host: address, port });
  try {
    await once(socket, 'connect', { signal });
  } catch (error) {
    signal.throwIfAborted();
    return failed(explainTcpError(error, address, port));
  }
  socket.setNoDelay(true);
  return passed(endpoint(address, port), socket);
}

/** `address:port`, with brackets for IPv6. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function explainTcpError(error: unknown, address: string, port: number): ProbeFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  const expected = expectedConnection(address, port);
  if (code === 'ECONNREFUSED')
    return {
      expected,
      actual: l10n.t('connection refused ({0})', message),
      cause: l10n.t(
        'Nothing listens on port {0} of {1}: the load balancer has no forwarding rule for it yet, or the address is another one.',
        port,
        address,
      ),
      fix: {
        kind: 'advice',
        text: l10n.t(
          'Compare {0} with the address in the status of the Ingress. A new load balancer takes some minutes.',
          address,
        ),
      },
    };
  if (code === 'ETIMEDOUT') return tcpTimeout(address, port, message);
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return {
      expected,
      actual: l10n.t('not reachable ({0})', message),
      cause: l10n.t('This machine has no route to {0}.', address),
      fix: { kind: 'advice', text: l10n.t('Check the network and VPN of this machine.') },
    };
  return {
    expected,
    actual: message,
    cause: l10n.t('The connection was broken off while it was opened.'),
    fix: { kind: 'advice', text: l10n.t('Check firewalls and VPN between this machine and {0}.', address) },
  };
}

/** The failure when no answer came in time. */
export function tcpTimeout(address: string, port: number, actual: string): ProbeFailure {
  return {
    expected: expectedConnection(address, port),
    actual,
    cause: l10n.t('Packets to {0} are dropped: a firewall stands between, or nobody owns the address.', address),
    fix: {
      kind: 'advice',
      text: l10n.t(
        'Compare {0} with the address in the status of the Ingress, and check that this network may open port {1}.',
        address,
        port,
      ),
    },
  };
}

function expectedConnection(address: string, port: number): string {
  return l10n.t('a TCP connection to {0}', endpoint(address, port));
}
