import * as vscode from 'vscode';
import { withoutIcons } from '../plainText.ts';

/** Answer of a question whose back button was pressed. */
export const back = Symbol('back');

/** Where a question stands in its row of questions. */
export interface StepPlace {
  title: string;
  step: number;
  totalSteps: number;
  /** Whether there is a question to go back to. */
  canGoBack: boolean;
}

/** One row of {@link askPick}. `value` is what choosing it answers; a row without one is a heading. */
export interface PickRow<T> {
  label: string;
  description?: string;
  detail?: string;
  value?: T;
  /** Chosen in advance. */
  active?: boolean;
}

/** A question with answers to choose from. Names in rows are shown as they are, without icons. */
export interface PickQuestion<T> {
  place: StepPlace;
  placeholder: string;
  /** The answers, now or when they have been read; or the only answer there is, so that nothing needs to be asked. */
  rows: readonly PickRow<T>[] | Promise<readonly PickRow<T>[] | { only: T }>;
  /** Localised: why a row cannot be chosen; the question then stays. */
  refuse?: (value: T) => string | undefined;
}

/**
 * Asks. Rows that come later are waited for with the progress bar of the question.
 *
 * @throws vscode.CancellationError when the question was closed; whatever the rows were rejected with.
 */
export async function askPick<T>(question: PickQuestion<T>): Promise<T | typeof back> {
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { row: PickRow<T> }>();
  const disposables: { dispose(): unknown }[] = [pick];
  try {
    place(pick, question.place);
    pick.placeholder = question.placeholder;
    pick.matchOnDescription = true;
    pick.matchOnDetail = true;
    return await new Promise<T | typeof back>((resolve, reject) => {
      disposables.push(
        pick.onDidTriggerButton(() => {
          resolve(back);
        }),
        pick.onDidHide(() => {
          reject(new vscode.CancellationError());
        }),
        pick.onDidAccept(() => {
          const value = pick.activeItems[0]?.row.value;
          if (value === undefined) return;
          const refusal = question.refuse?.(value);
          if (refusal === undefined) resolve(value);
          else pick.title = `${question.place.title}: ${refusal}`;
        }),
      );
      const show = (rows: readonly PickRow<T>[]): void => {
        const items = rows.map(toItem);
        pick.items = items;
        const active = items.find((item) => item.row.active);
        if (active) pick.activeItems = [active];
        pick.busy = false;
        pick.enabled = true;
      };
      if (question.rows instanceof Promise) {
        pick.busy = true;
        question.rows.then((rows) => {
          if ('only' in rows) resolve(rows.only);
          else show(rows);
        }, reject);
      } else show(question.rows);
      pick.show();
    });
  } finally {
    for (const disposable of disposables) disposable.dispose();
  }
}

function toItem<T>(row: PickRow<T>): vscode.QuickPickItem & { row: PickRow<T> } {
  if (row.value === undefined) return { label: row.label, kind: vscode.QuickPickItemKind.Separator, row };
  return {
    label: withoutIcons(row.label),
    ...(row.description === undefined ? {} : { description: withoutIcons(row.description) }),
    ...(row.detail === undefined ? {} : { detail: withoutIcons(row.detail) }),
    alwaysShow: false,
    row,
  };
}

/** A question that is answered by writing. `check` tells why a text will not do, as it is typed. */
export interface TextQuestion {
  place: StepPlace;
  prompt: string;
  placeholder: string;
  value: string;
  check: (value: string) => string | undefined;
  /** What to know about a text that will do. */
  advise?: (value: string) => string | undefined;
  password?: boolean;
}

/** Asks for a text; see {@link askPick} for what it throws. */
export async function askText(question: TextQuestion): Promise<string | typeof back> {
  const input = vscode.window.createInputBox();
  const disposables: { dispose(): unknown }[] = [input];
  try {
    place(input, question.place);
    input.prompt = question.prompt;
    input.placeholder = question.placeholder;
    input.value = question.value;
    input.password = question.password ?? false;
    // An empty box is no mistake yet; a value that was put there may be.
    const judge = (value: string): string | vscode.InputBoxValidationMessage | undefined => {
      if (value === '') return undefined;
      const problem = question.check(value);
      if (problem !== undefined) return problem;
      const message = question.advise?.(value);
      return message === undefined ? undefined : { message, severity: vscode.InputBoxValidationSeverity.Warning };
    };
    input.validationMessage = judge(question.value.trim());
    return await new Promise<string | typeof back>((resolve, reject) => {
      disposables.push(
        input.onDidTriggerButton(() => {
          resolve(back);
        }),
        input.onDidHide(() => {
          reject(new vscode.CancellationError());
        }),
        input.onDidChangeValue((value) => {
          input.validationMessage = judge(value.trim());
        }),
        input.onDidAccept(() => {
          const value = question.password === true ? input.value : input.value.trim();
          const problem = question.check(value);
          if (problem === undefined) resolve(value);
          else input.validationMessage = problem;
        }),
      );
      input.show();
    });
  } finally {
    for (const disposable of disposables) disposable.dispose();
  }
}

function place(input: vscode.QuickInput & { buttons: readonly vscode.QuickInputButton[] }, at: StepPlace): void {
  input.title = at.title;
  input.step = at.step;
  input.totalSteps = at.totalSteps;
  // Looking something up in another window must not lose the answers.
  input.ignoreFocusOut = true;
  input.buttons = at.canGoBack ? [vscode.QuickInputButtons.Back] : [];
}
