/**
 * Names of clusters and objects come from outside. VS Code reads `$(name)` as an icon in quick picks and in the status
 * bar, and `[text](url)` as a link in notifications; these functions keep such text as it is.
 */

/** Text for a quick pick or the status bar. */
export function withoutIcons(text: string): string {
  return text.replaceAll('$(', '\\$(');
}

/** Text for a notification. A zero-width space stands where a link would begin its address. */
export function withoutLinks(text: string): string {
  return text.replaceAll('](', ']\u200b(');
}
