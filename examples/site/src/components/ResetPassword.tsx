"use client";

import { useRouter } from "next/navigation";
import { useState } from "react";

import { CodeField, EmailField, Form, NewPasswordField } from "@/components/Form";
import { choosePassword, enter, forgotPassword } from "@/lib/auth";
import { HOME_AFTER_SIGN_IN } from "@/lib/navigation";

export function ResetPassword() {
  const router = useRouter();
  const [email, setEmail] = useState("");

  if (email === "") {
    return (
      <>
        <h1>Reset your password</h1>
        <p className="lead">We send a code to your address.</p>
        <Form
          key="ask"
          submit="Send the code"
          onSubmit={async ({ email: given = "" }) => {
            await forgotPassword(given);
            setEmail(given);
          }}
        >
          <EmailField />
        </Form>
      </>
    );
  }
  return (
    <>
      <h1>Choose a new password</h1>
      <p className="lead">
        If <strong className="address">{email}</strong> has an account, a code is on its way.
      </p>
      <Form
        key="choose"
        submit="Set password"
        onSubmit={async ({ code = "", password = "" }) => {
          await choosePassword(email, code.trim(), password);
          const step = await enter(email, password);
          router.replace(step.kind === "done" ? HOME_AFTER_SIGN_IN : "/sign-in/");
        }}
      >
        <CodeField hint="Six digits from the e-mail." />
        <NewPasswordField label="New password" />
      </Form>
    </>
  );
}
