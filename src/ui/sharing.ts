import type { Disposable } from '../core/ports.ts';

/** One user's hold on a shared thing. Disposing it twice does nothing. */
export interface Lease<T> extends Disposable {
  readonly value: T;
}

interface Entry<T> {
  made: Promise<T>;
  users: number;
  /** Runs while nobody uses it and it is still kept. */
  timer?: ReturnType<typeof setTimeout>;
}

/**
 * Things that cost something while they exist (connections, watches), made on first use, shared by everybody who asks
 * for the same key, and disposed of a little after the last one let go: views that hide and come back at once do not
 * make them anew.
 */
export class Shared<T extends Disposable> implements Disposable {
  readonly #make: (key: string) => Promise<T>;
  readonly #lingerMs: number;
  readonly #entries = new Map<string, Entry<T>>();

  /** @param lingerMs how long an unused thing is kept, in milliseconds. */
  constructor(make: (key: string) => Promise<T>, lingerMs: number) {
    this.#make = make;
    this.#lingerMs = lingerMs;
  }

  /** Rejects with whatever making it rejected with; the next call tries again. */
  async acquire(key: string): Promise<Lease<T>> {
    const entry = this.#entries.get(key) ?? this.#create(key);
    entry.users += 1;
    clearTimeout(entry.timer);
    let held = true;
    const dispose = (): void => {
      if (!held) return;
      held = false;
      entry.users -= 1;
      if (entry.users === 0) this.#retire(key, entry);
    };
    try {
      return { value: await entry.made, dispose };
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  /** How many things exist now. */
  get size(): number {
    return this.#entries.size;
  }

  /** Disposes of everything, also of what is in use: the settings it was made from have changed. */
  dispose(): void {
    for (const [key, entry] of this.#entries) this.#end(key, entry);
  }

  #create(key: string): Entry<T> {
    const entry: Entry<T> = { made: this.#make(key), users: 0 };
    // Whoever acquired it gets the rejection; here it only must not count as unhandled.
    entry.made.catch(() => undefined);
    this.#entries.set(key, entry);
    return entry;
  }

  #retire(key: string, entry: Entry<T>): void {
    if (this.#entries.get(key) !== entry) return;
    entry.timer = setTimeout(() => {
      this.#end(key, entry);
    }, this.#lingerMs);
  }

  #end(key: string, entry: Entry<T>): void {
    clearTimeout(entry.timer);
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    entry.made.then(
      (made) => {
        made.dispose();
      },
      () => undefined,
    );
  }
}
