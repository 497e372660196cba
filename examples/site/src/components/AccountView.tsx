"use client";

import { useRouter } from "next/navigation";
import { useCallback, useEffect, useState } from "react";

import { account, explain, leave, type Account } from "@/lib/auth";
import { signInFor } from "@/lib/navigation";
import { onSessionChange, seemsSignedIn } from "@/lib/session";

type State = { kind: "asking" } | { kind: "here"; account: Account } | { kind: "gone" } | { kind: "failed"; problem: string };

const timeFormat = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

function Time({ name, value }: Readonly<{ name: string; value: Date }>) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <time dateTime={value.toISOString()}>{timeFormat.format(value)}</time>
      </dd>
    </div>
  );
}

/**
 * The protected page. Nothing private is in its HTML, which is public as all of a static site is: what it shows comes
 * from Cognito, which answers only to a valid session.
 */
export function AccountView() {
  const router = useRouter();
  const [state, setState] = useState<State>({ kind: "asking" });
  const [message, setMessage] = useState("");

  const turnAway = useCallback(() => {
    setState({ kind: "gone" });
    router.replace(signInFor("/account/"));
  }, [router]);

  const load = useCallback(
    async (refresh: boolean) => {
      try {
        const found = await account(refresh);
        if (found === null) turnAway();
        else setState({ kind: "here", account: found });
        return found !== null;
      } catch (error) {
        setState({ kind: "failed", problem: explain(error) });
        return false;
      }
    },
    [turnAway],
  );

  useEffect(() => {
    void load(false);
    return onSessionChange(() => {
      if (!seemsSignedIn()) turnAway(); // signed out in another tab
    });
  }, [load, turnAway]);

  if (state.kind === "failed") {
    return (
      <>
        <h1>Your account</h1>
        <p className="problem" role="alert">
          {state.problem}
        </p>
        <button className="button" type="button" onClick={() => void load(false)}>
          Try again
        </button>
      </>
    );
  }
  if (state.kind !== "here") {
    return (
      <p className="lead" role="status">
        {state.kind === "gone" ? "Please sign in…" : "Checking who you are…"}
      </p>
    );
  }
  const refresh = async () => {
    setMessage("");
    if (await load(true)) setMessage("Session refreshed.");
  };
  return (
    <>
      <h1>Your account</h1>
      <p className="lead">
        Signed in as <strong className="address">{state.account.email}</strong>. Only you can see this page.
      </p>
      <dl className="facts">
        <div>
          <dt>Account</dt>
          <dd className="secret">{state.account.id}</dd>
        </div>
        <Time name="Session since" value={state.account.issuedAt} />
        <Time name="Good until" value={state.account.expiresAt} />
      </dl>
      <p className="actions">
        <button className="button" type="button" onClick={() => void leave()}>
          Sign out
        </button>
        <button className="link" type="button" onClick={() => void refresh()}>
          Refresh session
        </button>
      </p>
      <p role="status">{message}</p>
    </>
  );
}
