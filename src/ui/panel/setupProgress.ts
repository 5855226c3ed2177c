import type { Plan, Step } from '../../core/model.ts';

/** How far one step of a running setup is. */
export interface StepProgress {
  state: 'planned' | 'running' | 'done' | 'failed';
  /** Localised: why it failed. */
  error?: string;
}

/**
 * A setup as the panel shows it. `planned` waits for the confirmation; `cancelled` and `failed` can be planned again.
 */
export interface SetupProgress {
  phase: 'planned' | 'running' | 'done' | 'failed' | 'cancelled';
  plan: Plan;
  steps: ReadonlyMap<string, StepProgress>;
  log: readonly { at: number; text: string }[];
}

/** A plan of which nothing has been done yet. */
export function planned(plan: Plan): SetupProgress {
  return { phase: 'planned', plan, steps: new Map(), log: [] };
}

/** Replaces the plan; what is known about steps that both plans have is kept. */
export function withPlan(progress: SetupProgress, plan: Plan): SetupProgress {
  return { ...progress, plan };
}

/** One step gets another state. Unknown steps are kept too: the plan that names them may come later. */
export function withStep(progress: SetupProgress, id: string, step: StepProgress): SetupProgress {
  return { ...progress, steps: new Map(progress.steps).set(id, step) };
}

/** Adds a line to the log. Lines are localised and hold no secrets. */
export function withLog(progress: SetupProgress, at: number, text: string): SetupProgress {
  return { ...progress, log: [...progress.log, { at, text }] };
}

/** The state of one step of the plan. */
export function stepProgress(progress: SetupProgress, step: Step): StepProgress {
  return progress.steps.get(step.id) ?? { state: 'planned' };
}
