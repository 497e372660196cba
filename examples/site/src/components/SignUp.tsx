"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";

import { ConfirmEmail } from "@/components/ConfirmEmail";
import { EmailField, Form, NewPasswordField } from "@/components/Form";
import { enter, register } from "@/lib/auth";
import { HOME_AFTER_SIGN_IN } from "@/lib/navigation";

export function SignUp() {
  const router = useRouter();
  const [registered, setRegistered] = useState<{ email: string; password: string } | null>(null);

  if (registered !== null) {
    const arrive = async () => {
      const step = await enter(registered.email, registered.password);
      router.replace(step.kind === "done" ? HOME_AFTER_SIGN_IN : "/sign-in/");
    };
    return <ConfirmEmail email={registered.email} onConfirmed={arrive} />;
  }
  return (
    <>
      <h1>Create an account</h1>
      <Form
        key="register"
        submit="Create account"
        onSubmit={async ({ email = "", password = "" }) => {
          await register(email, password);
          setRegistered({ email, password });
        }}
      >
        <EmailField />
        <NewPasswordField />
      </Form>
      <p className="aside">
        Already have one? <Link href="/sign-in/">Sign in</Link>
      </p>
    </>
  );
}
