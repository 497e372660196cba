"use client";

import { useId, useState, type FormEvent, type InputHTMLAttributes } from "react";

import { explain } from "@/lib/auth";

interface FormProps {
  submit: string;
  /** Given the fields by name. What it throws is explained to the person. */
  onSubmit: (values: Readonly<Record<string, string>>) => Promise<void>;
  children: React.ReactNode;
}

/** A form that can be sent once at a time and says what went wrong. Works by script only: it never leaves the page. */
export function Form({ submit, onSubmit, children }: Readonly<FormProps>) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

  const send = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const values: Record<string, string> = {};
    new FormData(event.currentTarget).forEach((value, name) => {
      if (typeof value === "string") values[name] = value;
    });
    setBusy(true);
    setProblem("");
    try {
      await onSubmit(values);
    } catch (error) {
      setProblem(explain(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="form" method="post" onSubmit={send} aria-busy={busy}>
      {children}
      <div role="alert">{problem !== "" && <p className="problem">{problem}</p>}</div>
      <button className="button wide" type="submit" disabled={busy}>
        {busy ? "One moment…" : submit}
      </button>
    </form>
  );
}

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  label: string;
  name: string;
  hint?: string;
}

export function Field({ label, hint, ...input }: Readonly<FieldProps>) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={hint === undefined ? undefined : `${id}-hint`} required {...input} />
      {hint !== undefined && (
        <p className="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

export function EmailField(props: Readonly<{ defaultValue?: string }>) {
  return <Field label="E-mail" name="email" type="email" autoComplete="username" inputMode="email" maxLength={254} {...props} />;
}

export function PasswordField() {
  return <Field label="Password" name="password" type="password" autoComplete="current-password" maxLength={256} />;
}

export function NewPasswordField({ label = "Password" }: Readonly<{ label?: string }>) {
  return (
    <Field
      label={label}
      name="password"
      type="password"
      autoComplete="new-password"
      maxLength={256}
      hint="At least 12 characters, with upper and lower case letters and a digit."
    />
  );
}

export function CodeField({ label = "Code", hint }: Readonly<{ label?: string; hint: string }>) {
  return (
    <Field
      label={label}
      name="code"
      hint={hint}
      inputMode="numeric"
      autoComplete="one-time-code"
      pattern="\s*[0-9]{6}\s*"
      title="six digits"
      autoFocus
    />
  );
}
