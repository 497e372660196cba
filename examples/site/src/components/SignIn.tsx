"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";

import { ConfirmEmail } from "@/components/ConfirmEmail";
import { CodeField, EmailField, Form, NewPasswordField, PasswordField } from "@/components/Form";
import { account, answer, enter, type Step } from "@/lib/auth";
import { returnPath } from "@/lib/navigation";

type Stage = Exclude<Step, { kind: "done" | "reset-password" }> | { kind: "credentials" };

function Totp({ secret, onCode }: Readonly<{ secret?: string; onCode: (code: string) => Promise<void> }>) {
  return (
    <>
      <h1>{secret === undefined ? "Your one-time code" : "Set up one-time codes"}</h1>
      {secret !== undefined && (
        <p>
          Enter this key in an authenticator app: <code className="secret">{secret}</code>
        </p>
      )}
      <Form submit="Continue" onSubmit={({ code = "" }) => onCode(code.trim())}>
        <CodeField label="One-time code" hint="Six digits from your authenticator app." />
      </Form>
    </>
  );
}

export function SignIn() {
  const router = useRouter();
  const [stage, setStage] = useState<Stage>({ kind: "credentials" });
  const [credentials, setCredentials] = useState({ email: "", password: "" });
  const [turnedAway, setTurnedAway] = useState(false);

  useEffect(() => {
    setTurnedAway(window.location.search.includes("next="));
    let current = true;
    account().then(
      (found) => {
        if (current && found !== null) router.replace(returnPath(window.location.search));
      },
      () => undefined, // cannot tell: the form will say so when it is sent
    );
    return () => {
      current = false;
    };
  }, [router]);

  const follow = (step: Step) => {
    if (step.kind === "done") router.replace(returnPath(window.location.search));
    else if (step.kind === "reset-password") router.push("/reset-password/");
    else setStage(step);
  };
  const reply = async (response: string) => follow(await answer(response));

  switch (stage.kind) {
    case "confirm-email":
      return (
        <ConfirmEmail
          email={credentials.email}
          onConfirmed={async () => follow(await enter(credentials.email, credentials.password))}
        >
          We sent a code to <strong className="address">{credentials.email}</strong> when you signed up.
        </ConfirmEmail>
      );
    case "totp-code":
      return <Totp onCode={reply} />;
    case "totp-setup":
      return <Totp secret={stage.secret} onCode={reply} />;
    case "new-password":
      return (
        <>
          <h1>Choose a password</h1>
          <Form key="new-password" submit="Continue" onSubmit={({ password = "" }) => reply(password)}>
            <NewPasswordField label="New password" />
          </Form>
        </>
      );
    case "credentials":
      return (
        <>
          <h1>Sign in</h1>
          {turnedAway && <p className="lead">That page is only for you. Sign in to see it.</p>}
          <Form
            key="credentials"
            submit="Sign in"
            onSubmit={async ({ email = "", password = "" }) => {
              setCredentials({ email, password });
              follow(await enter(email, password));
            }}
          >
            <EmailField />
            <PasswordField />
          </Form>
          <p className="aside">
            <Link href="/reset-password/">Forgot your password?</Link>
          </p>
          <p className="aside">
            New here? <Link href="/sign-up/">Create an account</Link>
          </p>
        </>
      );
  }
}
