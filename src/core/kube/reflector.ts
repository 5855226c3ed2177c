import type { KubeObject } from '../model.ts';
import type { Clock, Disposable } from '../ports.ts';
import { isKubeError, type KubeError } from './errors.ts';
import type { WatchEvent } from './transport.ts';

/** A kind to watch. */
export interface WatchedKind {
  apiVersion: string;
  kind: string;
}

/** Which objects of a kind to watch. */
export interface WatchScope {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

/** What a reflector needs from a cluster. Both calls may throw {@link KubeError}. */
export interface WatchSource {
  listWithVersion(
    kind: WatchedKind,
    options: WatchScope & { signal?: AbortSignal },
  ): Promise<{ items: KubeObject[]; resourceVersion: string }>;
  watch(
    kind: WatchedKind,
    options: WatchScope & {
      resourceVersion: string;
      timeoutSeconds: number;
      idleMs: number;
      onOpen?: () => void;
      signal?: AbortSignal;
    },
  ): AsyncIterable<WatchEvent>;
}

/** What a reflector tells. The calls come in the order in which things happened, none after `dispose()`. */
export interface ReflectorListener {
  /** These are all objects now. */
  replaced(objects: readonly KubeObject[]): void;
  changed(object: KubeObject): void;
  removed(object: KubeObject): void;
  /** Forbidden (403) or unknown to the API server (404): there are no objects to show. It is tried again later. */
  unreadable(error: KubeError): void;
  /** The objects may be out of date from now on; the reflector goes on trying. */
  interrupted(error: unknown): void;
  /** The objects are up to date again after an interruption. */
  recovered(): void;
}

export interface ReflectorDeps {
  clock: Clock;
  /** Between 0 and 1, for jitter. */
  random?: () => number;
  /** Limit for silence of a watch. */
  idleMs?: number;
}

/** Bookmarks come once a minute, so a watch that is silent for longer is dead. */
const defaultIdleMs = 90_000;
const firstPauseMs = 500;
const longestPauseMs = 30_000;
/** A `Retry-After` beyond this is not waited for: it is more likely a mistake. */
const longestRetryAfterMs = 300_000;
/** A forbidden or unknown kind is looked at again after this: a role may be granted, a CRD installed. */
const unreadablePauseMs = 30_000;
/** A watch that lived this long, and a list this long after the one before, do not count as a restart storm. */
const steadyMs = 5000;

/**
 * Keeps the objects of one kind current: list, then watch from the list's resourceVersion; a watch that ends is resumed
 * from the last version seen, an expired version (410) is listed again, errors are retried with growing pauses. The
 * library's own informer stops silently or restarts in a storm (kubernetes-client/javascript#596, #958, #1496, #1933).
 */
export function startReflector(
  source: WatchSource,
  kind: WatchedKind,
  scope: WatchScope,
  listener: ReflectorListener,
  deps: ReflectorDeps,
): Disposable {
  const stop = new AbortController();
  void new Reflector(source, kind, scope, listener, deps, stop.signal).run();
  return {
    dispose: () => {
      stop.abort();
    },
  };
}

class Reflector {
  readonly #source: WatchSource;
  readonly #kind: WatchedKind;
  readonly #scope: WatchScope;
  readonly #listener: ReflectorListener;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #idleMs: number;
  readonly #signal: AbortSignal;
  /** Where the next watch begins; undefined when a list is needed. */
  #version: string | undefined;
  #failures = 0;
  #listedAt = -Infinity;
  /** When the present watch was answered. */
  #openedAt: number | undefined;
  #interrupted = false;

  constructor(
    source: WatchSource,
    kind: WatchedKind,
    scope: WatchScope,
    listener: ReflectorListener,
    deps: ReflectorDeps,
    signal: AbortSignal,
  ) {
    this.#source = source;
    this.#kind = kind;
    this.#scope = scope;
    this.#listener = listener;
    this.#clock = deps.clock;
    this.#random = deps.random ?? Math.random;
    this.#idleMs = deps.idleMs ?? defaultIdleMs;
    this.#signal = signal;
  }

