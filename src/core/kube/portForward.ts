import type { KubeConfig, PortForward } from '@kubernetes/client-node';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import type { Disposable } from '../ports.ts';

/** The parts of a `ws` WebSocket that the wrapper needs. */
interface Socket {
  on(event: 'close' | 'error', listener: () => void): unknown;
  close(): void;
  terminate(): void;
}

/** How long a WebSocket may take to close by itself. */
const closeMs = 1000;

/**
 * Forwards a free loopback port to a port of a pod, one WebSocket for each connection. Wraps the library's PortForward,
 * which leaves WebSockets open after a local reset and local sockets open after a cut.
 *
 * @param newKubeConfig called for each connection, so that credentials are fresh.
 * @param onError receives what the API server or the kubelet says about a connection that failed.
 */
export async function forwardPort(
  Forward: new (config: KubeConfig) => PortForward,
  newKubeConfig: () => Promise<KubeConfig>,
  target: { namespace: string; pod: string; port: number },
  onError: (message: string) => void,
  signal?: AbortSignal,
): Promise<{ port: number } & Disposable> {
  signal?.throwIfAborted();
  const sockets = new Set<net.Socket>();
  const webSockets = new Set<Socket>();

  const connect = async (local: net.Socket): Promise<void> => {
    sockets.add(local);
    local.on('close', () => sockets.delete(local));
    // A reset by the local client also closes, which is handled below.
    local.on('error', () => undefined);
    local.pause();
    const errors = new PassThrough();
    errors.on('data', (data: Buffer) => {
      // Empty chunks are no error.
      if (data.length === 0) return;
      onError(data.toString());
      local.destroy();
    });
    let webSocket: Socket;
    try {
      const forward = new Forward(await newKubeConfig());
      webSocket = (await forward.portForward(
        target.namespace,
        target.pod,
        [target.port],
        local,
        errors,
        local,
      )) as Socket;
    } catch (error) {
      // The library rejects with an ErrorEvent of `ws`, which is no Error but has a message.
      onError(String((error as { message?: unknown }).message ?? error));
      local.destroy();
      return;
    }
    webSockets.add(webSocket);
    const close = () => {
      if (!webSockets.delete(webSocket)) return;
      webSocket.close();
      setTimeout(() => {
        webSocket.terminate();
      }, closeMs).unref();
    };
    webSocket.on('close', () => {
      webSockets.delete(webSocket);
      local.destroySoon();
    });
    webSocket.on('error', () => local.destroy());
    local.on('close', close);
    if (local.destroyed) close();
    // The library listens for data, which does not resume a socket that was paused explicitly.
    else local.resume();
  };

  const server = net.createServer((local) => void connect(local));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const dispose = () => {
    signal?.removeEventListener('abort', dispose);
    server.close();
    for (const socket of sockets) socket.destroy();
    for (const webSocket of webSockets) webSocket.terminate();
    webSockets.clear();
  };
  signal?.addEventListener('abort', dispose, { once: true });
  const address = server.address();
  return { port: typeof address === 'object' && address ? address.port : 0, dispose };
}
