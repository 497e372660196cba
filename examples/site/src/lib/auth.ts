/**
 * Everything the site asks of Cognito. Only pages about the account import this: the library is the largest part of
 * their JavaScript.
 *
 * Passwords are proved with SRP at sign-in. The pool rotates refresh tokens, so a refresh is GetTokensFromRefreshToken,
 * which Amplify does by itself when a token has expired.
 *
 * The pages answer alike whether or not an address has an account. Cognito's own API does not, at sign-up: README.md.
 *
 * Tokens are in the local storage, where every script of this origin can read them. What lasts over a reload can be read by
 * those scripts, or used by them, wherever a page without a server keeps it; README.md weighs the places.
 */
import {
  confirmResetPassword,
  confirmSignIn,
  confirmSignUp,
  fetchUserAttributes,
  resendSignUpCode,
  resetPassword,
  signIn,
  signOut,
  signUp,
  type SignInOutput,
} from "@aws-amplify/auth";
import { cognitoUserPoolsTokenProvider } from "@aws-amplify/auth/cognito";
import { Amplify, fetchAuthSession, type JWT } from "@aws-amplify/core";

import { announceSession } from "@/lib/session";
import { authConfigured, settings } from "@/lib/settings";

if (authConfigured && typeof window !== "undefined") {
  const auth = {
    Cognito: {
      userPoolId: settings.userPoolId,
      userPoolClientId: settings.userPoolClientId,
      ...(settings.cognitoEndpoint === "" ? {} : { userPoolEndpoint: settings.cognitoEndpoint }),
    },
  };
  cognitoUserPoolsTokenProvider.setAuthConfig(auth);
  Amplify.configure({ Auth: auth }, { Auth: { tokenProvider: cognitoUserPoolsTokenProvider } });
}

/** What sign-in needs next. */
export type Step =
  | { kind: "done" }
  | { kind: "confirm-email" }
  | { kind: "totp-code" }
  | { kind: "totp-setup"; secret: string }
  | { kind: "new-password" }
  | { kind: "reset-password" };

export interface Account {
  id: string;
  email: string;
  /** When the access token in use was issued and until when it is good. */
  issuedAt: Date;
  expiresAt: Date;
}

function nextStep({ nextStep: next }: SignInOutput): Step {
  switch (next.signInStep) {
    case "DONE":
      announceSession();
      return { kind: "done" };
    case "CONFIRM_SIGN_UP":
      return { kind: "confirm-email" };
    case "CONFIRM_SIGN_IN_WITH_TOTP_CODE":
      return { kind: "totp-code" };
    case "CONTINUE_SIGN_IN_WITH_TOTP_SETUP":
      return { kind: "totp-setup", secret: next.totpSetupDetails.sharedSecret };
    case "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD_REQUIRED":
      return { kind: "new-password" };
    case "RESET_PASSWORD":
      return { kind: "reset-password" };
    default:
      throw new Error(`This site does not know the sign-in step ${next.signInStep}.`);
  }
}

function isNamed(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

/** Do what may be refused in a way that tells who has an account. Returns whether it was granted, for nobody to see. */
async function alike(request: Promise<unknown>, refusal: string): Promise<boolean> {
  try {
    await request;
    return true;
  } catch (error) {
    if (!isNamed(error, refusal)) throw error;
    return false;
  }
}

/** Returns whether the address was new; the page must not show it before a code has proved that it is the person's own. */
export async function register(email: string, password: string): Promise<boolean> {
  const request = signUp({ username: email, password, options: { userAttributes: { email } } });
  try {
    return await alike(request, "UsernameExistsException");
  } catch (error) {
    throw isNamed(error, "NotAuthorizedException") ? new Error("New accounts are not open to everybody here.") : error;
  }
}

export async function confirmEmail(email: string, code: string): Promise<void> {
  const granted = await alike(confirmSignUp({ username: email, confirmationCode: code }), "NotAuthorizedException");
  if (!granted) throw new Error(MESSAGES.CodeMismatchException); // confirmed already: no code is right
}

export async function sendCodeAgain(email: string): Promise<void> {
  await alike(resendSignUpCode({ username: email }), "InvalidParameterException");
}

export async function enter(email: string, password: string): Promise<Step> {
  return nextStep(await signIn({ username: email, password, options: { authFlowType: "USER_SRP_AUTH" } }));
}

/** Answer what sign-in asked for: a one-time code, or the new password. */
export async function answer(response: string): Promise<Step> {
  return nextStep(await confirmSignIn({ challengeResponse: response }));
}

export async function forgotPassword(email: string): Promise<void> {
  await alike(resetPassword({ username: email }), "InvalidParameterException");
}

export async function choosePassword(email: string, code: string, password: string): Promise<void> {
  await confirmResetPassword({ username: email, confirmationCode: code, newPassword: password });
}

export async function leave(): Promise<void> {
  await signOut(); // revokes the refresh token, then forgets everything
  announceSession();
}

function moment(token: JWT, claim: "iat" | "exp"): Date {
  return new Date((token.payload[claim] ?? 0) * 1000);
}

/**
 * Who is signed in, asked of Cognito itself, or null. An expired token is refreshed on the way.
 *
 * @param refresh replace the tokens even if they are still good
 */
export async function account(refresh = false): Promise<Account | null> {
  if (!authConfigured) return null;
  try {
    const { tokens, userSub } = await fetchAuthSession({ forceRefresh: refresh });
    if (tokens === undefined || userSub === undefined) return null;
    const attributes = await fetchUserAttributes();
    return {
      id: userSub,
      email: attributes.email ?? "",
      issuedAt: moment(tokens.accessToken, "iat"),
      expiresAt: moment(tokens.accessToken, "exp"),
    };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    await leave(); // revoked or expired for good: nothing of it is worth keeping
    return null;
  }
}

const REFUSALS = ["NotAuthorizedException", "UserUnAuthenticatedException", "UserNotFoundException", "RefreshTokenReuseException"];

/** Whether sign-in or the session was refused, so that going on as before is no use. */
export function isRefusal(error: unknown): boolean {
  return isNamed(error, ...REFUSALS);
}

const MESSAGES: Readonly<Record<string, string>> = {
  CodeMismatchException: "That code is not right. Check the latest e-mail and try again.",
  EnableSoftwareTokenMFAException: "That code is not right. Check the clock of your device and try again.",
  ExpiredCodeException: "That code has expired. Ask for a new one.",
  ForbiddenException: "Too many attempts. Wait a few minutes and try again.", // how AWS WAF refuses
  LimitExceededException: "Too many attempts. Wait a few minutes and try again.",
  NetworkError: "The sign-in service cannot be reached. Check your connection and try again.",
  NotAuthorizedException: "E-mail address or password is wrong.",
  TooManyFailedAttemptsException: "Too many attempts. Wait a few minutes and try again.",
  TooManyRequestsException: "Too many attempts. Wait a few minutes and try again.",
  UserNotFoundException: "E-mail address or password is wrong.",
};

/** What to tell a person about a failure. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return "Something went wrong. Try again.";
  return MESSAGES[error.name] ?? error.message;
}
