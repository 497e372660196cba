"use client";

import { useState } from "react";

import { CodeField, Form } from "@/components/Form";
import { confirmEmail, explain, sendCodeAgain } from "@/lib/auth";

interface ConfirmEmailProps {
  email: string;
  onConfirmed: () => Promise<void>;
  /** What is known about the code. */
  children: React.ReactNode;
}

/** Asks for the code that was sent to a new address. */
export function ConfirmEmail({ email, onConfirmed, children }: Readonly<ConfirmEmailProps>) {
  const [message, setMessage] = useState("");

  const again = async () => {
    try {
      await sendCodeAgain(email);
      setMessage("A new code is on its way.");
    } catch (error) {
      setMessage(explain(error));
    }
  };

  return (
    <>
      <h1>Check your e-mail</h1>
      <p className="lead">{children}</p>
      <Form
        key="confirm"
        submit="Confirm"
        onSubmit={async ({ code = "" }) => {
          await confirmEmail(email, code.trim());
          await onConfirmed();
        }}
      >
        <CodeField hint="Six digits. It may take a minute; look in the spam folder too." />
      </Form>
      <p className="aside">
        Nothing arrived?{" "}
        <button className="link" type="button" onClick={again}>
          Send the code again
        </button>
      </p>
      <p role="status">{message}</p>
    </>
  );
}
