/**
 * What one stage of the connection test ends with, and the limits it runs under.
 */
import type { ProbeStage } from '../model.ts';

/** Why a stage failed, in localised words, with its fix. */
export type ProbeFailure = NonNullable<ProbeStage['failure']>;

/** Result of one stage. `value` is what the next stage goes on with; without it the test ends here. */
export interface Outcome<T> {
  state: 'passed' | 'failed' | 'skipped';
  /** Localised. */
  detail: string;
  failure?: ProbeFailure;
  value?: T;
}

export function passed<T>(detail: string, value: T): Outcome<T> {
  return { state: 'passed', detail, value };
}

/** A failed stage shows what came instead of what was expected. */
export function failed(failure: ProbeFailure): Outcome<never> {
  return { state: 'failed', detail: failure.actual, failure };
}

/** The time given to a piece of work was over. */
export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError';
  readonly limitMs: number;
  constructor(limitMs: number) {
    super(`Not done within ${limitMs} ms`);
    this.limitMs = limitMs;
  }
}

/**
 * Runs `work` for at most `limitMs`. Rejects with {@link TimeLimitError} when the time is over, and with the signal's
 * reason when it is aborted; `work` is told by the signal it gets and its late result is dropped.
 */
export async function within<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const forward = () => {
    controller.abort(signal.reason);
  };
  const timer = setTimeout(() => {
    controller.abort(new TimeLimitError(limitMs));
  }, limitMs);
  signal.addEventListener('abort', forward, { once: true });
  try {
    const stopped = new Promise<never>((_, reject) => {
      controller.signal.addEventListener('abort', () => {
        reject(controller.signal.reason as Error);
      });
    });
    return await Promise.race([work(controller.signal), stopped]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', forward);
  }
}