  /** Runs until the signal is aborted or the source has ended. Never rejects. */
  async run(): Promise<void> {
    while (!this.#stopped()) {
      let pauseMs: number;
      try {
        pauseMs = await this.#round();
      } catch (error) {
        if (this.#stopped()) return;
        if (error instanceof Error && error.name === 'AbortError') {
          // The connection was disposed of before this watch.
          this.#listener.interrupted(error);
          return;
        }
        pauseMs = this.#pauseAfter(error);
      }
      if (pauseMs > 0) await this.#clock.sleep(pauseMs, this.#signal).catch(() => undefined);
    }
  }

  #stopped(): boolean {
    return this.#signal.aborted;
  }

  /** Lists if need be and watches until the API server ends it. Answers the pause before the next round. */
  async #round(): Promise<number> {
    const signal = this.#signal;
    this.#openedAt = undefined;
    if (this.#version === undefined) {
      const { items, resourceVersion } = await this.#source.listWithVersion(this.#kind, { ...this.#scope, signal });
      if (signal.aborted) return 0;
      this.#listedAt = this.#clock.now();
      this.#version = resourceVersion;
      this.#listener.replaced(items);
      this.#current();
    }
    const events = this.#source.watch(this.#kind, {
      ...this.#scope,
      resourceVersion: this.#version,
      // Spread, so that the watches of many kinds do not all end at once.
      timeoutSeconds: Math.round(240 + 60 * this.#random()),
      idleMs: this.#idleMs,
      onOpen: () => {
        this.#openedAt = this.#clock.now();
        this.#current();
      },
      signal,
    });
    for await (const event of events) {
      if (signal.aborted) return 0;
      this.#take(event);
    }
    // A server that ends each watch at once must not be asked in a tight loop.
    return this.#forgiven() ? 0 : this.#nextPause();
  }

  /** Whether the watch lived long enough for earlier failures not to count any more. */
  #forgiven(): boolean {
    if (this.#openedAt === undefined || this.#clock.now() - this.#openedAt < steadyMs) return false;
    this.#failures = 0;
    return true;
  }

  #take({ type, object }: WatchEvent): void {
    const version = object.metadata.resourceVersion;
    if (version !== undefined) this.#version = version;
    if (type === 'BOOKMARK') return;
    this.#failures = 0;
    if (type === 'DELETED') this.#listener.removed(object);
    else this.#listener.changed(object);
  }

  #current(): void {
    if (!this.#interrupted) return;
    this.#interrupted = false;
    this.#listener.recovered();
  }

  #pauseAfter(error: unknown): number {
    this.#forgiven();
    if (isKubeError(error) && error.kind === 'answer') {
      if (error.status === 410) {
        this.#version = undefined;
        // The version is simply too old: list again at once, unless that was just done.
        if (this.#clock.now() - this.#listedAt >= steadyMs) return 0;
        return this.#nextPause();
      }
      if (error.status === 403 || error.status === 404) {
        this.#version = undefined;
        this.#failures = 0;
        this.#interrupted = false;
        this.#listener.unreadable(error);
        return unreadablePauseMs;
      }
      // As client-go: what the server refuses for another reason than load or login may be due to the version.
      if (error.status !== 401 && error.status !== 429 && error.status !== 503) this.#version = undefined;
    }
    this.#interrupted = true;
    this.#listener.interrupted(error);
    const asked = isKubeError(error) ? Math.min(error.retryAfterMs ?? 0, longestRetryAfterMs) : 0;
    return Math.max(this.#nextPause(), asked);
  }

  /** Doubles up to a cap; half of it is random, so that many clients do not come back at once. */
  #nextPause(): number {
    const full = Math.min(longestPauseMs, firstPauseMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    return full * (0.5 + 0.5 * this.#random());
  }
}
