/**
 * A cheap hint whether somebody is signed in, for what every page shows (the header), without loading the auth library.
 * It reads the key under which Amplify keeps the last user; what matters is always asked of Cognito (lib/auth.ts).
 */
import { settings } from "@/lib/settings";

const USER_KEY = `CognitoIdentityServiceProvider.${settings.userPoolClientId}.LastAuthUser`;
const CHANGED = "amianai:session";

export function seemsSignedIn(): boolean {
  try {
    return settings.userPoolClientId !== "" && window.localStorage.getItem(USER_KEY) !== null;
  } catch {
    return false; // storage is blocked
  }
}

/** Tell this tab's header; other tabs hear of it through the storage event. */
export function announceSession(): void {
  window.dispatchEvent(new Event(CHANGED));
}

/** Call back when the session may have changed, here or in another tab. Returns how to stop. */
export function onSessionChange(callback: () => void): () => void {
  const onStorage = (event: StorageEvent) => {
    if (event.key === null || event.key === USER_KEY) callback();
  };
  window.addEventListener(CHANGED, callback);
  window.addEventListener("storage", onStorage);
  return () => {
    window.removeEventListener(CHANGED, callback);
    window.removeEventListener("storage", onStorage);
  };
}
