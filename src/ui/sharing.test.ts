import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Shared } from './sharing.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function things() {
  const made: { key: string; disposed: number; dispose: () => void }[] = [];
  const make = vi.fn((key: string) => {
    const thing = {
      key,
      disposed: 0,
      dispose() {
        this.disposed += 1;
      },
    };
    made.push(thing);
    return Promise.resolve(thing);
  });
  return { made, make };
}

describe('Shared', () => {
  it('makes one thing for all who ask at the same time', async () => {
    const { make } = things();
    const shared = new Shared(make, 3000);
    const [a, b] = await Promise.all([shared.acquire('x'), shared.acquire('x')]);
    expect(make).toHaveBeenCalledTimes(1);
    expect(a.value).toBe(b.value);
  });

  it('keeps it while one user is left, and disposes of it once after the linger time', async () => {
    const { made, make } = things();
    const shared = new Shared(make, 3000);
    const a = await shared.acquire('x');
    const b = await shared.acquire('x');
    a.dispose();
    a.dispose();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(made[0]?.disposed).toBe(0);
    b.dispose();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(made[0]?.disposed).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(made[0]?.disposed).toBe(1);
    expect(shared.size).toBe(0);
  });

  it('goes on with the same thing when somebody comes back in time', async () => {
    const { made, make } = things();
    const shared = new Shared(make, 3000);
    (await shared.acquire('x')).dispose();
    await vi.advanceTimersByTimeAsync(2_000);
    const again = await shared.acquire('x');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(again.value.disposed).toBe(0);
    expect(made).toHaveLength(1);
  });

  it('tries again after it could not be made', async () => {
    const { make } = things();
    make.mockRejectedValueOnce(new Error('unreachable'));
    const shared = new Shared(make, 3000);
    await expect(shared.acquire('x')).rejects.toThrow('unreachable');
    await expect(shared.acquire('x')).resolves.toMatchObject({ value: { key: 'x' } });
  });

  it('disposes of everything at once when asked to, and makes anew afterwards', async () => {
    const { made, make } = things();
    const shared = new Shared(make, 3000);
    const old = await shared.acquire('x');
    shared.dispose();
    await vi.advanceTimersByTimeAsync(0);
    expect(made[0]?.disposed).toBe(1);
    const fresh = await shared.acquire('x');
    old.dispose();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(made[0]?.disposed).toBe(1);
    expect(fresh.value.disposed).toBe(0);
  });
});
