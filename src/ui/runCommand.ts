import * as vscode from 'vscode';
import type { Log } from '../core/ports.ts';
import { loadCore } from './core.ts';
import { withoutLinks } from './plainText.ts';

/** Something to do about an error. */
export interface ErrorAction {
  title: string;
  command: string;
  arguments?: readonly unknown[];
}

/** An error that says all there is to say. `message` is localised. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly actions: readonly ErrorAction[];

  constructor(message: string, actions: readonly ErrorAction[] = []) {
    super(message);
    this.actions = actions;
  }
}

/** Whether an error only says that the user, or what they looked at, went away. */
export function isCancellation(error: unknown): boolean {
  return error instanceof vscode.CancellationError || (error instanceof Error && error.name === 'AbortError');
}

/** Runs one entry point of the extension; see {@link createRunCommand}. */
export type RunCommand = <T>(id: string, run: () => Promise<T> | T) => Promise<T | undefined>;

/**
 * The one place where errors of commands, views and messages end: a cancellation is silent, everything else becomes one
 * message in words, with what can be done about it, and a line in the log. People never see a stack trace.
 */
export function createRunCommand(log: Log): RunCommand {
  return async (id, run) => {
    try {
      return await run();
    } catch (error) {
      if (!isCancellation(error)) void report(log, id, error);
      return undefined;
    }
  };
}

/** What an error says to people: localised, one or a few sentences. */
export async function messageOf(error: unknown): Promise<string> {
  if (error instanceof UserError) return error.message;
  try {
    return capitalised((await loadCore()).reasonOf(error));
  } catch {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The core words reasons so that they can follow a colon. */
function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function report(log: Log, id: string, error: unknown): Promise<void> {
  const message = await messageOf(error);
  log.error(`${id}: ${message}`);
  if (error instanceof Error && error.stack !== undefined) log.debug(error.stack);
  const actions: readonly ErrorAction[] = [
    ...(error instanceof UserError ? error.actions : []),
    { title: vscode.l10n.t('Show Log'), command: 'milvusLayer7.showLog' },
  ];
  const chosen = await vscode.window.showErrorMessage(withoutLinks(message), ...actions.map(({ title }) => title));
  const action = actions.find(({ title }) => title === chosen);
  if (action) await vscode.commands.executeCommand(action.command, ...(action.arguments ?? []));
}
