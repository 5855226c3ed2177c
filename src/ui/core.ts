import type * as core from '../core/core.chunk.ts';

/** Everything of the core that the widgets use. */
export type Core = typeof core;

/** Loads the core on first use, so that activation does not pay for it. */
export function loadCore(): Promise<Core> {
  return import('../core/core.chunk.ts');
}
