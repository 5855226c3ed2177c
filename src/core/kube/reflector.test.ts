import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../model.ts';
import type { Clock } from '../ports.ts';
import { KubeError } from './errors.ts';
import { until } from './faultServer.ts';
import { startReflector, type ReflectorListener, type WatchSource } from './reflector.ts';
import type { WatchEvent } from './transport.ts';

const kind = { apiVersion: 'v1', kind: 'Service' };
const object = (name: string, resourceVersion: string): KubeObject => ({
  ...kind,
  metadata: { name, resourceVersion },
});
const event = (type: WatchEvent['type'], name: string, version: string): WatchEvent => ({
  type,
  object: object(name, version),
});
const answer = (status: number, retryAfterMs?: number) =>
  new KubeError({ kind: 'answer', message: `HTTP ${status}`, status, retryAfterMs });
const network = () => new KubeError({ kind: 'network', message: 'cut', code: 'ECONNRESET' });

const silent: ReflectorListener = {
  replaced: () => undefined,
  changed: () => undefined,
  removed: () => undefined,
  unreadable: () => undefined,
  interrupted: () => undefined,
  recovered: () => undefined,
};

/** One call of a script: what a list answers, or what a watch does (`lasts` in milliseconds of the script's clock). */
type Move =
  { list: string[]; version: string } | { watch: WatchEvent[]; lasts?: number; then?: Error } | { fails: Error };

/**
 * Runs a reflector against a script on a clock that jumps over every pause. When the script is over, a watch stays open
 * until the reflector is disposed of.
 */
async function play(moves: Move[], jitter = 1) {
  const calls: string[] = [];
  const told: string[] = [];
  const pauses: number[] = [];
  const limits: { idleMs: number; timeoutSeconds: number }[] = [];
  let now = 1_000_000;
  let over = false;
  const clock: Clock = {
    now: () => now,
    sleep: async (ms) => {
      pauses.push(ms);
      now += ms;
      // Not a mere microtask: a loop without end must not keep the test from failing.
      await new Promise(setImmediate);
    },
  };
  const next = () => moves.shift();
  const source: WatchSource = {
    async listWithVersion() {
      calls.push('list');
      await Promise.resolve();
      const move = next();
      if (move && 'list' in move)
        return { items: move.list.map((name) => object(name, move.version)), resourceVersion: move.version };
      throw move && 'fails' in move ? move.fails : new Error('the script wants no list here');
    },
    async *watch(_kind, { resourceVersion, onOpen, signal, idleMs, timeoutSeconds }) {
      limits.push({ idleMs, timeoutSeconds });
      calls.push(`watch ${resourceVersion}`);
      await Promise.resolve();
      const move = next();
      if (!move) {
        over = true;
        await new Promise((_resolve, reject) =>
          signal?.addEventListener('abort', () => {
            reject(signal.reason as Error);
          }),
        );
        return;
      }
      if ('fails' in move) throw move.fails;
      if (!('watch' in move)) throw new Error('the script wants no watch here');
      onOpen?.();
      now += move.lasts ?? 0;
      yield* move.watch;
      if (move.then) throw move.then;
    },
  };
  const listener: ReflectorListener = {
    replaced: (objects) => void told.push(`replaced ${objects.map((o) => o.metadata.name).join(',')}`),
    changed: (changed) => void told.push(`changed ${changed.metadata.name}`),
    removed: (removed) => void told.push(`removed ${removed.metadata.name}`),
    unreadable: (error) => void told.push(`unreadable ${error.status}`),
    interrupted: () => void told.push('interrupted'),
    recovered: () => void told.push('recovered'),
  };
  const reflector = startReflector(source, kind, {}, listener, { clock, random: () => jitter });
  await until(() => over, 'the script is over');
  reflector.dispose();
  await new Promise(setImmediate);
  return { calls, told, pauses, limits };
}

