import type { Disposable } from '../core/ports.ts';

/** A list of listeners. One that throws does not keep the others from being called. */
export class Listeners<T = void> implements Disposable {
  readonly #listeners = new Set<(event: T) => void>();

  add(listener: (event: T) => void): Disposable {
    this.#listeners.add(listener);
    return {
      dispose: () => {
        this.#listeners.delete(listener);
      },
    };
  }

  fire(event: T): void {
    for (const listener of [...this.#listeners])
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
  }

  dispose(): void {
    this.#listeners.clear();
  }
}
