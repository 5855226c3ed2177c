/**
 * Keeps every socket of one connection test, so that none outlives it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';

/** Sockets opened in the asynchronous context of {@link OpenSockets.run}, by whatever library. */
const owner = new AsyncLocalStorage<OpenSockets>();

/**
 * The sockets that are opened by work run through {@link run}. grpc-js keeps a socket whose TLS handshake is not
 * answered even after the channel is closed (`lib transport.ts`, no connect timeout), and gives no way to reach it; Node
 * announces each client socket on the diagnostics channel `net.client.socket`, in the context of who opens it.
 */
export class OpenSockets {
  readonly #sockets = new Set<Socket>();
  #closing = false;
  readonly #onSocket = (message: unknown) => {
    if (owner.getStore() !== this) return;
    if (typeof message !== 'object' || message === null || !('socket' in message)) return;
    if (message.socket instanceof Socket) this.#add(message.socket);
  };

  constructor() {
    subscribe('net.client.socket', this.#onSocket);
  }

  /** Runs `work` such that each socket it opens, now or later, belongs to this set. */
  run<T>(work: () => T): T {
    return owner.run(this, work);
  }

  /** How many are open. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Destroys every socket, so that pending work on them fails at once; later ones are destroyed as they open. */
  destroyAll(): void {
    this.#closing = true;
    // With an error, because grpc-js does not see a socket that merely closes during the TLS handshake.
    for (const socket of this.#sockets) socket.destroy(new Error('The connection test is over'));
  }

  /** Destroys every socket and resolves when all are closed. */
  async close(): Promise<void> {
    this.destroyAll();
    while (this.#sockets.size > 0)
      await Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    unsubscribe('net.client.socket', this.#onSocket);
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
    // Errors after the test is over have no reader.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    // It is announced before it begins to connect, and connecting revives a destroyed socket.
    if (this.#closing) process.nextTick(() => socket.destroy());
  }
}
