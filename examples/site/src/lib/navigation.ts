export const HOME_AFTER_SIGN_IN = "/account/";

/** Where to sign in, and return from. */
export function signInFor(path: string): string {
  return `/sign-in/?next=${encodeURIComponent(path)}`;
}

/** The page to return to after sign-in: one of this site's own, whatever the address says. */
export function returnPath(search: string): string {
  const wanted = new URLSearchParams(search).get("next");
  return wanted !== null && /^\/[a-z0-9-]+\/$/.test(wanted) ? wanted : HOME_AFTER_SIGN_IN;
}
