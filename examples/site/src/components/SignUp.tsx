"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";

import { ConfirmEmail } from "@/components/ConfirmEmail";
import { EmailField, Form, NewPasswordField } from "@/components/Form";
import { enter, isRefusal, register } from "@/lib/auth";
import { HOME_AFTER_SIGN_IN } from "@/lib/navigation";

export function SignUp() {
  const router = useRouter();
  const [registered, setRegistered] = useState<{ email: string; password: string; isNew: boolean } | null>(null);

  if (registered !== null) {
    const arrive = async () => {
      try {
        const step = await enter(registered.email, registered.password);
        router.replace(step.kind === "done" ? HOME_AFTER_SIGN_IN : "/sign-in/");
      } catch (error) {
        if (registered.isNew || !isRefusal(error)) throw error;
        // Somebody signed up with this address before and never confirmed it: the password is theirs, the address is not.
        router.replace("/reset-password/");
      }
    };
    return (
      <ConfirmEmail email={registered.email} onConfirmed={arrive}>
        If <strong className="address">{registered.email}</strong> is new here, a code is on its way. If it has an account,{" "}
        <Link href="/sign-in/">sign in</Link> or <Link href="/reset-password/">reset its password</Link>.
      </ConfirmEmail>
    );
  }
  return (
    <>
      <h1>Create an account</h1>
      <Form
        key="register"
        submit="Create account"
        onSubmit={async ({ email = "", password = "" }) => {
          setRegistered({ email, password, isNew: await register(email, password) });
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