describe('startReflector', () => {
  it('lists, then watches from the version of the list, and resumes after a clean end where it was', async () => {
    const { calls, told, pauses, limits } = await play([
      { list: ['a'], version: '10' },
      { watch: [event('ADDED', 'b', '11'), event('BOOKMARK', '', '15')], lasts: 240_000 },
      { watch: [event('DELETED', 'a', '16')], lasts: 240_000 },
    ]);
    expect(calls).toEqual(['list', 'watch 10', 'watch 15', 'watch 16']);
    expect(told).toEqual(['replaced a', 'changed b', 'removed a']);
    // Bookmarks come once a minute, so silence must be allowed for longer.
    expect(limits[0]).toEqual({ idleMs: 90_000, timeoutSeconds: 300 });
    expect(pauses).toEqual([]);
  });

  it('resumes after a cut without listing again', async () => {
    const { calls, told, pauses } = await play([
      { list: [], version: '1' },
      { watch: [event('ADDED', 'a', '2')], then: network() },
      { watch: [] },
    ]);
    expect(calls.slice(0, 3)).toEqual(['list', 'watch 1', 'watch 2']);
    expect(told).toEqual(['replaced ', 'changed a', 'interrupted', 'recovered']);
    expect(pauses[0]).toBe(500);
  });

  it('lists again after 410, at once when the last list is some time ago, else after a pause', async () => {
    const { calls, pauses } = await play([
      { list: [], version: '1' },
      { watch: [], lasts: 60_000, then: answer(410) },
      { list: ['a'], version: '50' },
      { fails: answer(410) },
      { list: ['a'], version: '60' },
    ]);
    expect(calls).toEqual(['list', 'watch 1', 'list', 'watch 50', 'list', 'watch 60']);
    expect(pauses).toEqual([500]);
  });

  it('waits longer after each failure, up to a cap, with jitter, and starts afresh after a good watch', async () => {
    const failures: Move[] = Array.from({ length: 9 }, () => ({ fails: network() }));
    const afterwards: Move[] = [
      { list: [], version: '1' },
      { watch: [], lasts: 10_000, then: network() },
    ];
    const doubled = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 500];
    expect((await play([...failures, ...afterwards])).pauses).toEqual(doubled);
    expect((await play([...failures, ...afterwards], 0)).pauses).toEqual(doubled.map((ms) => ms / 2));
  });

  it('honours Retry-After within reason', async () => {
    const { pauses, calls } = await play([
      { list: [], version: '1' },
      { fails: answer(429, 20_000) },
      { fails: answer(503, 3_600_000) },
      { watch: [] },
    ]);
    expect(pauses.slice(0, 2)).toEqual([20_000, 300_000]);
    // Load says nothing about the version, so it is kept.
    expect(calls.slice(0, 4)).toEqual(['list', 'watch 1', 'watch 1', 'watch 1']);
  });

  it('does not ask in a tight loop a server that ends every watch at once', async () => {
    const ends: Move[] = Array.from({ length: 5 }, () => ({ watch: [event('BOOKMARK', '', '2')] }));
    const { pauses } = await play([{ list: [], version: '1' }, ...ends]);
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000]);
  });

  it.each([403, 404])('tells %d as unreadable and looks again later', async (status) => {
    const { calls, told, pauses } = await play([
      { fails: answer(status) },
      { list: ['a'], version: '1' },
      { watch: [], lasts: 60_000, then: answer(status) },
      { list: [], version: '2' },
    ]);
    expect(calls).toEqual(['list', 'list', 'watch 1', 'list', 'watch 2']);
    expect(told).toEqual([`unreadable ${status}`, 'replaced a', `unreadable ${status}`, 'replaced ']);
    expect(pauses).toEqual([30_000, 30_000]);
  });

  it('lists again when the server refuses a watch for an unclear reason, which may be its version', async () => {
    const { calls } = await play([{ list: [], version: 'odd' }, { fails: answer(500) }, { list: [], version: '2' }]);
    expect(calls).toEqual(['list', 'watch odd', 'list', 'watch 2']);
  });

  it('ends when its connection is disposed of', async () => {
    const told: string[] = [];
    let calls = 0;
    const source: WatchSource = {
      listWithVersion: () => {
        calls += 1;
        return Promise.reject(new DOMException('disposed', 'AbortError'));
      },
      watch: () => {
        throw new Error('not expected');
      },
    };
    const tell = (what: string) => () => void told.push(what);
    const listener = { ...silent, interrupted: tell('interrupted') };
    startReflector(source, kind, {}, listener, { clock: { now: () => 0, sleep: () => Promise.resolve() } });
    await new Promise(setImmediate);
    expect(calls).toBe(1);
    expect(told).toEqual(['interrupted']);
  });

  it('tells nothing after dispose()', async () => {
    const told: string[] = [];
    const { promise: listed, resolve: list } = Promise.withResolvers<undefined>();
    const source: WatchSource = {
      listWithVersion: async () => {
        await listed;
        return { items: [object('a', '1')], resourceVersion: '1' };
      },
      watch: () => {
        told.push('watch');
        throw new Error('not expected');
      },
    };
    const tell = (what: string) => () => void told.push(what);
    const reflector = startReflector(
      source,
      kind,
      {},
      {
        replaced: tell('replaced'),
        changed: tell('changed'),
        removed: tell('removed'),
        unreadable: tell('unreadable'),
        interrupted: tell('interrupted'),
        recovered: tell('recovered'),
      },
      { clock: { now: () => 0, sleep: () => Promise.resolve() } },
    );
    reflector.dispose();
    list(undefined);
    await new Promise(setImmediate);
    expect(told).toEqual([]);
  });
});
